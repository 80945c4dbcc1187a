//! A flood of SYNs that nobody completes, more than there is room for: whoever is connected is
//! measured as ever, what the flood displaces is counted, and in the end nothing is left of it.

use std::{
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::mpsc,
    thread,
};

use anyhow::{Result, anyhow};
use ipvs_observer_tests::{
    agent::Agent,
    application::Transport,
    director::{CLIENT_V4, Lab},
    flood::Flood,
    forwarding::{Forwarding, Path},
    netns::Netns,
    report::Report,
    services::{PORT, Vip},
    traffic::{self, exchange, open},
};
use rustix::system::uname;

use crate::fixture::{Balanced, assert_latency_count, assert_total, not_run, summary};

const VIP: Vip = Vip::V4;
const SERVERS: u8 = 2;
/// Connections that are open before the flood and after it.
const HELD: u32 = 32;

/// Where the flood is as large as promised, which takes a while under emulation; elsewhere it is a part of that.
const THOROUGH_KERNEL: &str = "6.12.";
const THOROUGH: Scale = Scale {
    syns: 200_000,
    connections: 20_000,
};
const QUICK: Scale = Scale {
    syns: 40_000,
    connections: 4_000,
};

/// A flood, and what there is room for.
#[derive(Clone, Copy, Debug)]
struct Scale {
    syns: u32,
    /// `--max-connections`; twice as many places are found by the first ones.
    connections: u32,
}

#[cfg_attr(feature = "vm", test)]
fn a_flood_of_syns_displaces_nobody_who_is_connected() {
    let release = uname().release().to_string_lossy().into_owned();
    let Scale { syns, connections } = if release.starts_with(THOROUGH_KERNEL) {
        THOROUGH
    } else {
        QUICK
    };
    let balanced = Balanced::new(VIP, SERVERS);
    let lab = &balanced.lab;
    let agent = Agent::start(
        lab.director(),
        &["-i", "500ms", "--max-connections", &connections.to_string()],
    )
    .expect("the agent starts");
    let mut flood = Flood::new(lab, VIP.address()).expect("the flood is ready");
    let mut held = hold(lab).expect("clients connect");
    let sessions =
        during(lab, &mut held, &mut flood, syns).expect("clients are served during the flood");
    for mut connection in held {
        exchange(&mut connection).expect("it is still served");
        traffic::close(connection).expect("it is closed");
    }
    lab.quiesce().expect("the director becomes idle");
    let real = u64::from(HELD) + sessions;
    let all = real + u64::from(syns);
    let shown = agent
        .await_report("all connections to be counted", |report| {
            total(report, "scheduled") == all
        })
        .expect("they are");
    let places = u64::from(connections) * 2;
    let used = shown.memory("records_used").expect("it is shown");
    assert!(used <= places, "{used} records in {places} places");
    // A flood that takes longer than a handshake may has begun to end.
    let ended = total(&shown, "unanswered");
    let displaced = shown.total_loss("half_open_evicted");
    let displaced = displaced.expect("it is shown");
    let expected = all.saturating_sub(used + ended)..=all - used;
    assert!(
        displaced > 0 && expected.contains(&displaced),
        "{displaced} displaced, {used} records and {ended} ended of {all}"
    );
    // The first half-open connections end while others come.
    let late = syns / 4;
    flood_while(&mut flood, late, || remove(lab, 1)).expect("the flood goes on");
    remove(lab, 2).expect("the server is removed");
    let flooded = u64::from(syns) + u64::from(late);
    agent
        .await_report("the flood to end", |report| {
            let ended = total(report, "unanswered");
            assert!(ended <= flooded, "{ended} of {flooded} have ended");
            // Of an end that no program has seen the record stays.
            ended + not_run(report) >= flooded
                && report
                    .memory("records_used")
                    .is_ok_and(|used| used <= not_run(report))
        })
        .expect("each of its connections ends once, and no record leaks");
    let summary = summary(agent);
    let service = summary.service(&VIP.name()).expect("the service is shown");
    // A flood is answered too, and those answers are the server's.
    for measure in ["client", "handshake", "first_byte", "duration"] {
        assert_latency_count(service, measure, real);
    }
    assert_total(service, "established", real);
    assert_total(service, "scheduled", real + flooded);
    assert_total(service, "preexisting", 0);
    let others = losses(&summary);
    let others = others
        .iter()
        .filter(|loss| !loss.starts_with("half_open_evicted:"));
    assert_eq!(others.collect::<Vec<_>>(), [] as [&str; 0]);
}

