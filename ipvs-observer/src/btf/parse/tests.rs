//! Whole, split and spoilt BTF.

#![expect(clippy::indexing_slicing, reason = "tests cut and build blobs")]

use super::{
    super::testing::{CONST, STRUCT, TYPEDEF, UNION, VOLATILE, Writer, kernel},
    *,
};
use crate::btf::resolve::resolve;

const FACTS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/data/btf/ip_vs-6.18.txt"
));

#[test]
fn every_kind_is_passed_over_by_its_own_size() {
    let mut writer = Writer::base();
    writer.int("int", 4);
    writer.pointer(1);
    writer.array(1, 7);
    writer.record(STRUCT, "pair", 8, &[("a", 1, 0, 0), ("b", 1, 32, 0)]);
    writer.record(UNION, "either", 4, &[("a", 1, 0, 0)]);
    writer.raw("colour", 6 << 24 | 2, 4, &[0, 0, 0, 1]);
    writer.raw("later", 7 << 24, 0, &[]);
    for kind in [8, 9, 10, 11] {
        writer.reference(kind, "", 1);
    }
    writer.function("main", 1, &[("argc", 1), ("argv", 2)]);
    writer.raw("counter", 14 << 24, 1, &[0]);
    writer.raw(".data", 15 << 24 | 1, 4, &[14, 0, 4]);
    writer.raw("double", 16 << 24, 8, &[]);
    writer.raw("tag", 17 << 24, 4, &[0]);
    writer.raw("user", 18 << 24, 1, &[]);
    writer.raw("wide", 19 << 24 | 1, 8, &[0, 1, 2]);
    let last = writer.int("last", 2);
    let blob = writer.finish();

    let btf = Btf::parse(&blob, None).unwrap();
    assert_eq!(btf.n_types(), last);
    let kinds: Vec<_> = (1..=last)
        .map(|id| btf.get(id).unwrap().kind as u32)
        .collect();
    assert_eq!(
        kinds,
        [
            1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 12, 14, 15, 16, 17, 18, 19, 1
        ]
    );
    let found = btf.get(last).unwrap();
    assert_eq!(btf.name(&found), b"last");
    assert!(btf.is_named(&found, "last"));
    assert!(!btf.is_named(&found, "las"));
    assert!(!btf.is_named(&found, "last_one"));
    let sizes = [
        (1, 4),
        (2, 8),
        (3, 28),
        (4, 8),
        (6, 4),
        (8, 4),
        (15, 4),
        (16, 8),
        (19, 8),
    ];
    for (id, size) in sizes {
        assert_eq!(btf.size(id), Ok(size), "type {id}");
    }
    assert_eq!(btf.size(7), Err(BtfError::Unsized(7)));
    assert_eq!(btf.size(0), Err(BtfError::NoType(0)));
    assert!(btf.get(last + 1).is_err());
}

#[test]
fn a_module_continues_the_numbers_and_strings_of_the_kernel() {
    let mut base = Writer::base();
    let int = base.int("int", 4);
    let mut split = Writer::split(&base);
    let pair = split.record(
        STRUCT,
        "pair",
        8,
        &[("first", int, 0, 0), ("second", int, 32, 0)],
    );
    let (base, split) = (base.finish(), split.finish());
    let btf = Btf::parse(&base, Some(&split)).unwrap();

    assert_eq!(btf.n_types(), 2);
    let pair = btf.get(pair).unwrap();
    assert!(btf.is_named(&pair, "pair"));
    let members: Vec<_> = btf
        .members(&pair)
        .map(|member| (member.name, member.bit_offset, btf.size(member.type_id)))
        .collect();
    let expected: [(&[u8], u32, _); 2] = [(b"first", 0, Ok(4)), (b"second", 32, Ok(4))];
    assert_eq!(members, expected);
}

#[test]
fn typedefs_and_qualifiers_are_looked_through_and_loops_end() {
    let mut writer = Writer::base();
    let int = writer.int("int", 4);
    let first = writer.reference(TYPEDEF, "u32", int);
    let second = writer.reference(VOLATILE, "", first);
    let third = writer.reference(CONST, "", second);
    let own = third + 1;
    writer.reference(TYPEDEF, "own", own);
    let mutual = own + 1;
    writer.array(mutual, 1);
    let blob = writer.finish();
    let btf = Btf::parse(&blob, None).unwrap();
    assert_eq!(btf.bare(third).unwrap().id, int);
    assert_eq!(btf.bare(own).unwrap_err(), BtfError::Loop(own));
    assert_eq!(btf.size(mutual), Err(BtfError::Loop(mutual)));
}

