//! Kernel stacks, one function after the other as `symbol+0xoffset [module]`, innermost first; an address that is in no
//! function that has a name stays an address.

use std::io::Write as _;

use super::Stack;

/// A member of an object; names of symbols need no escapes (see `Symbols`).
pub(super) fn json(stack: Stack<'_>, out: &mut Vec<u8>) {
    let mut separator = &b",\"stack\":[\""[..];
    for (index, &address) in stack.frames.iter().enumerate() {
        out.extend_from_slice(separator);
        frame(stack, index, address, out);
        separator = b"\",\"";
    }
    out.extend_from_slice(b"\"]");
}

/// Indented lines.
pub(super) fn text(stack: Stack<'_>, out: &mut Vec<u8>) {
    for (index, &address) in stack.frames.iter().enumerate() {
        out.extend_from_slice(b"    ");
        frame(stack, index, address, out);
        out.push(b'\n');
    }
}

/// All but the innermost are where a call returns to: behind the last byte of a function, if it ends with a call that never
/// does. The byte before is in the function that called.
fn frame(stack: Stack<'_>, index: usize, address: u64, out: &mut Vec<u8>) {
    let before = u64::from(index != 0);
    // Writing into memory does not fail.
    let Some(symbol) = stack.symbols.find(address.saturating_sub(before)) else {
        drop(write!(out, "{address:#x}"));
        return;
    };
    let offset = symbol.offset + before;
    drop(write!(out, "{}+{offset:#x}", symbol.name));
    if let Some(module) = symbol.module {
        drop(write!(out, " [{module}]"));
    }
}
