//! Names for addresses of the kernel's code. Pure.

/// The functions of a kernel and its modules.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// By address; of several with the same one the first that was added comes first.
    functions: Vec<Function>,
    /// Of each function its name and then that of its module, without anything in between.
    names: String,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    address: u64,
    /// Where its names begin.
    start: u32,
    name_bytes: u16,
    module_bytes: u16,
}

/// An address by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Of the function.
    pub name: &'a str,
    /// Bytes from its beginning.
    pub offset: u64,
    /// Of which it is; none for the kernel itself.
    pub module: Option<&'a str>,
}

/// No function is longer: what is farther from the one before it belongs to something without a name.
const LONGEST_FUNCTION_BYTES: u64 = 1 << 20;

impl Symbols {
    /// The functions that `each` hands to what it is called with: address, name, and the module or nothing.
    ///
    /// Names that no kernel has (spaces, quotes, control characters) are left out, so that every output can take them as
    /// they are.
    pub fn gather(each: impl FnOnce(&mut dyn FnMut(u64, &str, &str))) -> Self {
        let mut symbols = Self::default();
        each(&mut |address, name, module| symbols.add(address, name, module));
        symbols.functions.sort_by_key(|function| function.address);
        symbols.functions.shrink_to_fit();
        symbols.names.shrink_to_fit();
        symbols
    }

    fn add(&mut self, address: u64, name: &str, module: &str) {
        let is_plain = |text: &str| {
            let mut bytes = text.bytes();
            bytes.all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        };
        let (Ok(start), Ok(name_bytes), Ok(module_bytes)) = (
            u32::try_from(self.names.len()),
            u16::try_from(name.len()),
            u16::try_from(module.len()),
        ) else {
            return;
        };
        if name.is_empty() || !is_plain(name) || !is_plain(module) {
            return;
        }
        self.functions.push(Function {
            address,
            start,
            name_bytes,
            module_bytes,
        });
        self.names.push_str(name);
        self.names.push_str(module);
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The function that `address` is in; `None` where that is not known.
    pub fn find(&self, address: u64) -> Option<Symbol<'_>> {
        let after = self.functions.partition_point(|f| f.address <= address);
        let before = self.functions.get(after.checked_sub(1)?)?.address;
        let offset = address - before;
        if offset >= LONGEST_FUNCTION_BYTES {
            return None;
        }
        let first = self.functions.partition_point(|f| f.address < before);
        let function = self.functions.get(first)?;
        let names = self.names.get(usize::try_from(function.start).ok()?..)?;
        let (name, rest) = names.split_at_checked(function.name_bytes.into())?;
        let module = rest.get(..function.module_bytes.into())?;
        Some(Symbol {
            name,
            offset,
            module: (!module.is_empty()).then_some(module),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Symbol, Symbols};

    /// Of a kernel with a module, in no order.
    pub(crate) fn symbols() -> Symbols {
        Symbols::gather(|add| {
            add(0xffff_ffff_c0a0_1000, "ip_vs_in_hook", "ip_vs");
            add(0xffff_ffff_8100_2000, "nf_hook_slow", "");
            add(0xffff_ffff_8100_1000, "ip_local_deliver", "");
            add(0xffff_ffff_8100_1000, "an_alias", "");
            add(0xffff_ffff_8100_3000, "a \"name\"", "");
        })
    }

    #[test]
    fn an_address_is_in_the_function_that_begins_before_it() {
        let symbols = symbols();
        for (address, name, offset, module) in [
            (0xffff_ffff_8100_1000, "ip_local_deliver", 0, None),
            (0xffff_ffff_8100_1fff, "ip_local_deliver", 0xfff, None),
            (0xffff_ffff_8100_2000, "nf_hook_slow", 0, None),
            // What cannot be a name is no symbol.
            (0xffff_ffff_8100_3001, "nf_hook_slow", 0x1001, None),
            (0xffff_ffff_c0a0_1234, "ip_vs_in_hook", 0x234, Some("ip_vs")),
        ] {
            let expected = Symbol {
                name,
                offset,
                module,
            };
            assert_eq!(symbols.find(address), Some(expected), "{address:#x}");
        }
    }

    #[test]
    fn what_is_in_no_function_has_no_name() {
        let symbols = symbols();
        for address in [0, 0xffff_ffff_8100_0fff, 0xffff_ffff_9000_0000, u64::MAX] {
            assert_eq!(symbols.find(address), None, "{address:#x}");
        }
        assert_eq!(Symbols::default().find(1), None);
    }
}