#[test]
fn bit_fields_are_told_from_integers_in_both_notations() {
    let mut writer = Writer::base();
    let byte = writer.int("u8", 1);
    // Until 2019 the width was a property of the type.
    let three_bits = writer.raw("u8", 1 << 24, 1, &[3]);
    let new = writer.record(
        STRUCT,
        "new",
        2,
        &[("bits", byte, 3, 2), ("whole", byte, 8, 0)],
    );
    let old = writer.record(
        STRUCT,
        "old",
        2,
        &[("bits", three_bits, 0, 0), ("whole", byte, 8, 0)],
    );
    let blob = writer.finish();
    let btf = Btf::parse(&blob, None).unwrap();
    for (id, bit_offset) in [(new, 3), (old, 0)] {
        let structure = btf.get(id).unwrap();
        let members: Vec<_> = btf
            .members(&structure)
            .map(|member| (member.bit_offset, member.is_bitfield))
            .collect();
        assert_eq!(members, [(bit_offset, true), (8, false)]);
    }
}

#[test]
fn what_is_not_btf_is_refused() {
    let blob = Writer::base().finish();
    let spoilt = |at: usize, value: u8| {
        let mut blob = blob.clone();
        blob[at] = value;
        Btf::parse(&blob, None).unwrap_err()
    };
    assert!(matches!(spoilt(0, 0x7F), BtfError::Magic(_)));
    assert_eq!(spoilt(2, 2), BtfError::Version(2));
    assert_eq!(spoilt(20, 2), BtfError::Truncated("strings"));
    assert_eq!(spoilt(12, 200), BtfError::Truncated("types"));
    let mut swapped = blob.clone();
    swapped.swap(0, 1);
    assert_eq!(Btf::parse(&swapped, None).unwrap_err(), BtfError::ByteOrder);
    assert_eq!(
        Btf::parse(&[], None).unwrap_err(),
        BtfError::Truncated("header")
    );

    let mut writer = Writer::base();
    writer.raw("", 20 << 24, 0, &[]);
    let error = Btf::parse(&writer.finish(), None).unwrap_err();
    assert!(matches!(error, BtfError::Kind { id: 1, .. }));
}

#[test]
fn a_longer_header_of_a_later_kernel_is_passed_over() {
    let mut writer = Writer::base();
    writer.int("int", 4);
    let mut blob = writer.finish();
    blob.splice(24..24, [0; 8]);
    blob[4] = 32;
    let btf = Btf::parse(&blob, None).unwrap();
    assert!(btf.is_named(&btf.get(1).unwrap(), "int"));
}

#[test]
fn blobs_cut_anywhere_are_refused() {
    let (base, split) = kernel(FACTS);
    for end in (0..base.len()).step_by(7) {
        assert!(
            Btf::parse(&base[..end], Some(&split)).is_err(),
            "base cut at {end}"
        );
    }
    for end in (0..split.len()).step_by(7) {
        assert!(
            Btf::parse(&base, Some(&split[..end])).is_err(),
            "split cut at {end}"
        );
    }
}

#[test]
fn garbage_is_refused_or_read_but_never_panics() {
    let (base, split) = kernel(FACTS);
    let mut random = 0x0123_4567_89AB_CDEF_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 8).unwrap() % below
    };
    let mut read = 0;
    for _ in 0..600 {
        let (mut base, mut split) = (base.clone(), split.clone());
        for _ in 0..=next(8) {
            let at = next(base.len());
            base[at] = u8::try_from(next(256)).unwrap();
            let at = next(split.len());
            split[at] = u8::try_from(next(256)).unwrap();
        }
        if let Ok(btf) = Btf::parse(&base, Some(&split)) {
            read += 1;
            for id in 0..=btf.n_types() + 1 {
                drop(btf.size(id));
            }
            drop(resolve(&btf));
        }
    }
    assert!(read > 0, "the loop never got past the header");
}
