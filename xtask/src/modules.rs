//! The kernel modules that the VM needs: found in a `lib/modules/VERSION` folder, closed over
//! their dependencies, put in load order, and described by the index that the guest's loader reads.
//!
//! # The index
//! One module per line, four fields separated by tabs: name, path in the guest or `builtin`, the
//! names of all modules to load before it in order, its alias patterns; the last two separated by
//! spaces. `tests/src/guest/modules.rs` is its reader.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    archive,
    modinfo::{self, Modinfo},
};

/// What directors, clients, real servers and delays are made of. The tests find them loaded.
pub(crate) const LAB: &[&str] = &[
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_wlc",
    "veth",
    "sch_netem",
];
/// What the kernel asks for when somebody names it: schedulers and the persistence engine of
/// services, the devices at a tunnel's end, SCTP.
const ON_REQUEST: &[&str] = &[
    "fou",
    "ip6_gre",
    "ip6_tunnel",
    "ip_gre",
    "ip_vs_dh",
    "ip_vs_fo",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_lc",
    "ip_vs_mh",
    "ip_vs_nq",
    "ip_vs_ovf",
    "ip_vs_pe_sip",
    "ip_vs_sed",
    "ip_vs_sh",
    "ipip",
    "sctp",
    "sit",
];
/// Some kernels have it as a module, and then libcrc32c cannot do without it and does not say so
/// as a dependency; others have it inside.
const OPTIONAL: &[&str] = &["crc32c_generic"];

/// One module with its image unpacked.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) image: Vec<u8>,
    modinfo: Modinfo,
}

/// The modules of one kernel that the VM gets, each after what it depends on.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    pub(crate) loadable: Vec<Module>,
    builtin: Vec<String>,
}

impl Modules {
    /// Reads the modules of the VM and all that they need from a `lib/modules/VERSION` folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let files = files(folder)?;
        let builtin = builtin(folder)?;
        let mut modules = Self::default();
        let mut seen = BTreeSet::new();
        // A kernel of one's own may have none of these.
        let optional = OPTIONAL.iter().chain(ON_REQUEST);
        let optional =
            optional.filter(|name| files.contains_key(**name) || builtin.contains(**name));
        for name in optional.chain(LAB) {
            modules
                .add(name, &files, &builtin, &mut seen)
                .with_context(|| format!("the folder {} is not complete", folder.display()))?;
        }
        Ok(modules)
    }

    /// The modules of the VM that a `lib/modules/VERSION` folder of Debian does not have.
    pub(crate) fn missing(folder: &Path) -> Result<Vec<&'static str>> {
        Ok(missing(&files(folder)?, &builtin(folder)?))
    }

    /// Writes the unpacked modules as a folder that [`Modules::read`] can read again.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for module in &self.loadable {
            let path = folder.join(format!("{}.ko", module.name));
            fs::write(&path, &module.image)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let builtin = self
            .builtin
            .iter()
            .fold(String::new(), |list, name| list + name + ".ko\n");
        let path = folder.join("modules.builtin");
        fs::write(&path, builtin).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The text of the index; the images lie in the guest's folder `directory`.
    pub(crate) fn index(&self, directory: &str) -> String {
        let loadable = self.loadable.iter().map(|module| {
            let Module { name, modinfo, .. } = module;
            let before = self.before(module).join(" ");
            let aliases = modinfo.aliases.join(" ");
            format!("{name}\t{directory}/{name}.ko\t{before}\t{aliases}\n")
        });
        let builtin = self
            .builtin
            .iter()
            .map(|name| format!("{name}\tbuiltin\t\t\n"));
        loadable.chain(builtin).collect::<Vec<_>>().concat()
    }

    /// Everything to load before a module. The modules are in load order already, so this is a
    /// selection from those that come earlier.
    fn before(&self, module: &Module) -> Vec<&str> {
        let mut needed = BTreeSet::from([module.name.as_str()]);
        let mut before = Vec::new();
        let earlier = self
            .loadable
            .iter()
            .rev()
            .skip_while(|other| other.name != module.name);
        for other in earlier {
            if needed.contains(other.name.as_str()) {
                needed.extend(other.modinfo.depends.iter().map(String::as_str));
                let wanted = other
                    .modinfo
                    .wants
                    .iter()
                    .filter_map(|alias| self.named(alias));
                needed.extend(wanted);
                if other.name != module.name {
                    before.push(other.name.as_str());
                }
            }
        }
        before.reverse();
        before
    }

    fn named(&self, name_or_alias: &str) -> Option<&str> {
        self.loadable
            .iter()
            .find(|module| {
                module.name == name_or_alias.replace('-', "_")
                    || module
                        .modinfo
                        .aliases
                        .iter()
                        .any(|alias| alias == name_or_alias)
            })
            .map(|module| module.name.as_str())
    }

    fn add(
        &mut self,
        name: &str,
        files: &BTreeMap<String, PathBuf>,
        builtin: &BTreeSet<String>,
        seen: &mut BTreeSet<String>,
    ) -> Result<()> {
        if !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = files.get(name) else {
            if builtin.contains(name) {
                self.builtin.push(name.to_owned());
                return Ok(());
            }
            bail!("the kernel has no module {name}, neither as a file nor built in");
        };
        let image = archive::read_module(path)?;
        let modinfo = modinfo::read(&image)
            .with_context(|| format!("cannot read what {} depends on", path.display()))?;
        for needed in &modinfo.depends {
            self.add(needed, files, builtin, seen)
                .with_context(|| format!("{name} depends on {needed}"))?;
        }
        self.loadable.push(Module {
            name: name.to_owned(),
            image,
            modinfo,
        });
        Ok(())
    }
}

