//! What scripts read.

use std::time::Duration;

use serde_json::{Value, json};

use super::encode;
use crate::output::testing::{draining, of_all_netns, web, whole_run, window};

fn parsed(line: &str) -> Value {
    assert_eq!(line.matches('\n').count(), 1, "one object is one line");
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_window_has_its_span_and_its_health() {
    let object = parsed(&encode(&window(2)));
    assert_eq!(object["host"], "director1");
    assert_eq!(object["time"], "2027-01-15T08:00:04.000000000Z");
    assert_eq!(object["window_ns"], 2_000_000_000_u64);
    assert_eq!(object["elapsed_ns"], 4_000_000_000_u64);
    assert_eq!(object["final"], false);
    let health = &object["health"];
    assert_eq!(health["coverage"], json!({ "hits": 1198, "packets": 1200 }));
    assert_eq!(health["losses"], json!({ "header_unreadable": 3 }));
    assert_eq!(health["missed_windows"], 1);
    assert_eq!(
        health["refused_probes"][0]["function"],
        "sctp_state_transition"
    );
    assert_eq!(parsed(&encode(&whole_run(2)))["final"], true);
}

#[test]
fn a_service_is_named_and_sums_up_its_servers() {
    let object = parsed(&encode(&window(2)));
    let (web, marked) = (&object["services"][0], &object["services"][1]);
    assert_eq!(web["service"], "TCP 192.0.2.1:80");
    assert_eq!(
        (&web["protocol"], &web["address"], &web["port"]),
        (&json!("TCP"), &json!("192.0.2.1"), &json!(80))
    );
    assert_eq!(web["scheduler"], "wlc");
    assert_eq!(web["counters"]["scheduled"], 107);
    assert_eq!(web["counters"]["refused"], 7);
    assert_eq!(web["rates"]["connections_per_s"], 53.5);
    assert_eq!(
        (&marked["firewall_mark"], &marked["family"]),
        (&json!(47), &json!("ipv6"))
    );
    assert_eq!(marked.get("port"), None);
    assert_eq!(marked["counters"]["dropped"], 5);
}

#[test]
fn a_latency_is_exact_where_it_can_be_and_carries_its_buckets() {
    let object = parsed(&encode(&window(2)));
    let server = &object["services"][0]["servers"][0];
    assert_eq!(
        (&server["address"], &server["method"]),
        (&json!("10.0.0.1"), &json!("Masq"))
    );
    let connect = &server["latency"]["connect"];
    assert_eq!(connect["count"], 100);
    assert_eq!(connect["sum_ns"], 22_500_000);
    assert_eq!(
        (&connect["min_ns"], &connect["max_ns"]),
        (&json!(200_000), &json!(250_000))
    );
    // The midpoints of 196 608..=200 703 and 249 856..=253 951, the first one raised to the minimum, the second lowered to the maximum.
    assert_eq!(connect["p50_ns"], 200_000);
    assert_eq!(connect["p99_ns"], 250_000);
    assert_eq!(connect["buckets"], json!([[196_608, 50], [249_856, 50]]));
}

#[test]
fn what_is_not_known_is_left_out() {
    let object = parsed(&encode(&window(2)));
    let quiet = &object["services"][0]["servers"][1];
    assert_eq!(
        quiet["latency"]["connect"],
        json!({ "count": 0, "sum_ns": 0, "buckets": [] })
    );
    assert_eq!(quiet["counters"]["refused"], 7);
    assert!(!encode(&window(2)).contains("null"));
}

#[test]
fn packet_rates_come_with_their_age_and_the_kernels_counters_as_they_are() {
    let object = parsed(&encode(&window(2)));
    let server = &object["services"][0]["servers"][0];
    assert_eq!(server["rates"]["in_packets_per_s"], 500.0);
    assert_eq!(server["rates"]["age_ns"], 0);
    assert_eq!(
        server["kernel"],
        json!({
            "connections": 10, "in_packets": 1400, "out_packets": 700,
            "in_bytes": 84_000, "out_bytes": 1_960_000,
            "live": false, "max_age_ns": 2_000_000_000_u64
        })
    );
    assert_eq!(server["total"]["counters"]["scheduled"], 100);
}

#[test]
fn live_counters_say_when_they_were_read() {
    let read_after = |read_at_ms| {
        let mut window = window(1);
        let row = &mut window.services.get_mut(&web()).unwrap().row;
        row.read_at = Some(Duration::from_millis(read_at_ms));
        let kernel = parsed(&encode(&window))["services"][0]["kernel"].clone();
        assert_eq!(kernel["live"], true);
        assert_eq!(kernel.get("max_age_ns"), None);
        kernel["read_after_ns"].as_i64()
    };
    assert_eq!(read_after(4_003), Some(3_000_000));
    assert_eq!(read_after(2_000), Some(-2_000_000_000));
}

#[test]
fn settings_that_bear_on_the_numbers_stand_beside_them() {
    let object = parsed(&encode(&window(2)));
    assert_eq!(object["connection_table_size"], 4096);
    assert_eq!(object["sysctls"], json!({ "run_estimation": 1 }));
    assert_eq!(object["health"]["table_took_ns"], 3_000_000);
}

#[test]
fn a_drain_and_the_connections_by_state_stand_with_their_server() {
    let object = parsed(&encode(&draining(3)));
    assert_eq!(object["health"]["sweep_took_ns"], 1_000_000);
    let server = &object["services"][0]["servers"][0];
    let drain = json!({
        "since": "2027-01-15T08:00:01.000000000Z", "begin_seen": true, "packets": 120
    });
    assert_eq!(server["drain"], drain);
    let states = &server["states"];
    assert_eq!(
        states["tcp"],
        json!({
            "none": 0, "established": 2, "syn_sent": 0, "syn_recv": 1, "fin_wait": 0, "time_wait": 0,
            "close": 0, "close_wait": 0, "last_ack": 0, "listen": 0, "synack": 0
        })
    );
    assert_eq!(
        (&states["other"], &states["begun_unseen"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(states["unanswered"], 1);
    assert_eq!(states["oldest_age_ns"], 90_000_000_000_u64);
    assert_eq!(states["oldest_syn_recv_age_ns"], 1_500_000_000);
}

#[test]
fn what_is_drained_says_when_and_after_how_long() {
    let object = parsed(&encode(&draining(0)));
    let server = &object["services"][0]["servers"][0];
    assert_eq!(server["drain"]["drained"], "2027-01-15T08:00:04.000000000Z");
    assert_eq!(server["drain"]["took_ns"], 3_000_000_000_u64);
    assert_eq!(server["states"].get("oldest_age_ns"), None);
    let other = parsed(&encode(&window(1)));
    let server = &other["services"][0]["servers"][0];
    assert_eq!((server.get("drain"), server.get("states")), (None, None));
}

#[test]
fn of_several_namespaces_each_service_says_in_which_it_is_and_each_has_its_settings() {
    let object = parsed(&encode(&of_all_netns()));
    let services = object["services"].as_array().unwrap();
    let places: Vec<_> = services
        .iter()
        .map(|service| {
            (
                &service["service"],
                &service["netns_inode"],
                service.get("netns_name"),
            )
        })
        .collect();
    let (web, marked) = (json!("TCP 192.0.2.1:80"), json!("FWM 47 IPv6"));
    let (blue, name, unnamed) = (
        json!(4_026_531_840_u32),
        json!("blue"),
        json!(4_026_532_201_u32),
    );
    assert_eq!(
        places,
        [
            (&web, &blue, Some(&name)),
            (&marked, &blue, Some(&name)),
            (&web, &unnamed, None)
        ]
    );
    assert_eq!(services[0]["counters"]["scheduled"], 107);
    assert_eq!(services[2]["counters"]["scheduled"], 0);
    let settings = json!({ "run_estimation": 1 });
    assert_eq!(
        object["namespaces"],
        json!([
            {
                "netns_inode": blue, "netns_name": "blue", "connection_table_size": 4096,
                "sysctls": settings
            },
            { "netns_inode": unnamed, "connection_table_size": 4096, "sysctls": settings }
        ])
    );
    assert_eq!(
        (object.get("sysctls"), object.get("connection_table_size")),
        (None, None)
    );
}
