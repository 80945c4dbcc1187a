//! The layouts of four real kernels, and every reason to refuse one.

use ipvs_observer_common::{ConnLayout, DestLayout, Field, ServiceLayout, SkbLayout, StatsLayout};

use super::{
    super::testing::{CONST, FWD, STRUCT, TYPEDEF, UNION, Writer, kernel},
    *,
};

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
        for (name, outcome) in resolve_facts(facts).functions {
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
    for (facts, dest, service) in [
        (V6_1, stats(88 + 176, 88 + 192), stats(112 + 176, 112 + 192)),
        (
            V6_12,
            stats(88 + 184, 88 + 200),
            stats(112 + 184, 112 + 200),
        ),
        (
            V6_18,
            stats(80 + 184, 80 + 200),
            stats(112 + 184, 112 + 200),
        ),
        (V7_2, stats(88 + 184, 88 + 200), stats(96 + 184, 96 + 200)),
    ] {
        let layout = resolve_facts(facts).layout;
        assert_eq!(layout.dest_stats, dest);
        assert_eq!(layout.service_stats, service);
        assert_eq!(layout.cpu_counters, at(0, 40));
    }
}

#[test]
fn counters_in_another_order_refuse_live_counters_and_nothing_else() {
    let facts = V6_12
        .replace("  8 inpkts : u64_stats_t", "  16 inpkts : u64_stats_t")
        .replace("  16 outpkts : u64_stats_t", "  8 outpkts : u64_stats_t");
    let resolved = resolve_facts(&facts);
    for function in ["ip_vs_genl_fill_dest", "ip_vs_genl_fill_service"] {
        let refusal = resolved.functions[function].clone().unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "cnt.inpkts of struct ip_vs_cpu_stats is elsewhere in this kernel, not a counter behind the one before it"
        );
    }
    assert_eq!(resolved.functions["ip_vs_schedule"], Ok(()));
    assert_eq!(resolved.functions["tcp_state_transition"], Ok(()));
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
fn a_missing_member_refuses_what_needs_its_structure_and_nothing_else() {
    let facts = V6_12.replace("  112 len : unsigned int (4)\n", "");
    let resolved = resolve_facts(&facts);
    assert_eq!(resolved.layout.skb, SkbLayout::default());
    let refusal = resolved.functions["tcp_state_transition"]
        .clone()
        .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "struct sk_buff of this kernel has no member len"
    );
    assert_eq!(resolved.functions["udp_state_transition"], Ok(()));
    assert_eq!(resolved.functions["ip_vs_schedule"], Ok(()));
}

#[test]
fn a_missing_structure_refuses_what_needs_it() {
    let facts = V6_12.replace("struct ip_vs_dest 488", "struct ip_vs_deed 488");
    let resolved = resolve_facts(&facts);
    assert_eq!(resolved.layout.dest, DestLayout::default());
    assert_eq!(
        resolved.functions["ip_vs_conn_new"],
        Err(Refusal::NoStructure("ip_vs_dest"))
    );
}

#[test]
fn members_that_the_programs_cannot_read_are_refused() {
    let spoilt = [
        (
            "  148 state : volatile __u16 (2)",
            "  148.0 state : __u8 (4b)",
            "a bit field",
        ),
        (
            "  22 af : u16 (2)",
            "  22 af : u64 (8)",
            "an integer of 8 bytes",
        ),
        (
            "  22 af : u16 (2)",
            "  22 af : struct net * (8)",
            "a pointer to net",
        ),
        (
            "  192 in_pkts : atomic_t (4)",
            "  192 in_pkts : u32 (4)",
            "an integer of 4 bytes",
        ),
        (
            "  184 dest : struct ip_vs_dest * (8)",
            "  184 dest : struct ip_vs_app * (8)",
            "a pointer to ip_vs_app",
        ),
        (
            "  184 dest : struct ip_vs_dest * (8)",
            "  184 dest : void * (8)",
            "a pointer to anything",
        ),
        (
            "  96 timer : struct timer_list (40)",
            "  96 timer : struct hrtimer (40)",
            "hrtimer",
        ),
    ];
    for (whole, broken, found) in spoilt {
        let start = V6_1.find("struct ip_vs_conn ").unwrap();
        let (before, conn) = V6_1.split_at(start);
        assert!(conn.contains(whole), "{whole}");
        let facts = format!("{before}{}", conn.replacen(whole, broken, 1));
        let refusal = resolve_facts(&facts).functions["ip_vs_conn_new"]
            .clone()
            .unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.contains(&format!("is {found} in this kernel")),
            "{text}"
        );
    }
}

