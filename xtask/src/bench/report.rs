//! The results, for people in `BENCHMARKS.md` and on stdout, for programs in `target/bench.json`.
//!
//! Nothing in them depends on the machine that measured, or on the time.

use std::{
    fs,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Measured;
use crate::host;

const HEAD: &str = "\
# Benchmarks

What `cargo xtask bench` measured last, in an emulated machine with one CPU that is otherwise idle. \
The command exits with status 1 if a budget is not held. The *floor* is the least that any program \
could do.

Of programs that list, with their output thrown away, *total* is all instructions from their start \
to their end, in millions (M), with those of the kernel for them: in that machine time passes by \
executed instructions alone, 16 ns each. It repeats to 0.5 %. The kernel's tick, which comes every \
250 000 instructions, adds 1 to 4 % to it, more where a program leaves more behind for the kernel \
to clean up. *User* is the part of it in user mode, of which the tick takes samples: it is \
uncertain by 1 to 3 % of itself for tables of 10 000 services, and by more for small ones. An \
instruction that repeats itself to copy or clear memory counts once for every 8 bytes. Figures are \
medians of all runs, for *user* their mean. *Memory* is the peak resident set.
";
const QUICK: &str = "
This was a run with `--quick`, which repeats less.
";
const COLUMNS: &str = "\
| figure | ours | peer | ratio | floor | budget | held |
|---|---:|---:|---:|---:|---:|---|
";

/// Prints the results, and writes them into files if they are `all`.
pub(super) fn write(results: &[Measured], is_quick: bool, is_all: bool) -> Result<()> {
    let text = text(results, is_quick);
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to stdout")?;
    if !is_all {
        return Ok(());
    }
    let json =
        serde_json::to_string_pretty(&json(results, is_quick)).context("cannot make JSON")?;
    for (path, content) in [
        (host::workspace().join("BENCHMARKS.md"), text),
        (host::target().join("bench.json"), json),
    ] {
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn text(results: &[Measured], is_quick: bool) -> String {
    let mut title = "";
    let sections = results.iter().map(|measured| {
        let Measured {
            section,
            measurements,
            figures,
        } = measured;
        // Of a section on several kernels the first one says what it is.
        let head = if section.title == title {
            String::new()
        } else {
            format!("## {}\n\n{}\n\n", section.title, section.about)
        };
        title = section.title;
        let versions = measurements.versions().collect::<Vec<_>>().join("; ");
        let rows = figures
            .iter()
            .map(|figure| format!("| {} |", figure.cells().join(" | ")))
            .collect::<Vec<_>>()
            .join("\n");
        format!("\n{head}{versions}\n\n{COLUMNS}{rows}\n")
    });
    let quick = if is_quick { QUICK } else { "" };
    [HEAD, quick]
        .map(str::to_owned)
        .into_iter()
        .chain(sections)
        .collect()
}

fn json(results: &[Measured], is_quick: bool) -> Value {
    let sections = results.iter().map(|measured| {
        let figures = measured.figures.iter().map(super::Figure::json);
        json!({
            "section": measured.section.name,
            "figures": figures.collect::<Vec<_>>(),
            "measurements": measured.measurements.lines,
        })
    });
    json!({ "quick": is_quick, "sections": sections.collect::<Vec<_>>() })
}
