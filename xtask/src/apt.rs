//! Debian packages by name, of suites that this machine does not use, without touching its own
//! package state and without being root.
//!
//! The mirror is the one that the machine's own configuration names, so proxies and local mirrors
//! keep working. Signatures are checked against the keys of the Debian archive.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{host, step};

/// Every suite that carries a kernel one may want to try, and the peers.
const SUITES: &[&str] = &["bullseye", "bookworm", "trixie", "trixie-backports", "sid"];
const SECURITY_SUITES: &[&str] = &["bookworm-security"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const INSTALL_KEYRING: &str = "sudo apt-get update && sudo apt-get install debian-archive-keyring";

/// A private package state with current lists.
pub(crate) struct Apt {
    state: PathBuf,
    /// Whether every list could be fetched.
    pub(crate) is_complete: bool,
}

impl Apt {
    /// Fetches the lists of all suites.
    pub(crate) fn update() -> Result<Self> {
        let state = host::target().join("apt");
        if !host::has("apt-get") || !host::has("dpkg-deb") {
            bail!("there is no apt-get and dpkg-deb here");
        }
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing; type: {INSTALL_KEYRING}");
        }
        for folder in ["lists/partial", "cache/archives/partial"] {
            let folder = state.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let targets = step::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(RELEASE)|$(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        let sources =
            sources(&targets).context("the configuration of apt names no mirror of Debian")?;
        let list = state.join("sources.list");
        fs::write(&list, sources).with_context(|| format!("cannot write {}", list.display()))?;
        let mut apt = Self {
            state,
            is_complete: false,
        };
        // A suite that left the mirror must not keep the others from being used.
        apt.is_complete = step::step("fetching the package lists of Debian", || {
            let status = step::status(apt.command("apt-get").args(["update", "--error-on=any"]))?;
            Ok(status.success())
        })?;
        Ok(apt)
    }

    /// What to do when the lists do not have what was looked for.
    pub(crate) fn advice(&self) -> String {
        if self.is_complete {
            return "the mirror has none".to_owned();
        }
        format!(
            "not all package lists could be fetched, see above: make sure that this machine \
             reaches its mirror; where a key is missing type: {INSTALL_KEYRING}"
        )
    }

    /// All kernel packages of a flavour, one line for each version and suite.
    pub(crate) fn kernels(&self, flavour: &str) -> Result<String> {
        let names = step::output(self.command("apt-cache").args(["pkgnames", "linux-"]))?;
        let names = names.lines().filter(|name| name.ends_with(flavour));
        step::output(self.command("apt-cache").arg("madison").args(names))
    }

    /// Fetches packages, each NAME or NAME/SUITE, into a folder and unpacks them there, in `root`.
    pub(crate) fn unpack(&self, packages: &[impl AsRef<OsStr>], folder: &Path) -> Result<()> {
        let archives = folder.join("archives");
        fs::create_dir_all(&archives)
            .with_context(|| format!("cannot make the folder {}", archives.display()))?;
        let mut download = self.command("apt-get");
        step::run(
            download
                .arg("download")
                .args(packages)
                .current_dir(&archives),
        )?;
        let entries = fs::read_dir(&archives)
            .with_context(|| format!("cannot read {}", archives.display()))?;
        for entry in entries {
            let archive = entry.context("cannot read a fetched package")?.path();
            step::run(
                Command::new("dpkg-deb")
                    .arg("-x")
                    .args([&archive, &folder.join("root")]),
            )?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |name: &str| self.state.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            "Dir::State::status=/dev/null".to_owned(),
            format!("Dir::Cache={}", at("cache")),
            // Containers are often told to keep no index, and then each call builds it anew.
            "Dir::Cache::pkgcache=pkgcache.bin".to_owned(),
            "Dir::Cache::srcpkgcache=srcpkgcache.bin".to_owned(),
            // The user that apt would change to cannot write here.
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=2".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// The private list of sources, from the index targets of the machine.
fn sources(targets: &str) -> Option<String> {
    let rows = targets
        .lines()
        .map(|line| line.split('|').collect::<Vec<_>>())
        .filter_map(|fields| <[&str; 4]>::try_from(fields).ok());
    let mut main = None;
    let mut security = None;
    for [origin, label, release, uri] in rows {
        // Without lists of its own, as on a machine just installed, apt knows no origin yet.
        let is_debian = origin == "Debian" || (origin.is_empty() && is_debian_suite(release));
        if !is_debian {
            continue;
        }
        if label == "Debian-Security" || release.contains("-security") {
            security.get_or_insert(uri);
        } else {
            main.get_or_insert(uri);
        }
    }
    let line = |uri: &str, suite: &str| {
        format!("deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main\n")
    };
    let main = main?;
    let mut list = SUITES
        .iter()
        .map(|suite| line(main, suite))
        .collect::<String>();
    if let Some(security) = security {
        list.extend(SECURITY_SUITES.iter().map(|suite| line(security, suite)));
    }
    Some(list)
}

fn is_debian_suite(release: &str) -> bool {
    let base = release.split('-').next().unwrap_or(release);
    [
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "oldstable",
        "stable",
        "testing",
        "unstable",
        "sid",
    ]
    .contains(&base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_follow_the_mirrors_of_the_machine() {
        let targets = "\
Node Source|Node Source|nodistro|http://node.example/
Debian|Debian-Security|bookworm-security|http://mirror.example/security/
Debian|Debian|bookworm|http://mirror.example/debian/
";
        let list = sources(targets).unwrap();
        assert!(
            list.contains("] http://mirror.example/debian/ sid main\n"),
            "{list}"
        );
        assert!(
            list.contains("] http://mirror.example/security/ bookworm-security main\n"),
            "{list}"
        );
        assert!(!list.contains("node.example"));
    }

    #[test]
    fn a_machine_without_lists_still_names_its_mirror() {
        let list = sources("||bookworm|http://mirror.example/debian/\n").unwrap();
        assert_eq!(list.lines().count(), SUITES.len());
        assert!(sources("Ubuntu|Ubuntu|noble|http://mirror.example/ubuntu/\n").is_none());
    }
}