#[test]
fn copies_that_disagree_are_refused() {
    let (_, conn) = V6_12.split_once("struct ip_vs_conn 288\n").unwrap();
    let (conn, _) = conn.split_once("fn ").unwrap();
    let moved = conn.replace("148 state :", "150 state :");
    let resolved = resolve_facts(&format!("{V6_12}struct ip_vs_conn 288\n{moved}"));
    let expected = Refusal::Copies {
        structure: "ip_vs_conn",
        member: "state",
    };
    assert_eq!(resolved.functions["udp_state_transition"], Err(expected));
}

#[test]
fn prototypes_that_do_not_fit_are_refused_with_their_reason() {
    let transition = "fn void tcp_state_transition(struct ip_vs_conn * cp, int direction, \
                      const struct sk_buff * skb, struct ip_vs_proto_data * pd, \
                      unsigned int iph_len)";
    let spoilt = [
        (
            "tcp_state_transition",
            "struct ip_vs_conn * cp",
            "struct ip_vs_dest * cp",
        ),
        ("tcp_state_transition", "int direction", "u64 direction"),
        ("tcp_state_transition", "int direction", "int hooknum"),
        (
            "tcp_state_transition",
            "const struct sk_buff * skb",
            "const void * skb",
        ),
        (
            "tcp_state_transition",
            "unsigned int iph_len",
            "void * iph_len",
        ),
        (
            "tcp_state_transition",
            "unsigned int iph_len",
            "unsigned int iph_len, int x",
        ),
    ];
    assert!(V6_12.contains(transition));
    for (function, whole, broken) in spoilt {
        let facts = V6_12.replace(transition, &transition.replace(whole, broken));
        let resolved = resolve_facts(&facts);
        let refusal = resolved.functions[function].clone().unwrap_err();
        assert!(matches!(refusal, Refusal::Prototype { .. }), "{refusal}");
        assert!(refusal.to_string().starts_with(function), "{refusal}");
        assert_eq!(resolved.functions["udp_state_transition"], Ok(()));
    }
    for (function, whole, broken) in [
        (
            "ip_vs_conn_new",
            "fn struct ip_vs_conn * ip_vs_conn_new",
            "fn int ip_vs_conn_new",
        ),
        (
            "ip_vs_schedule",
            "fn struct ip_vs_conn * ip_vs_schedule",
            "fn void ip_vs_schedule",
        ),
        (
            "ip_vs_conn_expire",
            "struct timer_list * t",
            "struct hrtimer * t",
        ),
        (
            "ip_vs_conn_rcu_free",
            "struct callback_head * head",
            "struct ip_vs_conn * head",
        ),
        (
            "ip_vs_leave",
            "ip_vs_leave(struct ip_vs_service * svc",
            "ip_vs_leave(int svc",
        ),
    ] {
        assert!(V6_12.contains(whole), "{whole}");
        let resolved = resolve_facts(&V6_12.replace(whole, broken));
        let refusal = resolved.functions[function].clone().unwrap_err();
        assert!(matches!(refusal, Refusal::Prototype { .. }), "{refusal}");
    }
}

#[test]
fn an_absent_function_is_refused_by_name() {
    let facts = V6_12.replace("sctp_state_transition(", "sctp_state_transit(");
    let resolved = resolve_facts(&facts);
    assert_eq!(
        resolved.functions["sctp_state_transition"],
        Err(Refusal::NoFunction("sctp_state_transition"))
    );
    assert_eq!(resolved.functions["tcp_state_transition"], Ok(()));
}

#[test]
fn functions_of_one_name_must_be_called_alike() {
    let with = V6_12
        .lines()
        .find(|line| line.contains("tcp_state_transition"))
        .unwrap();
    let without = with.replace(", unsigned int iph_len", "");
    let resolved = resolve_facts(&format!("{V6_12}{without}\n"));
    assert_eq!(
        resolved.functions["tcp_state_transition"],
        Err(Refusal::FunctionCopies("tcp_state_transition"))
    );
}

#[test]
fn a_kernel_without_ip_vs_refuses_everything() {
    let mut writer = Writer::base();
    let int = writer.int("int", 4);
    let named = writer.reference(TYPEDEF, "u32", int);
    writer.reference(CONST, "", named);
    writer.reference(FWD, "ip_vs_conn", 0);
    let blob = writer.finish();
    let resolved = resolve(&Btf::parse(&blob, None).unwrap());
    assert_eq!(resolved.layout, Layout::default());
    assert_eq!(resolved.functions.len(), 10);
    assert!(resolved.functions.values().all(Result::is_err));
}
