//! Writes BTF for the tests, from calls or from the facts of a real kernel.
//!
//! It shares nothing with the reader: the format is spelled out a second time here, so that a
//! mistake in one of the two shows.

#![expect(
    clippy::host_endian_bytes,
    reason = "the reader takes BTF of this host"
)]

use std::collections::BTreeMap;

/// The numbers of kinds, from the kernel's `btf.h`.
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
pub(super) const STRUCT: u32 = 4;
pub(super) const UNION: u32 = 5;
pub(super) const FWD: u32 = 7;
pub(super) const TYPEDEF: u32 = 8;
pub(super) const VOLATILE: u32 = 9;
pub(super) const CONST: u32 = 10;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;

/// One blob of BTF in the making.
#[derive(Clone)]
pub(super) struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    first_string: u32,
    next_id: u32,
}

impl Writer {
    /// The blob of a kernel.
    pub(super) fn base() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            first_string: 0,
            next_id: 1,
        }
    }

    /// The blob of a module, which continues the numbers of `base`.
    pub(super) fn split(base: &Self) -> Self {
        Self {
            types: Vec::new(),
            strings: Vec::new(),
            first_string: base.first_string + u32::try_from(base.strings.len()).unwrap(),
            next_id: base.next_id,
        }
    }

    pub(super) fn finish(&self) -> Vec<u8> {
        let types = u32::try_from(self.types.len()).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let mut blob = 0xEB9F_u16.to_ne_bytes().to_vec();
        blob.extend([1, 0]);
        for word in [24, 0, types, types, strings] {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(&self.types);
        blob.extend(&self.strings);
        blob
    }

    /// Adds a type of any kind, with the words that follow its common part.
    pub(super) fn raw(&mut self, name: &str, info: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.string(name);
        for word in [name, info, size_or_type].iter().chain(rest) {
            self.types.extend(word.to_ne_bytes());
        }
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn int(&mut self, name: &str, size: u32) -> u32 {
        self.raw(name, INT << 24, size, &[size * 8])
    }

    pub(super) fn pointer(&mut self, target: u32) -> u32 {
        self.raw("", PTR << 24, target, &[])
    }

    pub(super) fn array(&mut self, element: u32, n: u32) -> u32 {
        self.raw("", ARRAY << 24, 0, &[element, element, n])
    }

    /// A typedef, qualifier or forward declaration.
    pub(super) fn reference(&mut self, kind: u32, name: &str, target: u32) -> u32 {
        self.raw(name, kind << 24, target, &[])
    }

    /// A structure or union, with members of name, type, offset in bits and width of a bit field.
    pub(super) fn record(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let has_bitfields = members.iter().any(|(_, _, _, bits)| *bits != 0);
        let n = u32::try_from(members.len()).unwrap();
        let info = u32::from(has_bitfields) << 31 | kind << 24 | n;
        let mut rest = Vec::new();
        for (name, type_id, offset, bits) in members {
            rest.extend([self.string(name), *type_id, bits << 24 | offset]);
        }
        self.raw(name, info, size, &rest)
    }

    pub(super) fn function(&mut self, name: &str, result: u32, parameters: &[(&str, u32)]) -> u32 {
        let n = u32::try_from(parameters.len()).unwrap();
        let mut rest = Vec::new();
        for (name, type_id) in parameters {
            rest.extend([self.string(name), *type_id]);
        }
        let prototype = self.raw("", FUNC_PROTO << 24 | n, result, &rest);
        self.raw(name, FUNC << 24, prototype, &[])
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let offset = self.first_string + u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        offset
    }
}

/// Writes the blobs of a kernel and of its `ip_vs` from one of the files in `tests/data/btf`.
///
/// What is the kernel's goes to the first blob; copies of it, and all of IPVS, to the second.
pub(super) fn kernel(facts: &str) -> (Vec<u8>, Vec<u8>) {
    let structures = Facts::read(facts);
    let (core, ipvs): (Vec<_>, Vec<_>) = structures.into_iter().partition(|structure| {
        !structure.is_copy && ["bpf_array", "ns_common", "net", "sk_buff"].contains(&structure.name)
    });

    let mut base = Author::new(Writer::base());
    for structure in &core {
        base.structure(structure);
    }
    let mut split = Author {
        writer: Writer::split(&base.writer),
        known: base.known.clone(),
    };
    for structure in &ipvs {
        let is_original = |other: &&Facts<'_>| other.name == structure.name && !other.is_copy;
        let written = if structure.is_copy {
            core.iter().chain(&ipvs).find(is_original).unwrap()
        } else {
            structure
        };
        split.structure(written);
    }
    for line in facts.lines() {
        if let Some(prototype) = line.strip_prefix("fn ") {
            split.function(prototype);
        }
    }
    (base.writer.finish(), split.writer.finish())
}

/// One structure of a file of facts.
struct Facts<'a> {
    name: &'a str,
    size: u32,
    is_copy: bool,
    members: Vec<Fact<'a>>,
}

/// One member: `   131.2 ipvs_property : __u8 (1b)`.
struct Fact<'a> {
    name: &'a str,
    declared: &'a str,
    bit_offset: u32,
    /// In bytes, or in bits for a bit field.
    size: u32,
    is_bitfield: bool,
}

