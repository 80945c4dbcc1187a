//! The layouts of four real kernels; `refusals` has every reason to refuse one.

use ipvs_observer_common::{ConnLayout, DestLayout, Field, ServiceLayout, SkbLayout, StatsLayout};

use super::{
    super::testing::{STRUCT, UNION, Writer, kernel},
    *,
};

mod refusals;

macro_rules! facts {
    ($version:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/data/btf/ip_vs-",
            $version,
            ".txt"
        ))
    };
}

const V6_1: &str = facts!("6.1");
const V6_12: &str = facts!("6.12");
const V6_18: &str = facts!("6.18");
const V7_2: &str = facts!("7.2");

fn resolve_facts(facts: &str) -> Resolved {
    let (base, split) = kernel(facts);
    resolve(&Btf::parse(&base, Some(&split)).unwrap())
}

const fn at(offset: u32, size: u32) -> Field {
    Field { offset, size }
}

/// All members of a connection, in the order of the structure of the programs.
fn conn(layout: &ConnLayout) -> [Field; 15] {
    let ConnLayout {
        af,
        cport,
        vport,
        caddr,
        protocol,
        fwmark,
        flags,
        state,
        in_pkts,
        refcnt,
        n_control,
        dest,
        ipvs,
        timer,
        callback_head,
    } = *layout;
    [
        af,
        cport,
        vport,
        caddr,
        protocol,
        fwmark,
        flags,
        state,
        in_pkts,
        refcnt,
        n_control,
        dest,
        ipvs,
        timer,
        callback_head,
    ]
}

/// All members of a destination, in the order of the structure of the programs.
fn dest(layout: &DestLayout) -> [Field; 7] {
    let DestLayout {
        af,
        port,
        addr,
        protocol,
        vport,
        vaddr,
        vfwmark,
    } = *layout;
    [af, port, addr, protocol, vport, vaddr, vfwmark]
}

/// All members of a service, in the order of the structure of the programs.
fn service(layout: &ServiceLayout) -> [Field; 6] {
    let ServiceLayout {
        af,
        protocol,
        addr,
        port,
        fwmark,
        ipvs,
    } = *layout;
    [af, protocol, addr, port, fwmark, ipvs]
}

#[test]
fn every_function_of_every_kernel_can_be_probed() {
    for facts in [V6_1, V6_12, V6_18, V7_2] {
        let mut functions = resolve_facts(facts).functions;
        // Up to 6.1 it is a timer, then a thread that calls the other for each of its chains.
        let (estimator, other) = if facts == V6_1 {
            ("estimation_timer", "ip_vs_chain_estimation")
        } else {
            ("ip_vs_chain_estimation", "estimation_timer")
        };
        assert_eq!(functions.remove(estimator), Some(Ok(())));
        assert_eq!(
            functions.remove(other),
            Some(Err(Refusal::NoFunction(other)))
        );
        for (name, outcome) in functions {
            assert_eq!(outcome, Ok(()), "{name}");
        }
    }
}

#[test]
fn the_fifth_argument_is_found_where_it_is() {
    for (facts, has_iph_len) in [(V6_1, 1), (V6_12, 1), (V6_18, 0), (V7_2, 1)] {
        let layout = resolve_facts(facts).layout;
        assert_eq!(layout.tcp_transition_has_iph_len, has_iph_len);
    }
}

#[test]
fn connections_lie_where_each_kernel_has_them() {
    let until_7_0 = [
        at(22, 2),
        at(16, 2),
        at(20, 2),
        at(24, 16),
        at(76, 2),
        at(152, 4),
        at(72, 4),
        at(148, 2),
        at(192, 4),
        at(88, 4),
        at(176, 4),
        at(184, 8),
        at(80, 8),
        at(96, 40),
        at(272, 16),
    ];
    for facts in [V6_1, V6_12, V6_18] {
        assert_eq!(conn(&resolve_facts(facts).layout.conn), until_7_0);
    }
    let since_7_1 = [
        at(21, 1),
        at(22, 2),
        at(148, 2),
        at(96, 16),
        at(150, 2),
        at(144, 4),
        at(60, 4),
        at(90, 2),
        at(248, 4),
        at(244, 4),
        at(56, 4),
        at(48, 8),
        at(264, 8),
        at(192, 40),
        at(280, 16),
    ];
    assert_eq!(conn(&resolve_facts(V7_2).layout.conn), since_7_1);
}

