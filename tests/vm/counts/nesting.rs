//! Calls within calls, on purpose: a task of the director sends, the packet enters the hook again
//! from inside the forwarding function, and the interrupt that ends its way serves another
//! director behind it and whatever has come meanwhile, all on one stack of calls; on the other
//! CPU the same.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod};
use ipvs_observer_tests::{
    agent::Agent,
    director::Lab,
    ipvs_admin,
    link::{self, Cidr},
    netns::Netns,
    proc_ipvs::{self, PacketCounts},
    report::{Latency, Report, Row},
    services::{PORT, Vip},
    traffic::{self, Server},
};

use crate::fixture::{not_run, summary};

const VIP: Vip = Vip::V4;
const SERVERS: u8 = 2;
/// Where the applications behind the inner directors listen.
const APPLICATION: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 30, 0, 1));
const SESSIONS: u32 = 150;
const REQUESTS: u32 = 8;
const MEASURES: &str = "+xmit,+hook";

#[cfg_attr(feature = "vm", test)]
fn each_call_meets_its_own_return_however_deep_it_lies() {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.add_service(VIP, "rr").expect("the service is added");
    let servers: Vec<_> = (1..=SERVERS)
        .map(|server| inner_director(&lab, server).expect("it is built"))
        .collect();
    connect(lab.client(), SERVERS.into(), 1).expect("the way is open");
    let outer = lab.quiesce().expect("the director becomes idle");
    let inner = inner_packets(&lab);
    let agent = Agent::start(lab.director(), &["-i", "250ms", "--measure", MEASURES])
        .expect("the agent starts");
    from_within_and_without(&lab);
    let packets = lab.quiesce().expect("the director becomes idle");
    let packets = packets.since(outer).incoming;
    // Both directors see all that clients send.
    assert_eq!(inner_packets(&lab) - inner, packets);
    let summary = summary(agent);
    drop(servers);
    check(&summary, packets);
}

/// Real server `server` is a director of one service, whose application is on itself.
fn inner_director(lab: &Lab, server: u8) -> Result<Server> {
    let netns = lab.server(server);
    link::add_address(netns, link::LOOPBACK, Cidr::host(APPLICATION))?;
    let application = SocketAddr::new(APPLICATION, PORT);
    let running = Server::start(netns, application, Duration::ZERO)?;
    let service = ipvs_observer::model::id::ServiceId::Address {
        protocol: ipvs_observer::model::id::Protocol::TCP,
        address: VIP.server_address(server),
        port: PORT,
    };
    netns.run(|| {
        ipvs_admin::add_service(&service, "rr")?;
        let destination = DestinationId {
            address: APPLICATION,
            port: PORT,
        };
        ipvs_admin::add_destination(&service, &destination, ForwardingMethod::Masquerade, 1)
    })?;
    lab.add_server(VIP, server, 1)?;
    Ok(running)
}

/// Packets from clients that the inner directors have counted.
fn inner_packets(lab: &Lab) -> u64 {
    let packets = |server| -> Result<PacketCounts> {
        proc_ipvs::packets_per_cpu(&lab.server(server).proc_net("ip_vs_stats_percpu")?)
    };
    let packets = lab.servers().map(packets);
    packets
        .map(|packets| packets.expect("they are counted").incoming)
        .sum()
}

/// Two clients on the director itself and two in front of it.
fn from_within_and_without(lab: &Lab) {
    let clients = [lab.director(), lab.client()];
    thread::scope(|scope| {
        let threads: Vec<_> = clients
            .into_iter()
            .chain(clients)
            .map(|netns| scope.spawn(|| connect(netns, SESSIONS, REQUESTS)))
            .collect();
        for thread in threads {
            let ended = thread.join().map_err(|_panic| anyhow!("it panicked"));
            ended
                .and_then(|ended| ended)
                .expect("every session is answered");
        }
    });
}

fn connect(netns: &Netns, sessions: u32, requests: u32) -> Result<()> {
    traffic::sessions(netns, VIP.address(), sessions, requests)
}

/// Fails unless each packet has one value of each measure or is counted as one that has none,
/// and no packet has spent more time in the inner function than in the outer one.
fn check(summary: &Report, packets: u64) {
    let service = summary.service(&VIP.name()).expect("it is shown");
    let [xmit, hook] = latencies(service);
    let losses = summary.total_losses().expect("they are shown");
    let others = losses.iter().filter(|loss| !loss.starts_with("unpaired:"));
    assert_eq!(others.collect::<Vec<_>>(), [] as [&str; 0]);
    // A task that moves to another CPU in between is not met again.
    let unpaired = summary.total_loss("unpaired").expect("it is shown");
    let seen = format!("{packets} packets, {unpaired} unpaired, {xmit:?}, {hook:?}");
    assert!(xmit.count <= packets && hook.count <= packets, "{seen}");
    // The hook also sees packets of others, which can be unpaired as well.
    let told = xmit.count + hook.count + unpaired + not_run(summary);
    assert!(told >= 2 * packets, "{seen}");
    if unpaired == 0 {
        assert_nested(xmit, hook);
        for server in 1..=SERVERS {
            let server = service.server(VIP.server_address(server));
            let [xmit, hook] = latencies(server.expect("it is shown"));
            assert_nested(xmit, hook);
        }
    }
}

fn latencies(row: Row<'_>) -> [Latency; 2] {
    ["xmit", "hook"].map(|measure| row.total_latency(measure).expect("it is shown"))
}

#[track_caller]
fn assert_nested(inner: Latency, outer: Latency) {
    assert_eq!(inner.count, outer.count);
    let pairs = [
        ("sum", inner.sum_ns, outer.sum_ns),
        ("smallest", inner.min_ns, outer.min_ns),
        ("median", inner.p50_ns, outer.p50_ns),
        ("99th percentile", inner.p99_ns, outer.p99_ns),
        ("largest", inner.max_ns, outer.max_ns),
    ];
    for (name, inner_ns, outer_ns) in pairs {
        assert!(
            inner_ns <= outer_ns,
            "{name}: {inner_ns} ns in {outer_ns} ns"
        );
    }
}
