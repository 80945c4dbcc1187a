//! The floor: programs that do nothing, on the functions that the agent probes.
//!
//! A program of the agent's object is never empty, and a tracer's neither, so that this object is written here: two
//! instructions, once for each kind of probe.

use std::fs;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{KProbe, RawTracePoint},
};
use object::{
    Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Symbol, SymbolSection},
};

/// `r0 = 0` and `exit`.
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
/// The programs and the sections that say what they are.
const ENTRY: (&str, &str) = ("entry", "kprobe");
const RETURN: (&str, &str) = ("return", "kretprobe");
const DROP: (&str, &str) = ("drop", "raw_tp/kfree_skb");
/// The tracepoint that the agent looks at; its probes on functions are asked of the kernel.
const TRACEPOINT: &str = "kfree_skb";

/// One end of a function.
#[derive(Clone, Debug)]
pub struct Target {
    function: String,
    is_return: bool,
}

impl Target {
    /// The entry or the return of `function`.
    pub fn new(function: &str, is_return: bool) -> Self {
        Self {
            function: function.to_owned(),
            is_return,
        }
    }
}

/// The probes on functions of `ip_vs` that the kernel holds at this moment.
///
/// A line is `ADDRESS k|r FUNCTION+0x0 MODULE [FTRACE]`.
pub fn attached() -> Result<Vec<Target>> {
    let list = fs::read_to_string("/sys/kernel/debug/kprobes/list")
        .context("cannot read the kernel's list of probes")?;
    let lines = list.lines().filter(|line| line.contains(" ip_vs "));
    lines
        .map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let kind = words.next().context("a probe has no kind")?;
            let place = words.next().context("a probe has no place")?;
            let (function, _offset) = place.split_once('+').context("a place has no offset")?;
            Ok(Target::new(function, kind == "r"))
        })
        .collect()
}

/// Empty programs, attached until they are dropped.
#[derive(Debug)]
pub struct Empty {
    _programs: Ebpf,
}

impl Empty {
    /// Attaches one to each of `targets` and to the tracepoint.
    pub fn attach(targets: &[Target]) -> Result<Self> {
        let mut programs = Ebpf::load(&object()?).context("cannot load an empty program")?;
        for (name, _) in [ENTRY, RETURN] {
            probe(&mut programs, name)?.load()?;
        }
        for target in targets {
            let (name, _) = if target.is_return { RETURN } else { ENTRY };
            probe(&mut programs, name)?
                .attach(&target.function, 0)
                .with_context(|| format!("cannot attach to {target:?}"))?;
        }
        let drop = programs.program_mut(DROP.0).context("it is not there")?;
        let drop: &mut RawTracePoint = drop.try_into()?;
        drop.load()?;
        drop.attach(TRACEPOINT)?;
        Ok(Self {
            _programs: programs,
        })
    }
}

fn probe<'a>(programs: &'a mut Ebpf, name: &str) -> Result<&'a mut KProbe> {
    let program = programs.program_mut(name).context("it is not there")?;
    Ok(program.try_into()?)
}

fn object() -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let mut section = |name: &str, kind, data: &[u8]| {
        let id = object.add_section(Vec::new(), name.into(), kind);
        object.append_section_data(id, data, 8);
        id
    };
    section("license", SectionKind::Data, b"GPL\0");
    let programs = [ENTRY, RETURN, DROP];
    let programs = programs.map(|(name, kind)| (name, section(kind, SectionKind::Text, &PROGRAM)));
    for (name, id) in programs {
        object.add_symbol(Symbol {
            name: name.into(),
            value: 0,
            size: PROGRAM.len() as u64,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak: false,
            section: SymbolSection::Section(id),
            flags: SymbolFlags::None,
        });
    }
    object.write().context("cannot make an object")
}
