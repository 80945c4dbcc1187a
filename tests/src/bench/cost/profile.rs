//! Which program takes how much of a connection: the kernel counts runs and their time, in which an instruction is a
//! nanosecond, and empty programs show what that counting itself takes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;

use super::{
    empty::{Empty, Target},
    load::Load,
    start, stop,
};
use crate::bench::tell;

const SYSCTL: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Runs, and their time in nanoseconds, of each program by its number and name.
type Runs = BTreeMap<(u32, String), [u64; 2]>;

pub(super) fn measure(load: &Load, targets: &[Target]) -> Result<()> {
    fs::write(SYSCTL, "1").context("cannot have the kernel count runs of programs")?;
    {
        let _empty = Empty::attach(targets)?;
        tell_programs(load, "empty ")?;
    }
    let agent = start(load, "default")?;
    tell_programs(load, "")?;
    stop(agent)?;
    fs::write(SYSCTL, "0").context("cannot have the kernel stop counting")
}

fn tell_programs(load: &Load, prefix: &str) -> Result<()> {
    load.warm_up()?;
    let before = runs()?;
    load.connections()?;
    for ((id, name), [count, time_ns]) in runs()? {
        let [earlier, earlier_ns] = before.get(&(id, name.clone())).copied().unwrap_or_default();
        if count > earlier {
            let subject = format!("{prefix}{name}");
            tell("programs", &subject, "runs", &[count - earlier])?;
            tell("programs", &subject, "run_ns", &[time_ns - earlier_ns])?;
        }
    }
    Ok(())
}

fn runs() -> Result<Runs> {
    let programs = loaded_programs().map(|program| {
        let program = program.context("cannot ask after a program")?;
        let name = program.name_as_str().unwrap_or_default().to_owned();
        let time_ns = u64::try_from(program.run_time().as_nanos())?;
        Ok(((program.id(), name), [program.run_count(), time_ns]))
    });
    programs.collect()
}
