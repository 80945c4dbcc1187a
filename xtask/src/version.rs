//! Which Debian kernel packages answer a version prefix, newest first. Pure functions over the
//! listing that `apt-cache madison` prints.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// The flavour without drivers for real hardware: small, and all that a VM needs.
pub(crate) const FLAVOUR: &str = "-cloud-amd64";

/// One kernel of the archive and the packages that hold its image and modules.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The package version, for example 6.12.117-1~deb12u1.
    pub(crate) version: String,
    pub(crate) packages: Vec<String>,
}

/// The kernels whose version starts with `prefix` by whole numbers: 6.1 is not 6.12.
pub(crate) fn candidates(madison: &str, prefix: &str) -> Vec<Candidate> {
    let mut versions = BTreeMap::<&str, &str>::new();
    for line in madison.lines() {
        let mut fields = line.split('|').map(str::trim);
        if let (Some(name), Some(version)) = (fields.next(), fields.next()) {
            let known = versions.entry(name).or_insert(version);
            if order(version) > order(known) {
                *known = version;
            }
        }
    }
    let releases = versions
        .keys()
        .filter_map(|name| name.strip_prefix("linux-image-"))
        .filter(|release| is_release(release))
        .collect::<BTreeSet<_>>();
    let mut candidates = releases
        .into_iter()
        .filter_map(|release| {
            let version = *versions.get(format!("linux-image-{release}").as_str())?;
            let packages = packages(&versions, release)?;
            Some(Candidate {
                version: version.to_owned(),
                packages,
            })
        })
        .filter(|candidate| starts_with(&candidate.version, prefix))
        .collect::<Vec<_>>();
    candidates.sort_by_key(|candidate| Reverse(order(&candidate.version)));
    candidates
}

/// Whether this can be a version prefix at all.
pub(crate) fn is_prefix(text: &str) -> bool {
    text.split('.').count() >= 2
        && text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// From 6.19 on the image package is empty and three others hold what it held. Where only a part
/// of them is listed the kernel cannot be used.
fn packages(versions: &BTreeMap<&str, &str>, release: &str) -> Option<Vec<String>> {
    let listed = |part: &str| {
        let name = format!("linux-{part}-{release}");
        versions.contains_key(name.as_str()).then_some(name)
    };
    match (listed("binary"), listed("modules")) {
        (Some(binary), Some(modules)) => Some(
            [binary, modules]
                .into_iter()
                .chain(listed("base"))
                .collect(),
        ),
        (None, None) => Some(vec![format!("linux-image-{release}")]),
        (Some(_), None) | (None, Some(_)) => None,
    }
}

/// A release like 6.1.0-56-cloud-amd64; the meta package of a series has no third number.
fn is_release(text: &str) -> bool {
    text.strip_suffix(FLAVOUR)
        .is_some_and(|release| release.split('.').count() >= 3)
}

fn starts_with(version: &str, prefix: &str) -> bool {
    let wanted = numbers(prefix);
    numbers(version).starts_with(&wanted)
}

/// Compares as dpkg does where kernel versions differ: by their numbers, and what has a tilde
/// comes before what has none.
fn order(version: &str) -> (Vec<u64>, bool) {
    let plain = version.split('~').next().unwrap_or(version);
    (numbers(plain), !version.contains('~'))
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADISON: &str = "\
linux-image-6.1.0-9-cloud-amd64 | 6.1.27-1 | mirror bookworm/main amd64 Packages
linux-image-6.1.0-56-cloud-amd64 | 6.1.192-2 | mirror bookworm-security/main amd64 Packages
linux-image-6.12-cloud-amd64 | 6.12.117-1~deb12u1 | mirror bookworm-security/main amd64 Packages
linux-image-6.12.117+deb12-cloud-amd64 | 6.12.117-1~deb12u1 | mirror bookworm-security/main amd64 Packages
linux-image-6.12.107+deb13-cloud-amd64 | 6.12.107-1 | mirror trixie/main amd64 Packages
linux-image-6.12.107+deb12-cloud-amd64 | 6.12.107-1~deb12u1 | mirror bookworm-security/main amd64 Packages
linux-binary-7.1.13+deb13-cloud-amd64 | 7.1.13-1~bpo13+1 | mirror trixie-backports/main amd64 Packages
linux-image-7.1.13+deb13-cloud-amd64 | 7.1.13-1~bpo13+1 | mirror trixie-backports/main amd64 Packages
linux-image-7.2.13+deb14-cloud-amd64 |   7.2.13-1 | mirror sid/main amd64 Packages
linux-binary-7.2.13+deb14-cloud-amd64 |   7.2.13-1 | mirror sid/main amd64 Packages
linux-modules-7.2.13+deb14-cloud-amd64 |   7.2.13-1 | mirror sid/main amd64 Packages
linux-base-7.2.13+deb14-cloud-amd64 |   7.2.13-1 | mirror sid/main amd64 Packages
";

    fn found(prefix: &str) -> Vec<String> {
        let candidates = candidates(MADISON, prefix);
        candidates
            .into_iter()
            .map(|candidate| candidate.version)
            .collect()
    }

    #[test]
    fn a_prefix_matches_whole_numbers_and_the_newest_comes_first() {
        assert_eq!(found("6.1"), ["6.1.192-2", "6.1.27-1"]);
        assert_eq!(
            found("6.12"),
            ["6.12.117-1~deb12u1", "6.12.107-1", "6.12.107-1~deb12u1"]
        );
        assert_eq!(found("6.12.107").len(), 2);
        assert_eq!(found("5.10").len(), 0);
    }

    #[test]
    fn a_split_kernel_needs_its_modules() {
        assert!(found("7.1").is_empty(), "7.1 is listed without its modules");
        let packages = &candidates(MADISON, "7.2")[0].packages;
        let parts = ["binary", "modules", "base"];
        assert_eq!(
            *packages,
            parts.map(|part| format!("linux-{part}-7.2.13+deb14-cloud-amd64"))
        );
    }

    #[test]
    fn a_prefix_is_numbers_and_dots() {
        assert!(is_prefix("6.1") && is_prefix("6.12.107"));
        assert!(!is_prefix("6") && !is_prefix("./bzImage") && !is_prefix("6.") && !is_prefix(""));
    }
}