fn missing(files: &BTreeMap<String, PathBuf>, builtin: &BTreeSet<String>) -> Vec<&'static str> {
    let is_missing = |name: &str| !files.contains_key(name) && !builtin.contains(name);
    LAB.iter()
        .chain(ON_REQUEST)
        .copied()
        .filter(|name| is_missing(name))
        .collect()
}

/// All module files below a folder, by the name of the module.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
            // The links "build" and "source" lead out of the folder: they are not followed.
            let kind = entry
                .file_type()
                .context("cannot read the kind of a file")?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if let Some(name) = archive::module_name(&entry.path()) {
                files.insert(name, entry.path());
            }
        }
    }
    Ok(files)
}

fn builtin(folder: &Path) -> Result<BTreeSet<String>> {
    let path = folder.join("modules.builtin");
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    let list =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(list
        .lines()
        .filter_map(|line| archive::module_name(Path::new(line)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, depends: &[&str], wants: &[&str], aliases: &[&str]) -> Module {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let modinfo = Modinfo {
            depends: owned(depends),
            wants: owned(wants),
            aliases: owned(aliases),
        };
        Module {
            name: name.to_owned(),
            image: Vec::new(),
            modinfo,
        }
    }

    #[test]
    fn the_index_names_the_whole_closure_in_load_order() {
        let modules = Modules {
            loadable: vec![
                module("crc32c_generic", &[], &[], &["crypto-crc32c", "crc32c"]),
                module("libcrc32c", &[], &["crc32c"], &[]),
                module("nf_conntrack", &["libcrc32c"], &[], &[]),
                module("veth", &[], &[], &["rtnl-link-veth"]),
                module(
                    "ip_vs",
                    &["nf_conntrack"],
                    &[],
                    &["net-pf-16-proto-16-family-IPVS"],
                ),
            ],
            builtin: vec!["dummy".to_owned()],
        };
        let index = modules.index("/lib/modules");
        let lines = index.lines().collect::<Vec<_>>();
        assert_eq!(
            lines[4],
            "ip_vs\t/lib/modules/ip_vs.ko\tcrc32c_generic libcrc32c nf_conntrack\t\
             net-pf-16-proto-16-family-IPVS"
        );
        assert_eq!(lines[3], "veth\t/lib/modules/veth.ko\t\trtnl-link-veth");
        assert_eq!(lines[5], "dummy\tbuiltin\t\t");
    }

    #[test]
    fn a_folder_is_complete_with_every_module_as_a_file_or_built_in() {
        let mut files = LAB
            .iter()
            .map(|name| ((*name).to_owned(), PathBuf::new()))
            .collect();
        let builtin = ON_REQUEST.iter().map(ToString::to_string).collect();
        assert_eq!(missing(&files, &builtin), Vec::<&str>::new());
        files.remove(LAB[1]);
        assert_eq!(missing(&files, &builtin), [LAB[1]]);
        assert_eq!(
            missing(&files, &BTreeSet::new()).len(),
            1 + ON_REQUEST.len()
        );
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = Modules::default()
            .add(
                "ip_vs",
                &BTreeMap::new(),
                &BTreeSet::new(),
                &mut BTreeSet::new(),
            )
            .unwrap_err();
        assert!(error.to_string().contains("no module ip_vs"), "{error}");
    }
}
