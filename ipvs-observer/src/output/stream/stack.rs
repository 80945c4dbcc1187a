//! Kernel stacks, one function after the other as `symbol+0xoffset [module]`, innermost first; an address that is in no
//! function that has a name stays an address.

use std::io::Write as _;

use super::Stack;

/// A member of an object; names of symbols need no escapes (see `Symbols`).
pub(super) fn json(stack: Stack<'_>, out: &mut Vec<u8>) {
    let mut separator = &b",\"stack\":[\""[..];
    for &address in stack.frames {
        out.extend_from_slice(separator);
        frame(stack, address, out);
        separator = b"\",\"";
    }
    out.extend_from_slice(b"\"]");
}

/// Indented lines.
pub(super) fn text(stack: Stack<'_>, out: &mut Vec<u8>) {
    for &address in stack.frames {
        out.extend_from_slice(b"    ");
        frame(stack, address, out);
        out.push(b'\n');
    }
}

fn frame(stack: Stack<'_>, address: u64, out: &mut Vec<u8>) {
    // Writing into memory does not fail.
    let Some(symbol) = stack.symbols.find(address) else {
        drop(write!(out, "{address:#x}"));
        return;
    };
    drop(write!(out, "{}+{:#x}", symbol.name, symbol.offset));
    if let Some(module) = symbol.module {
        drop(write!(out, " [{module}]"));
    }
}
