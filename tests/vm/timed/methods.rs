//! Methods whose replies avoid the director: the handshake alone tells how long a real
//! server takes, and it tells it of the right one.

use ipvs_observer::{ipvs::table::TunnelKind, model::id::AddressFamily};
use ipvs_observer_tests::{
    agent::Agent,
    application::Transport,
    director::Lab,
    forwarding::{Forwarding, Path, Replies},
    report::Report,
    services::Vip,
    wait,
};

use super::{DELAYED, DELAYS, EACH, SERVERS, assert_shift, latency};

#[cfg_attr(feature = "vm", test)]
fn late_replies_past_the_director_move_the_handshake_by_direct_route() {
    late_replies_past_the_director_move_the_handshake(
        Vip::V4,
        Forwarding::DirectRoute(Replies::Avoid),
    );
}

#[cfg_attr(feature = "vm", test)]
fn late_replies_past_the_director_move_the_handshake_by_tunnel() {
    late_replies_past_the_director_move_the_handshake(
        Vip::V6,
        Forwarding::Tunnel {
            kind: TunnelKind::IpIp,
            outer: AddressFamily::Ipv6,
            replies: Replies::Avoid,
        },
    );
}

fn late_replies_past_the_director_move_the_handshake(vip: Vip, forwarding: Forwarding) {
    let path = Path {
        vip,
        transport: Transport::Tcp,
        forwarding,
    };
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.equip(vip, forwarding)
        .expect("the servers get what the method takes");
    lab.balance(path).expect("the service is added");
    let before = measure(&lab, path);
    for delay in DELAYS {
        lab.delay_shortcut(DELAYED, delay).expect("netem is there");
        let after = measure(&lab, path);
        let delay_ns = u64::try_from(delay.as_nanos()).expect("delays are short");
        for server in 1..=SERVERS {
            for (measure, shift_ns) in [
                ("schedule", 0),
                ("handshake", if server == DELAYED { delay_ns } else { 0 }),
            ] {
                let [before, after] =
                    [&before, &after].map(|report| latency(report, vip, server, measure));
                let what = format!("{measure} of server {server}");
                assert_shift(&what, before, after, shift_ns);
            }
        }
    }
}

/// One run: an agent that sees nothing but a known number of warm connections.
fn measure(lab: &Lab, path: Path) -> Report {
    lab.exchange(path, 1, 1).expect("each server answers");
    wait::idle_cpu().expect("the guest becomes idle");
    // It prints so seldom that its own work does not fall into what is measured.
    let agent = Agent::start(lab.director(), &["-i", "60s"]).expect("the agent starts");
    lab.exchange(path, EACH, 1).expect("each server answers");
    lab.quiesce().expect("the director becomes idle");
    crate::fixture::summary(agent)
}
