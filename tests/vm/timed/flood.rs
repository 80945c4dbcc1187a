//! Clients in the midst of a flood of SYNs for which there is no room: what is measured of them
//! is what it was before.

use std::{thread, time::Duration};

use ipvs_observer_tests::{
    agent::Agent, flood::Flood, report::Latency, services::Vip, traffic, wait,
};

use crate::fixture::Balanced;

const VIP: Vip = Vip::V4;
const CONNECTIONS: &str = "1000";
/// So many that the 99th percentile is not the largest value, which a tick of the guest's timer moves.
const SESSIONS: u32 = 120;
/// SYNs at each of three moments of a session: before it, before its request, before its end.
const BURST: u32 = 30;
const PAUSE: Duration = Duration::from_millis(2);

/// What a few more connections in IPVS's table may cost.
const STILL_NS: u64 = 50_000;

const MEASURES: [&str; 5] = ["schedule", "connect", "client", "handshake", "first_byte"];

#[cfg_attr(feature = "vm", test)]
fn a_flood_of_syns_moves_no_percentile_of_real_clients() {
    let balanced = Balanced::new(VIP, 1);
    // Of a SYN for which it keeps nothing, the server repeats no answer in the midst of a later session.
    balanced
        .lab
        .server(1)
        .set_sysctl("net/ipv4/tcp_syncookies", "2")
        .expect("the server takes cookies");
    balanced.sessions(5, 1);
    let before = measure(&balanced, || {
        // As long as a burst may take: the application has the connection by then, here as there.
        thread::sleep(PAUSE);
        Ok(())
    });
    let mut flood = Flood::new(&balanced.lab, VIP.address()).expect("the flood is ready");
    let after = measure(&balanced, || flood.send(BURST));
    for ((name, before), after) in MEASURES.into_iter().zip(before).zip(after) {
        // The flood has values of its own of what a server answers and a scheduler chooses.
        let is_of_clients = after.count == before.count;
        assert_eq!(is_of_clients, !matches!(name, "schedule" | "connect"));
        assert_eq!(before.count, u64::from(SESSIONS), "{name}");
        let pairs = [
            ("median", before.p50_ns, after.p50_ns),
            ("99th percentile", before.p99_ns, after.p99_ns),
        ];
        for (statistic, before_ns, after_ns) in pairs {
            assert!(
                after_ns.abs_diff(before_ns) <= before_ns / 20 + STILL_NS,
                "the {statistic} of {name} went from {before_ns} to {after_ns} ns"
            );
        }
    }
}

/// What is measured of a fixed number of sessions with `flood` in the midst of each.
fn measure(
    balanced: &Balanced,
    mut flood: impl FnMut() -> anyhow::Result<()> + Send,
) -> [Latency; 5] {
    wait::idle_cpu().expect("the guest becomes idle");
    let agent = Agent::start(
        balanced.lab.director(),
        &["-i", "60s", "--max-connections", CONNECTIONS],
    )
    .expect("the agent starts");
    let served = balanced.lab.client().run(|| {
        for _ in 0..SESSIONS {
            flood()?;
            let mut connection = traffic::open(VIP.address())?;
            flood()?;
            traffic::exchange(&mut connection)?;
            flood()?;
            traffic::close(connection)?;
        }
        Ok(())
    });
    served.expect("every session is served");
    balanced.lab.quiesce().expect("the director becomes idle");
    let summary = agent.stop().expect("the agent ends").summary();
    let summary = summary.expect("the run is summed up");
    let service = summary.service(&VIP.name()).expect("the service is shown");
    MEASURES.map(|measure| service.total_latency(measure).expect("it is shown"))
}
