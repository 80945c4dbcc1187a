//! What of connections is told that are not of TCP at an address: of other protocols, of a firewall mark, in several network
//! namespaces; and how connections end that do not end well.

use std::time::Duration;

use ipvs_observer_tests::{
    application::Transport,
    director::Lab,
    forwarding::{Forwarding, Path},
    services::Vip,
    traffic,
};
use serde_json::Value;
use socket2::SockRef;

use super::{end, stream};
use crate::{
    counts::{all_netns::Twin, firewall_mark},
    fixture::{Balanced, await_no_connection},
};

const SERVERS: u8 = 2;
const EACH: u32 = 3;
const MESSAGES: u32 = 2;

/// Sockets of the client.
const SOCKETS: u32 = EACH * SERVERS as u32;

/// Lines of `closed`, each with this outcome.
#[track_caller]
fn closed_by<'a>(told: &'a super::Told, outcome: &str) -> Vec<&'a Value> {
    let closed = told.of("closed");
    for line in &closed {
        assert_eq!(line["outcome"], outcome, "{line}");
    }
    closed
}

#[cfg_attr(feature = "vm", test)]
fn connections_of_udp_and_sctp_are_told_and_expire() {
    for (vip, transport, name) in [
        (Vip::V4, Transport::Udp, "UDP"),
        (Vip::V6, Transport::Udp, "UDP"),
        (Vip::V4, Transport::Sctp, "SCTP"),
    ] {
        let path = Path {
            vip,
            transport,
            forwarding: Forwarding::Masquerade,
        };
        let lab = Lab::new(SERVERS).expect("the lab is built");
        lab.balance(path).expect("the service is set up");
        let director = lab.director();
        director
            .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
            .expect("connections can be made to end with their server");
        let agent = stream(&lab, &["--events", "opened,closed,refused,unanswered"]);
        lab.exchange(path, EACH, MESSAGES).expect("it is answered");
        lab.quiesce().expect("the director becomes idle");
        lab.remove_servers(path).expect("they are removed");
        await_no_connection(&lab);
        let told = end(&lab, agent);
        let all = SOCKETS as usize;
        told.assert_counts(&[("opened", all), ("closed", all)]);
        for line in closed_by(&told, "expired") {
            assert_eq!(line["packet_protocol"], name);
            assert_eq!(line["service"], path.id().to_string());
            assert!(line.get("states").is_none(), "{line}");
            if transport == Transport::Udp {
                assert_eq!(line["in_packets"], MESSAGES);
                assert_eq!(line["out_packets"], MESSAGES);
                assert!(line["first_byte_ns"].is_u64(), "{line}");
                assert!(line.get("connect_ns").is_none(), "{line}");
            }
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn connections_of_a_firewall_mark_are_told_with_it() {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    let vip = Vip::V4;
    let _applications = firewall_mark::add_service(&lab, vip).expect("the service is set up");
    let agent = stream(&lab, &["--events", "closed", "-f", "47"]);
    lab.director()
        .run(|| {
            (0..SOCKETS).try_for_each(|_| {
                let mut stream = traffic::open_marked(vip.address(), firewall_mark::MARK)?;
                traffic::exchange(&mut stream)?;
                traffic::close(stream)
            })
        })
        .expect("every session is answered");
    let told = end(&lab, agent);
    told.assert_counts(&[("closed", SOCKETS as usize)]);
    for line in closed_by(&told, "finished") {
        assert_eq!(line["service"], "FWM 47");
        assert_eq!(line["firewall_mark"], 47);
        assert_eq!(line["family"], "ipv4");
        assert_eq!(line["packet_protocol"], "TCP");
        assert!(line.get("address").is_none(), "{line}");
    }
}

#[cfg_attr(feature = "vm", test)]
fn all_namespaces_are_told_with_their_numbers_and_one_without_others() {
    let (one, two) = (Twin::new("one-"), Twin::new("two-"));
    let all = stream(&one.lab, &["--events", "closed", "--all-netns"]);
    let own = stream(&one.lab, &["--events", "closed"]);
    one.sessions(2);
    two.sessions(3);
    two.lab.quiesce().expect("the director becomes idle");
    let [all, own] = [all, own].map(|agent| end(&one.lab, agent));
    own.assert_counts(&[("closed", 2)]);
    all.assert_counts(&[("closed", 5)]);
    for (twin, count) in [(&one, 2), (&two, 3)] {
        let inode = twin.inode();
        let lines = all.lines.iter();
        assert_eq!(
            lines.filter(|line| line["netns_inode"] == inode).count(),
            count
        );
    }
}

#[cfg_attr(feature = "vm", test)]
fn connections_that_are_reset_or_older_than_the_stream_are_told_so() {
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, SERVERS);
    let open = || {
        balanced
            .lab
            .client()
            .run(|| {
                let mut stream = traffic::open(vip.address())?;
                traffic::exchange(&mut stream)?;
                Ok(stream)
            })
            .expect("it is answered")
    };
    let older = open();
    balanced.lab.quiesce().expect("the director becomes idle");
    let agent = stream(&balanced.lab, &["--events", "closed"]);
    let reset = open();
    SockRef::from(&reset)
        .set_linger(Some(Duration::ZERO))
        .expect("it can be told to reset");
    drop(reset);
    balanced.lab.quiesce().expect("the director becomes idle");
    traffic::close(older).expect("it is closed");
    balanced.lab.quiesce().expect("the director becomes idle");
    // What is reset is told when IPVS gives it up: by itself ten seconds later.
    balanced
        .lab
        .director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
        .expect("connections can be made to end with their server");
    for server in 1..=SERVERS {
        let removed = balanced.lab.remove_server(vip, server);
        removed.expect("the server is removed");
    }
    await_no_connection(&balanced.lab);
    let told = end(&balanced.lab, agent);
    told.assert_counts(&[("closed", 2)]);
    let [older, reset] = told.lines.as_slice() else {
        panic!("two lines");
    };
    assert_eq!(reset["outcome"], "reset_by_client");
    let states = reset["states"].as_array().expect("they are told");
    assert_eq!(states.last().expect("one"), "close");
    assert!(reset.get("preexisting").is_none(), "{reset}");
    assert_eq!(older["outcome"], "finished");
    assert_eq!(older["preexisting"], true);
    for absent in ["age_ns", "connect_ns", "handshake_ns", "duration_ns"] {
        assert!(older.get(absent).is_none(), "{older}");
    }
}
