//! What is not as the programs expect refuses what depends on it, and nothing else.

use ipvs_observer_common::{DestLayout, SkbLayout};

use super::{
    super::super::testing::{CONST, FWD, TYPEDEF, Writer},
    Btf, Layout, Refusal, V6_1, V6_12, resolve, resolve_facts,
};

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
fn maps_that_are_kept_otherwise_refuse_live_counters_and_nothing_else() {
    let pptrs = "  264 pptrs : void *[0] (0)";
    for (broken, reason) in [
        (
            "  264 pptrs : int[0] (0)",
            "pptrs of struct bpf_array is a nameless Array in this kernel, not an array of pointers",
        ),
        (
            "  264 pptrs : void * (8)",
            "pptrs of struct bpf_array is a pointer to anything in this kernel, not an array of pointers",
        ),
        ("", "struct bpf_array of this kernel has no member pptrs"),
    ] {
        assert!(V6_12.contains(pptrs));
        let resolved = resolve_facts(&V6_12.replace(pptrs, broken));
        for function in ["ip_vs_genl_fill_dest", "ip_vs_genl_fill_service"] {
            let refusal = resolved.functions[function].clone().unwrap_err();
            assert_eq!(refusal.to_string(), reason);
        }
        assert_eq!(resolved.functions["ip_vs_schedule"], Ok(()));
        assert_eq!(resolved.functions["tcp_state_transition"], Ok(()));
    }
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
    assert_eq!(resolved.functions.len(), 34);
    assert!(resolved.functions.values().all(Result::is_err));
}
