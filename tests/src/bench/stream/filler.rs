//! Fills a ring buffer as the agent's programs do: one record, as often as the kernel is asked to run the program.

use std::{fs::File, io::Write as _, mem::offset_of};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData, RingBuf},
    programs::{SocketFilter, TestRun as _, TestRunOptions},
};
use ipvs_observer_common::{
    Ending, EventKind, Measure, ServerKey, StreamCounts, StreamEvent, Trace,
};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
    elf::R_BPF_64_64,
    write::{Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection},
};

const EVENT_BYTES: usize = size_of::<StreamEvent>();
/// The agent's default.
const BUFFER_BYTES: u32 = 8 << 20;
/// What the floor writes at once, as the agent does.
const CHUNK_BYTES: usize = 1 << 16;
/// The shortest packet that a program on sockets is tested with.
const PACKET: [u8; 14] = [0; 14];

const PROGRAM: &str = "fill";
/// Where the program finds the addresses of its maps, in the order of [`MAPS`].
const MAP_INSTRUCTIONS: [u64; 2] = [3, 8];
/// `BPF_MAP_TYPE_*`, size of a key and of a value, elements and flags, as `struct bpf_map_def` has them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "both are some hundred bytes"
)]
const MAPS: [(&str, [u32; 5]); 3] = [
    ("EVENT", [2, 4, EVENT_BYTES as u32, 1, 0]),
    ("RING", [27, 0, 0, BUFFER_BYTES, 0]),
    // Mapped by the agent.
    (
        "COUNTS",
        [2, 4, size_of::<StreamCounts>() as u32, 1, 1 << 10],
    ),
];

/// Which event.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A TCP connection with all that is known of one.
    Closed,
    /// One that has just been made.
    Opened,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Opened => "opened",
        }
    }
}

/// A ring buffer and who fills it.
pub(super) struct Filler(Ebpf);

impl Filler {
    pub(super) fn load(kind: Kind) -> Result<Self> {
        let mut programs = Ebpf::load(&object()?).context("cannot load the program that fills")?;
        let map = programs.map_mut("EVENT").context("it is not there")?;
        let mut events: Array<_, [u8; EVENT_BYTES]> = map.try_into()?;
        events.set(0, &event(kind), 0)?;
        program(&mut programs)?.load()?;
        Ok(Self(programs))
    }

    pub(super) fn fill(&self, count: u32) -> Result<()> {
        let program = self.0.program(PROGRAM).context("it is not there")?;
        let program: &SocketFilter = program.try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(&PACKET);
        options.repeat = count;
        let result = program.test_run(options)?;
        ensure!(result.return_value == 0, "the buffer is too small");
        Ok(())
    }

    pub(super) fn into_maps(mut self) -> Result<(Map, MapData)> {
        let ring = self.0.take_map("RING").context("it is not there")?;
        match self.0.take_map("COUNTS") {
            Some(Map::Array(counts)) => Ok((ring, counts)),
            Some(_) | None => anyhow::bail!("there are no counts"),
        }
    }

    /// The floor: drains the buffer and writes what is in it, much at once.
    pub(super) fn write_raw(self, out: &mut File) -> Result<u64> {
        let mut ring = RingBuf::try_from(self.into_maps()?.0)?;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES + EVENT_BYTES);
        let mut count = 0;
        while let Some(record) = ring.next() {
            chunk.extend_from_slice(&record);
            count += 1;
            if chunk.len() >= CHUNK_BYTES {
                out.write_all(&chunk)?;
                chunk.clear();
            }
        }
        out.write_all(&chunk)?;
        Ok(count)
    }

    /// As [`Self::write_raw`], each record when it comes.
    pub(super) fn write_each(self, out: &mut File) -> Result<u64> {
        let mut ring = RingBuf::try_from(self.into_maps()?.0)?;
        let mut count = 0;
        while let Some(record) = ring.next() {
            out.write_all(&record)?;
            count += 1;
        }
        Ok(count)
    }
}

fn program(programs: &mut Ebpf) -> Result<&mut SocketFilter> {
    let program = programs.program_mut(PROGRAM).context("it is not there")?;
    Ok(program.try_into()?)
}

