//! What real kernels print, for the tests of this folder; `tests/data/README.md` says whence it is.

use std::{fs, path::Path};

/// A file of `/proc/net` of Linux `version`.
pub(super) fn net(version: &str, file: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/ipvs");
    let path = data.join(version).join("proc/thread-self/net").join(file);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