/// A protocol without a handshake has no other sign of what was displaced.
#[cfg_attr(feature = "vm", test)]
fn datagrams_that_nobody_answers_displace_each_other_and_are_counted() {
    const FLOWS: u32 = 400;
    const CONNECTIONS: &str = "50";
    // Thirteen buckets of eight.
    const PLACES: u64 = 104;
    let path = Path {
        vip: VIP,
        transport: Transport::Udp,
        forwarding: Forwarding::Masquerade,
    };
    let name = path.id().to_string();
    let lab = Lab::new(1).expect("the lab is built");
    lab.balance(path).expect("the service is added");
    let agent = Agent::start(
        lab.director(),
        &["-i", "500ms", "--max-connections", CONNECTIONS],
    )
    .expect("the agent starts");
    let bind = |netns: &Netns, address: SocketAddr| netns.run(|| Ok(UdpSocket::bind(address)?));
    let server = SocketAddr::new(path.server_address(1), PORT);
    let silent = bind(lab.server(1), server).expect("it listens and says nothing");
    let clients = (0..FLOWS).map(|_| {
        let client = bind(lab.client(), SocketAddr::new(CLIENT_V4, 0))?;
        client.send_to(&traffic::REQUEST, VIP.address())?;
        Ok(client)
    });
    let clients: Result<Vec<_>> = clients.collect();
    let clients = clients.expect("each sends from a port of its own");
    let scheduled = |report: &Report| report.service(&name)?.total("scheduled");
    let shown = agent
        .await_report("all flows to be counted", |report| {
            scheduled(report).is_ok_and(|found| found == u64::from(FLOWS))
        })
        .expect("they are");
    drop((silent, clients));
    let used = shown.memory("records_used").expect("it is shown");
    assert!(used <= PLACES, "{used} records in {PLACES} places");
    let displaced = format!("half_open_evicted: {}", u64::from(FLOWS) - used);
    assert_eq!(losses(&shown), [displaced.as_str()]);

    lab.director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")
        .expect("flows can be made to end with their server");
    lab.remove_servers(path).expect("the server is removed");
    agent
        .await_report("all records to come back", |report| {
            report
                .memory("records_used")
                .is_ok_and(|used| used <= not_run(report))
        })
        .expect("no record leaks");
    assert_eq!(losses(&summary(agent)), [displaced]);
}

/// Opens the connections that are to last.
fn hold(lab: &Lab) -> Result<Vec<TcpStream>> {
    lab.client().run(|| {
        let connections = (0..HELD).map(|_| {
            let mut connection = open(VIP.address())?;
            exchange(&mut connection)?;
            Ok(connection)
        });
        connections.collect()
    })
}

/// Floods by parts, and meanwhile uses the connections that last and makes others, one of each
/// with every part; says how many others.
fn during(lab: &Lab, held: &mut [TcpStream], flood: &mut Flood, syns: u32) -> Result<u64> {
    const PART: u32 = 500;
    let (parts, flooded) = mpsc::channel();
    thread::scope(|scope| {
        let clients = scope.spawn(move || {
            let mut sessions = 0;
            lab.client().enter()?;
            for ((), index) in flooded.iter().zip((0..held.len()).cycle()) {
                exchange(&mut held[index])?;
                traffic::connect_once(VIP.address(), 1)?;
                sessions += 1;
            }
            Ok(sessions)
        });
        for _ in 0..syns / PART {
            parts.send(())?;
            flood.send(PART)?;
        }
        drop(parts);
        let sessions = clients.join();
        sessions.map_err(|_panic| anyhow!("a client has panicked"))?
    })
}

/// Sends `syns` more while `work` is done.
fn flood_while(flood: &mut Flood, syns: u32, work: impl FnOnce() -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood.send(syns));
        let done = work();
        let flooded = flooding.join();
        flooded.map_err(|_panic| anyhow!("the flood has panicked"))??;
        done
    })
}

/// Removes a server, and has IPVS end all its connections.
fn remove(lab: &Lab, server: u8) -> Result<()> {
    lab.director()
        .set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")?;
    lab.remove_server(VIP, server)
}

fn losses(report: &Report) -> Vec<String> {
    report.total_losses().expect("they are shown")
}

fn total(report: &Report, counter: &str) -> u64 {
    let service = report.service(&VIP.name()).expect("the service is shown");
    service.total(counter).expect("it is counted")
}
