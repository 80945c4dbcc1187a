//! The corpora of the fuzz targets, given to the functions that the fuzzer calls.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ipvs_observer_tests::fuzz::{self, TARGETS};

/// Real text files of IPVS, with which the fuzzer begins too.
const TEXT_FILES: &str = "data/ipvs";

#[test]
fn no_input_that_was_found_breaks_anything() {
    for (name, target) in TARGETS {
        let files = files(&folder(&format!("fuzz/corpus/{name}")));
        assert!(!files.is_empty(), "{name} has no corpus");
        for file in files {
            target(&read(&file));
        }
    }
    for file in files(&folder(TEXT_FILES)) {
        fuzz::procfs(&read(&file));
    }
}

#[test]
fn every_target_has_its_file_and_its_corpus() {
    let expected: BTreeSet<String> = TARGETS.map(|(name, _)| name.to_owned()).into();
    for path in ["fuzz/corpus", "fuzz/fuzz_targets"] {
        let entries = fs::read_dir(folder(path)).expect("the folder can be read");
        let found: BTreeSet<String> = entries
            .map(|entry| {
                let path = entry.expect("the folder can be read").path();
                let name = path.file_stem().expect("it has a name");
                name.to_str().expect("its name is text").to_owned()
            })
            .collect();
        assert_eq!(found, expected, "{path}");
    }
}

/// What a kernel sends is read to its end: the names of the files say how much it is.
#[test]
fn what_real_kernels_sent_is_read_whole() {
    let mut seen = 0;
    for file in files(&folder("fuzz/corpus/netlink")) {
        let name = file.file_name().and_then(|name| name.to_str());
        let Some((_, count)) = name.and_then(|name| name.split_once(".entries-")) else {
            continue;
        };
        let count: usize = count.parse().expect("the name ends with a number");
        assert_eq!(fuzz::netlink(&read(&file)), count, "{}", file.display());
        seen += 1;
    }
    assert!(seen > 0, "no message of a real kernel");
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(file: &Path) -> Vec<u8> {
    fs::read(file).expect("the file can be read")
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}
