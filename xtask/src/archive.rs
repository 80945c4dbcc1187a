//! Kernel modules as distributions store them: plain, .xz or .zst. They are unpacked here, on the
//! host, because some kernels cannot do it and in the guest it would be slow.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

/// The name of the module in a file, None for a file that holds none. The kernel's own spelling
/// has underscores where a file name may have dashes.
pub(crate) fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"]
        .into_iter()
        .find_map(|suffix| name.strip_suffix(suffix))?;
    Some(stem.replace('-', "_"))
}

/// The ELF image of a module.
pub(crate) fn read_module(path: &Path) -> Result<Vec<u8>> {
    let read = || -> Result<Vec<u8>> {
        let mut image = Vec::new();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("xz") => {
                let file = BufReader::new(File::open(path)?);
                XzReader::new(file, true).read_to_end(&mut image)?;
            }
            Some("zst") => {
                let file = BufReader::new(File::open(path)?);
                StreamingDecoder::new(file)?.read_to_end(&mut image)?;
            }
            Some("gz") => bail!("gzip is not supported here; unpack it with gunzip"),
            _ => image = fs::read(path)?,
        }
        Ok(image)
    };
    read().with_context(|| format!("cannot read the module {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels_own() {
        let name = |path: &str| module_name(Path::new(path));
        assert_eq!(name("kernel/net/ip_vs.ko").as_deref(), Some("ip_vs"));
        assert_eq!(
            name("a/crc32c-intel.ko.xz").as_deref(),
            Some("crc32c_intel")
        );
        assert_eq!(name("a/veth.ko.zst").as_deref(), Some("veth"));
        assert_eq!(name("modules.builtin"), None);
    }

    #[test]
    fn a_module_in_gzip_is_found_and_refused() {
        let path = Path::new("a/veth.ko.gz");
        assert_eq!(module_name(path).as_deref(), Some("veth"));
        let error = format!("{:#}", read_module(path).unwrap_err());
        assert!(
            error.contains("veth.ko.gz") && error.contains("gunzip"),
            "{error}"
        );
    }
}