/// An event as it lies in the buffer.
pub fn event(kind: Kind) -> [u8; EVENT_BYTES] {
    let mut event = [0; EVENT_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| {
        event[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    let server = offset_of!(StreamEvent, server);
    put(
        offset_of!(StreamEvent, at_ns),
        &86_412_345_678_901_u64.to_le_bytes(),
    );
    put(offset_of!(StreamEvent, cpu), &[3]);
    put(offset_of!(StreamEvent, client), &[198, 51, 100, 207]);
    put(offset_of!(StreamEvent, client_family), &[2]);
    put(
        offset_of!(StreamEvent, client_port),
        &40_001_u16.to_be_bytes(),
    );
    put(offset_of!(StreamEvent, protocol), &[6]);
    put(offset_of!(StreamEvent, flags), &[StreamEvent::HAS_TRACE]);
    put(
        server + offset_of!(ServerKey, virtual_address),
        &[192, 0, 2, 10],
    );
    put(server + offset_of!(ServerKey, address), &[10, 20, 30, 40]);
    put(
        server + offset_of!(ServerKey, netns),
        &4_026_531_840_u32.to_le_bytes(),
    );
    put(server + offset_of!(ServerKey, family), &[2]);
    put(server + offset_of!(ServerKey, server_family), &[2]);
    put(server + offset_of!(ServerKey, protocol), &[6]);
    put(
        server + offset_of!(ServerKey, virtual_port),
        &443_u16.to_be_bytes(),
    );
    put(
        server + offset_of!(ServerKey, port),
        &8443_u16.to_be_bytes(),
    );
    put(server + offset_of!(ServerKey, written), &[1]);
    let kind = match kind {
        Kind::Opened => EventKind::Opened,
        Kind::Closed => {
            closed(&mut put);
            EventKind::Closed
        }
    };
    put(offset_of!(StreamEvent, kind), &[kind as u8]);
    event
}

/// What is known of a connection at its end.
fn closed(put: &mut impl FnMut(usize, &[u8])) {
    let trace = offset_of!(StreamEvent, trace);
    let stages = [
        (Measure::Schedule, 2_345_u64),
        (Measure::Connect, 1_234_567),
        (Measure::Client, 23_456_789),
        (Measure::Handshake, 24_691_356),
        (Measure::FirstByte, 3_456_789),
        (Measure::Duration, 1_234_567_890),
    ];
    let mut known = 0_u64;
    for (measure, took_ns) in stages {
        known |= 1 << measure as u32;
        let offset = trace + offset_of!(Trace, stages_ns) + 8 * measure as usize;
        put(offset, &took_ns.to_le_bytes());
    }
    for (offset, value) in [
        (offset_of!(StreamEvent, first_ns), 86_411_000_000_000),
        (offset_of!(StreamEvent, last_ns), 86_412_234_567_890),
        (trace + offset_of!(Trace, known), known),
        (trace + offset_of!(Trace, packets), 12),
        (trace + offset_of!(Trace, packets) + 8, 10),
        (trace + offset_of!(Trace, bytes), 1_234),
        (trace + offset_of!(Trace, bytes) + 8, 12_345),
        (trace + offset_of!(Trace, history), 0x3145),
    ] {
        put(offset, &value.to_le_bytes());
    }
    put(offset_of!(StreamEvent, detail), &[Ending::Finished as u8]);
}

/// Looks the event up and sends a copy of it, without waking anybody; returns what the helper does.
fn instructions() -> Vec<u8> {
    let size = u32::try_from(EVENT_BYTES).unwrap_or(u32::MAX);
    let [s0, s1, s2, s3] = size.to_le_bytes();
    let program: [[u8; 8]; 17] = [
        // *(u32 *)(r10 - 4) = 0
        [0x62, 0x0a, 0xfc, 0xff, 0, 0, 0, 0],
        // r2 = r10; r2 += -4
        [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],
        [0x07, 0x02, 0, 0, 0xfc, 0xff, 0xff, 0xff],
        // r1 = EVENT
        [0x18, 0x01, 0, 0, 0, 0, 0, 0],
        [0; 8],
        // bpf_map_lookup_elem
        [0x85, 0, 0, 0, 1, 0, 0, 0],
        // if r0 == 0, to the end
        [0x15, 0x00, 9, 0, 0, 0, 0, 0],
        // r2 = r0
        [0xbf, 0x02, 0, 0, 0, 0, 0, 0],
        // r1 = RING
        [0x18, 0x01, 0, 0, 0, 0, 0, 0],
        [0; 8],
        // r3 = the size, r4 = BPF_RB_NO_WAKEUP
        [0xb7, 0x03, 0, 0, s0, s1, s2, s3],
        [0xb7, 0x04, 0, 0, 1, 0, 0, 0],
        // bpf_ringbuf_output
        [0x85, 0, 0, 0, 130, 0, 0, 0],
        // if r0 == 0, exit; else r0 = 1
        [0x15, 0x00, 1, 0, 0, 0, 0, 0],
        [0xb7, 0x00, 0, 0, 1, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    program.concat()
}

fn object() -> Result<Vec<u8>> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let license = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(license, b"GPL\0", 1);
    let maps = object.add_section(Vec::new(), b"maps".to_vec(), SectionKind::Data);
    let symbols = MAPS.map(|(name, definition)| {
        let bytes: Vec<u8> = definition.into_iter().flat_map(u32::to_le_bytes).collect();
        let offset = object.append_section_data(maps, &bytes, 4);
        symbol(
            &mut object,
            name,
            maps,
            offset,
            bytes.len(),
            SymbolKind::Data,
        )
    });
    let text = object.add_section(Vec::new(), b"socket".to_vec(), SectionKind::Text);
    let program = instructions();
    object.append_section_data(text, &program, 8);
    symbol(
        &mut object,
        PROGRAM,
        text,
        0,
        program.len(),
        SymbolKind::Text,
    );
    for (instruction, symbol) in MAP_INSTRUCTIONS.into_iter().zip(symbols) {
        let relocation = Relocation {
            offset: instruction * 8,
            symbol,
            addend: 0,
            flags: RelocationFlags::Elf {
                r_type: R_BPF_64_64,
            },
        };
        object.add_relocation(text, relocation)?;
    }
    object.write().context("cannot make an object")
}

fn symbol(
    object: &mut Object<'_>,
    name: &str,
    section: SectionId,
    offset: u64,
    bytes: usize,
    kind: SymbolKind,
) -> SymbolId {
    object.add_symbol(Symbol {
        name: name.into(),
        value: offset,
        size: bytes as u64,
        kind,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    })
}