#[test]
fn destinations_lie_where_each_kernel_has_them() {
    for (facts, protocol) in [(V6_1, 416), (V6_12, 424), (V6_18, 408), (V7_2, 424)] {
        let expected = [
            at(32, 2),
            at(34, 2),
            at(36, 16),
            at(protocol, 2),
            at(protocol + 2, 2),
            at(protocol + 4, 16),
            at(protocol + 20, 4),
        ];
        assert_eq!(dest(&resolve_facts(facts).layout.dest), expected);
    }
}

#[test]
fn services_lie_where_each_kernel_has_them() {
    let until_7_0 = [
        at(36, 2),
        at(38, 2),
        at(40, 16),
        at(56, 2),
        at(60, 4),
        at(80, 8),
    ];
    for facts in [V6_1, V6_12, V6_18] {
        assert_eq!(service(&resolve_facts(facts).layout.service), until_7_0);
    }
    let since_7_1 = [
        at(20, 2),
        at(22, 2),
        at(24, 16),
        at(48, 2),
        at(40, 4),
        at(64, 8),
    ];
    assert_eq!(service(&resolve_facts(V7_2).layout.service), since_7_1);
}

#[test]
fn namespaces_and_packets_lie_where_each_kernel_has_them() {
    let places = [
        (V6_1, 2160, 128 + 16),
        (V6_12, 2024, 120 + 16),
        (V6_18, 2024, 152 + 24),
        (V7_2, 2344, 192 + 88),
    ];
    for (facts, net, inum) in places {
        let layout = resolve_facts(facts).layout;
        assert_eq!(layout.netns_ipvs_net, at(net, 8));
        assert_eq!(layout.net_inum, at(inum, 4));
        let expected = SkbLayout {
            len: at(112, 4),
            data_len: at(116, 4),
            data: at(208, 8),
        };
        assert_eq!(layout.skb, expected);
    }
}

#[test]
fn live_counters_lie_where_each_kernel_has_them() {
    let stats = |cpustats, zero| StatsLayout {
        cpustats: at(cpustats, 8),
        zero: at(zero, 40),
    };
    for (facts, dest, service, pptrs) in [
        (
            V6_1,
            stats(88 + 176, 88 + 192),
            stats(112 + 176, 112 + 192),
            272,
        ),
        (
            V6_12,
            stats(88 + 184, 88 + 200),
            stats(112 + 184, 112 + 200),
            264,
        ),
        (
            V6_18,
            stats(80 + 184, 80 + 200),
            stats(112 + 184, 112 + 200),
            304,
        ),
        (
            V7_2,
            stats(88 + 184, 88 + 200),
            stats(96 + 184, 96 + 200),
            304,
        ),
    ] {
        let layout = resolve_facts(facts).layout;
        assert_eq!(layout.dest_stats, dest);
        assert_eq!(layout.service_stats, service);
        assert_eq!(layout.cpu_counters, at(0, 40));
        assert_eq!(layout.bpf_array_pptrs, at(pptrs, 0));
    }
}

#[test]
fn members_of_anonymous_structures_are_found_at_their_sum() {
    let mut writer = Writer::base();
    let int = writer.int("unsigned int", 4);
    let byte = writer.int("unsigned char", 1);
    let bytes = writer.pointer(byte);
    let inner = writer.record(
        STRUCT,
        "",
        8,
        &[("len", int, 0, 0), ("data_len", int, 32, 0)],
    );
    let either = writer.record(UNION, "", 8, &[("", inner, 0, 0), ("other", int, 0, 0)]);
    writer.record(
        STRUCT,
        "sk_buff",
        24,
        &[("", either, 64, 0), ("data", bytes, 128, 0)],
    );
    let blob = writer.finish();
    let expected = SkbLayout {
        len: at(8, 4),
        data_len: at(12, 4),
        data: at(16, 8),
    };
    let btf = Btf::parse(&blob, None).unwrap();
    assert_eq!(resolve(&btf).layout.skb, expected);
}

#[test]
fn functions_are_those_of_the_module_and_of_the_kernel_only_where_ip_vs_is_built_in() {
    const NAME: &str = "ip_vs_leave";
    let mut base = Writer::base();
    base.function(NAME, 0, &[]);
    let kernel = base.finish();
    let mut module = Writer::split(&base);
    module.function("another", 0, &[]);
    let module = module.finish();
    let outcome = |btf: &Btf<'_>| resolve(btf).functions[NAME].clone();

    let built_in = outcome(&Btf::parse(&kernel, None).unwrap());
    assert!(
        matches!(built_in, Err(Refusal::Prototype { .. })),
        "{built_in:?}"
    );
    let in_module = outcome(&Btf::parse(&kernel, Some(&module)).unwrap());
    assert_eq!(in_module, Err(Refusal::NoFunction(NAME)));
}
