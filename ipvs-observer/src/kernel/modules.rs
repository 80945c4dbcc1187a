//! The module `ip_vs` and its schedulers: whether they are there, without asking for them.

use super::{Kernel, ReadError};

/// Where the kernel has a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// Nowhere.
    Absent,
    /// In itself.
    BuiltIn,
    /// Loaded.
    Loaded,
}

impl Kernel {
    /// Where `ip_vs` is; looking does not load it.
    pub fn ip_vs(&self) -> Module {
        let folder = self.root.join("sys/module/ip_vs");
        if folder.join("initstate").exists() {
            Module::Loaded
        } else if folder.exists() {
            Module::BuiltIn
        } else {
            Module::Absent
        }
    }

    /// The schedulers that are loaded as modules, by their names in IPVS; one that is built in does not show.
    pub fn schedulers(&self) -> Result<Vec<String>, ReadError> {
        self.read_text("proc/modules").map(|text| schedulers(&text))
    }

    /// Where each module is: a text that is the same as long as no module comes, goes or comes again elsewhere.
    pub(crate) fn module_places(&self) -> Result<String, ReadError> {
        self.read_text("proc/modules").map(|text| places(&text))
    }
}

/// Of each line the first word, its name, and the sixth, its address.
fn places(modules: &str) -> String {
    let words = modules.lines().map(|line| {
        let mut words = line.split(' ');
        (words.next(), words.nth(4))
    });
    let known = words.filter_map(|(name, address)| Some([name?, " ", address?, "\n"]));
    known.flatten().collect()
}

/// The modules `ip_vs_NAME` but for the FTP helper and the persistence engines.
fn schedulers(modules: &str) -> Vec<String> {
    let names = modules.lines().filter_map(|line| line.split(' ').next());
    let names = names.filter_map(|name| name.strip_prefix("ip_vs_"));
    let names = names.filter(|name| *name != "ftp" && !name.starts_with("pe_"));
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::{Kernel, Module, schedulers};

    #[test]
    fn schedulers_are_what_is_neither_helper_nor_engine() {
        let modules = "ip_vs_wlc 12288 0 - Live 0x0000000000000000\n\
                       ip_vs_pe_sip 12288 0 - Live 0x0000000000000000\n\
                       ip_vs_ftp 12288 0 - Live 0x0000000000000000\n\
                       ip_vs_rr 12288 1 - Live 0x0000000000000000\n\
                       ip_vs 196608 4 ip_vs_wlc,ip_vs_rr, Live 0x0000000000000000\n";
        assert_eq!(schedulers(modules), ["rr", "wlc"]);
        assert_eq!(schedulers(""), [] as [String; 0]);
    }

    #[test]
    fn a_kernel_without_it_has_none() {
        let kernel = Kernel::at("/nonexistent");
        assert_eq!(kernel.ip_vs(), Module::Absent);
        assert!(kernel.schedulers().is_err());
    }
}
