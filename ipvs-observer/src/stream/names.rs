//! The kernel's symbols, for as long as they are true: modules that come and go take theirs along.

use crate::{
    kernel::{Kernel, SymbolError},
    model::symbols::Symbols,
};

/// The symbols, and with which modules they were read.
#[derive(Debug)]
pub(super) struct Names {
    kernel: Kernel,
    symbols: Symbols,
    modules: Option<String>,
    is_checked: bool,
}

impl Names {
    pub(super) fn read(kernel: &Kernel) -> Result<Self, SymbolError> {
        // Before the symbols: what changes in between is seen at the next look.
        let modules = kernel.module_places().ok();
        Ok(Self {
            symbols: kernel.symbols()?,
            kernel: kernel.clone(),
            modules,
            is_checked: true,
        })
    }

    /// What comes from here on may be of other modules.
    pub(super) const fn doubt(&mut self) {
        self.is_checked = false;
    }

    /// As they are now; none where they cannot be read any more, so that addresses stay what they are.
    pub(super) fn symbols(&mut self) -> &Symbols {
        if !self.is_checked {
            self.is_checked = true;
            let modules = self.kernel.module_places().ok();
            if modules != self.modules {
                self.symbols = self.kernel.symbols().unwrap_or_default();
                self.modules = modules;
            }
        }
        &self.symbols
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Names;
    use crate::kernel::{Kernel, SymbolError};

    #[test]
    fn symbols_follow_the_modules() {
        let root = std::env::temp_dir().join(format!("names-{}", std::process::id()));
        fs::create_dir_all(root.join("proc")).unwrap();
        let write = |modules: &str, symbols: &str| {
            fs::write(root.join("proc/modules"), modules).unwrap();
            fs::write(root.join("proc/kallsyms"), symbols).unwrap();
        };
        let kernel = Kernel::at(&root);
        write("", "0000000000000000 T nf_hook_slow\n");
        assert!(matches!(Names::read(&kernel), Err(SymbolError::Hidden)));
        write(
            "ip_vs 196608 4 - Live 0xffffffffc0a00000\n",
            "ffffffffc0a00010 t ip_vs_in_hook\t[ip_vs]\n",
        );
        let mut names = Names::read(&kernel).unwrap();
        // Its count of uses is no change.
        write(
            "ip_vs 196608 5 - Live 0xffffffffc0a00000\n",
            "ffffffffc0b00010 t ip_vs_in_hook\t[ip_vs]\n",
        );
        names.doubt();
        assert!(names.symbols().find(0xffff_ffff_c0a0_0010).is_some());
        write(
            "ip_vs 196608 5 - Live 0xffffffffc0b00000\n",
            "ffffffffc0b00010 t ip_vs_in_hook\t[ip_vs]\n",
        );
        assert!(names.symbols().find(0xffff_ffff_c0a0_0010).is_some());
        names.doubt();
        assert!(names.symbols().find(0xffff_ffff_c0a0_0010).is_none());
        assert!(names.symbols().find(0xffff_ffff_c0b0_0010).is_some());
        fs::remove_dir_all(&root).unwrap();
    }
}
