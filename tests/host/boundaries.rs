//! The rules about sources that neither the compiler nor clippy knows.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The crates whose sources are held to the rules.
const CRATES: [&str; 5] = [
    "ipvs-observer",
    "ipvs-observer-common",
    "ipvs-observer-ebpf",
    "tests",
    "xtask",
];
const LONGEST: usize = 500;

/// A source file by its path under the repository's root.
struct Source {
    path: String,
    text: String,
}

#[test]
fn every_file_says_what_it_is_for() {
    check(|source| match source.text.lines().next() {
        Some(first) if first.starts_with("//! ") => Vec::new(),
        _ => vec!["does not start with a //! comment".to_owned()],
    });
}

#[test]
fn no_file_is_too_long_to_read() {
    check(|source| match source.text.lines().count() {
        0..=LONGEST => Vec::new(),
        lines => vec![format!("has {lines} lines, more than {LONGEST}")],
    });
}

#[test]
fn only_probe_knows_aya() {
    check(|source| {
        let within = source.path.starts_with("ipvs-observer/src/");
        if !within || source.path.starts_with("ipvs-observer/src/probe") {
            return Vec::new();
        }
        lines_with(source, |line| {
            words(line).any(|word| word.starts_with("aya"))
        })
    });
}

#[test]
fn only_netlink_opens_sockets_to_the_kernel() {
    check(|source| {
        let within = source.path.starts_with("ipvs-observer/src/");
        if !within || source.path.starts_with("ipvs-observer/src/ipvs/netlink") {
            return Vec::new();
        }
        lines_with(source, |line| words(line).any(|word| word == "netlink_sys"))
    });
}

#[test]
fn only_kread_reads_kernel_memory() {
    check(|source| {
        let within = source.path.starts_with("ipvs-observer-ebpf/");
        if !within || source.path == "ipvs-observer-ebpf/src/kread.rs" {
            return Vec::new();
        }
        lines_with(source, |line| {
            words(line).any(|word| word.starts_with("bpf_probe_read"))
        })
    });
}

#[test]
fn the_model_is_pure() {
    let forbidden = [
        "fs",
        "tokio",
        "serde",
        "aya",
        "Instant",
        "SystemTime",
        "File",
        "UdpSocket",
        "TcpStream",
    ];
    check(|source| {
        if !source.path.starts_with("ipvs-observer/src/model/") {
            return Vec::new();
        }
        lines_with(source, |line| {
            words(line).any(|word| forbidden.contains(&word))
        })
    });
}

#[test]
fn imports_are_named() {
    check(|source| {
        if source.path.ends_with("/tests.rs") {
            return Vec::new();
        }
        let glob = format!("use {}::*", "super");
        let before_tests = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        let before_tests = Source {
            path: source.path.clone(),
            text: before_tests.to_owned(),
        };
        lines_with(&before_tests, |line| line.contains(&glob))
    });
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Put together here, so that this file passes its own test.
    let homes = ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"));
    check(|source| {
        lines_with(source, |line| {
            homes.iter().any(|home| holds_path(line, home))
        })
    });
}

/// A file that no `mod` names is compiled nowhere, and its tests never run. That those which are
/// compiled do run is seen to by `xtask/src/test/guests.rs`.
#[test]
fn every_test_of_a_vm_is_compiled() {
    let sources = sources();
    let text = |path: &str| {
        let source = sources.iter().find(|source| source.path == path);
        source.map(|source| source.text.as_str())
    };
    let root = text("tests/vm/main.rs").expect("the tests have a root");
    let mut reached = vec!["tests/vm/main.rs".to_owned()];
    let mut pending: Vec<_> = modules(root)
        .map(|name| format!("tests/vm/{name}"))
        .collect();
    while let Some(module) = pending.pop() {
        let path = format!("{module}.rs");
        let text = text(&path).expect("a module is a file beside its folder");
        pending.extend(modules(text).map(|name| format!("{module}/{name}")));
        reached.push(path);
    }
    check(|source| {
        if source.path.starts_with("tests/vm/") && !reached.contains(&source.path) {
            return vec!["is named by no mod".to_owned()];
        }
        Vec::new()
    });
}

/// The modules that a source names as files of their own.
fn modules(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    })
}

/// Applies `rule` to every source and fails with all that it complains about.
fn check(rule: impl Fn(&Source) -> Vec<String>) {
    let sources = sources();
    assert!(
        sources.len() > CRATES.len(),
        "the sources are not where they should be"
    );
    let complaints: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            let complaints = rule(source);
            complaints
                .into_iter()
                .map(|complaint| format!("{} {complaint}", source.path))
        })
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The lines of code, comments aside, that `offends` names.
fn lines_with(source: &Source, offends: impl Fn(&str) -> bool) -> Vec<String> {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let offending = source
        .text
        .lines()
        .enumerate()
        .filter(|(_, line)| code(line));
    offending
        .filter(|(_, line)| offends(line))
        .map(|(index, line)| format!("line {}: {}", index + 1, line.trim()))
        .collect()
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
}

/// Whether `line` has `path` where a path can start, not in the middle of another.
fn holds_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && !".-_~}".contains(letter))
    })
}

fn sources() -> Vec<Source> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.parent().expect("the package lies in the repository");
    let mut files = Vec::new();
    for name in CRATES {
        collect(&root.join(name), &mut files);
    }
    files.sort();
    let read = |file: PathBuf| Source {
        path: file
            .strip_prefix(root)
            .expect("it lies under the root")
            .display()
            .to_string(),
        text: fs::read_to_string(&file).expect("a source is text"),
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