impl<'a> Facts<'a> {
    fn read(facts: &'a str) -> Vec<Self> {
        let mut structures: Vec<Self> = Vec::new();
        for line in facts.lines() {
            if let Some(title) = line.strip_prefix("struct ") {
                let mut words = title.split_whitespace();
                structures.push(Self {
                    name: words.next().unwrap(),
                    size: words.next().unwrap().parse().unwrap(),
                    is_copy: words.next() == Some("copy"),
                    members: Vec::new(),
                });
            } else if let Some(member) = line.strip_prefix("  ") {
                structures
                    .last_mut()
                    .unwrap()
                    .members
                    .push(Fact::read(member));
            }
        }
        structures
    }
}

impl<'a> Fact<'a> {
    fn read(line: &'a str) -> Self {
        let (place, rest) = line.split_once(' ').unwrap();
        let (name, rest) = rest.split_once(" : ").unwrap();
        let (declared, size) = rest.rsplit_once(" (").unwrap();
        let size = size.trim_end_matches(')');
        let (bytes, bits) = place.split_once('.').unwrap_or((place, "0"));
        Self {
            name,
            declared,
            bit_offset: bytes.parse::<u32>().unwrap() * 8 + bits.parse::<u32>().unwrap(),
            size: size.trim_end_matches('b').parse().unwrap(),
            is_bitfield: size.ends_with('b'),
        }
    }
}

/// A writer that makes types from C declarations, each once.
struct Author {
    writer: Writer,
    known: BTreeMap<String, u32>,
}

impl Author {
    fn new(mut writer: Writer) -> Self {
        let counter = writer.int("int", 4);
        let atomic = writer.record(STRUCT, "", 4, &[("counter", counter, 0, 0)]);
        let atomic = writer.reference(TYPEDEF, "atomic_t", atomic);
        let known = BTreeMap::from([
            ("int".to_owned(), counter),
            ("atomic_t".to_owned(), atomic),
            // A structure around an `atomic_t`, and as large.
            ("refcount_t".to_owned(), atomic),
        ]);
        Self { writer, known }
    }

    fn structure(&mut self, facts: &Facts<'_>) {
        let mut members = Vec::new();
        for fact in &facts.members {
            let (size, bits) = if fact.is_bitfield {
                (1, fact.size)
            } else {
                (fact.size, 0)
            };
            let type_id = self.type_id(fact.declared, size);
            members.push((fact.name, type_id, fact.bit_offset, bits));
        }
        let id = self.writer.record(STRUCT, facts.name, facts.size, &members);
        self.known.insert(format!("struct {}", facts.name), id);
    }

    fn function(&mut self, prototype: &str) {
        let (head, parameters) = prototype.trim_end_matches(')').split_once('(').unwrap();
        let (result, name) = head.rsplit_once(' ').unwrap();
        let result = if result == "void" {
            0
        } else {
            self.type_id(result, 4)
        };
        let mut written = Vec::new();
        for parameter in parameters.split(", ") {
            let (declared, name) = parameter.rsplit_once(' ').unwrap();
            let size = if declared == "__be16" { 2 } else { 4 };
            written.push((name, self.type_id(declared, size)));
        }
        self.writer.function(name, result, &written);
    }

    fn type_id(&mut self, declared: &str, size: u32) -> u32 {
        // What a pointer points to is only named; what is embedded must have its size.
        let key = match declared
            .strip_prefix("struct ")
            .or(declared.strip_prefix("union "))
        {
            Some("(anon)") => format!("{declared} {size}"),
            _ => declared.to_owned(),
        };
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let id = if let Some(target) = declared.strip_suffix(" *") {
            let target = match target {
                "void" => 0,
                target => self.target(target),
            };
            self.writer.pointer(target)
        } else if let Some(bare) = declared.strip_prefix("const ") {
            let bare = self.type_id(bare, size);
            self.writer.reference(CONST, "", bare)
        } else if let Some(bare) = declared.strip_prefix("volatile ") {
            let bare = self.type_id(bare, size);
            self.writer.reference(VOLATILE, "", bare)
        } else if let Some(element) = declared.strip_suffix(']') {
            let (element, n) = element.rsplit_once('[').unwrap();
            let n = n.parse().unwrap();
            let element = self.type_id(element, size.checked_div(n).unwrap_or(1));
            self.writer.array(element, n)
        } else if let Some(name) = declared.strip_prefix("struct ") {
            self.writer
                .record(STRUCT, name.trim_start_matches("(anon)"), size, &[])
        } else if let Some(name) = declared.strip_prefix("union ") {
            self.writer.record(UNION, name, size, &[])
        } else {
            let bare = self.writer.int("", size);
            self.writer.reference(TYPEDEF, declared, bare)
        };
        self.known.insert(key, id);
        id
    }

    fn target(&mut self, declared: &str) -> u32 {
        if let Some(bare) = declared.strip_prefix("const ") {
            let bare = self.target(bare);
            return self.writer.reference(CONST, "", bare);
        }
        match declared
            .strip_prefix("struct ")
            .or(declared.strip_prefix("union "))
        {
            Some(name) if !declared.ends_with('*') && !self.known.contains_key(declared) => {
                self.writer.reference(FWD, name, 0)
            }
            _ => self.type_id(declared, 1),
        }
    }
}
