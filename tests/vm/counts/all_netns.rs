//! Directors in several network namespaces that have the same service and the same real server, by their addresses: each is
//! counted for itself.

use std::{fs, net::TcpStream, os::unix::fs::MetadataExt as _, time::Duration};

use anyhow::Result;
use ipvs_observer_tests::{
    agent::{self, Agent, Rights},
    director::Lab,
    link::{self, End},
    netns::Netns,
    report::{Coverage, Report, Row},
    services::Vip,
    traffic::{Server, exchange, open, sessions},
    wait,
};
use rustix::thread::CapabilitySet;

use crate::fixture::{assert_latency_count, assert_one_line, assert_total, summary};

const VIP: Vip = Vip::V4;

/// A director with one real server, beside others that have the same addresses.
pub(super) struct Twin {
    /// Stopped before its namespace goes.
    _server: Server,
    pub(super) lab: Lab,
}

impl Twin {
    pub(super) fn new(prefix: &str) -> Self {
        let lab = Lab::with_prefix(prefix, 1).expect("the lab is built");
        lab.add_service(VIP, "rr").expect("the service is added");
        let server = lab.start_server(VIP, 1, Duration::ZERO);
        lab.add_server(VIP, 1, 1).expect("the server is added");
        Self {
            _server: server.expect("it starts"),
            lab,
        }
    }

    pub(super) fn sessions(&self, count: u32) {
        sessions(self.lab.client(), VIP.address(), count, 1).expect("every session is answered");
    }

    fn open(&self, count: u32) -> Vec<TcpStream> {
        let open_all = || (0..count).map(|_| open(VIP.address())).collect();
        self.lab
            .client()
            .run(open_all)
            .expect("every connection is accepted")
    }

    fn packets(&self) -> u64 {
        self.lab.quiesce().expect("packets are counted").total()
    }

    fn row_in<'a>(&self, report: &'a Report) -> Result<Row<'a>> {
        report.service_in(self.lab.director().name(), &VIP.name())
    }

    /// Fails unless the whole run has exactly `connections` of this director, and the kernel's counters are its own.
    #[track_caller]
    fn assert_counts(&self, report: &Report, connections: u32) {
        let service = self.row_in(report).expect("the service is shown");
        let server = service.server(VIP.server_address(1));
        for row in [service, server.expect("the server is shown")] {
            assert_total(row, "scheduled", connections.into());
            assert_total(row, "established", connections.into());
            for measure in ["schedule", "connect", "handshake", "first_byte"] {
                assert_latency_count(row, measure, connections.into());
            }
            let packets = row
                .kernel_packets()
                .expect("the kernel's counters are shown");
            assert_eq!(packets.total(), self.packets(), "{row:?}");
        }
        assert_eq!(
            service.number("netns_inode").expect("it is shown"),
            self.inode()
        );
    }

    /// Of the director's namespace.
    pub(super) fn inode(&self) -> u64 {
        let path = self.lab.director().path();
        fs::metadata(path).expect("the namespace has a name").ino()
    }
}

#[cfg_attr(feature = "vm", test)]
fn directors_with_the_same_addresses_are_counted_apart_and_without_the_option_one_is() {
    let (one, two) = (Twin::new("one-"), Twin::new("two-"));
    let all = start(&one.lab, &["--all-netns"]);
    let own = start(&one.lab, &[]);
    one.sessions(5);
    two.sessions(9);
    let (packets, others) = (one.packets(), two.packets());
    let (all, own) = (summary(all), summary(own));

    assert_eq!(all.services().expect("they are listed").count(), 2);
    one.assert_counts(&all, 5);
    two.assert_counts(&all, 9);
    assert_coverage(&all, packets + others);
    let services: Vec<_> = own.services().expect("they are listed").collect();
    assert_eq!(services.len(), 1);
    assert_total(services[0], "scheduled", 5);
    assert_eq!(services[0].netns_name(), None);
    assert_coverage(&own, packets);
    for report in [&all, &own] {
        assert_eq!(report.total_losses().expect("they are shown"), [""; 0]);
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_namespace_that_comes_is_followed_and_one_that_goes_is_shown_as_gone() {
    let one = Twin::new("one-");
    let agent = start(&one.lab, &["--all-netns"]);
    one.sessions(2);
    let two = Twin::new("two-");
    agent
        .await_report("the new namespace", |report| two.row_in(report).is_ok())
        .expect("it is found");
    one.sessions(1);
    two.sessions(4);
    let packets = one.packets() + two.packets();
    let report = agent
        .await_report("all packets", |report| {
            let coverage = report.total_coverage();
            coverage.is_ok_and(|coverage| coverage.packets == packets)
        })
        .expect("they are counted");
    one.assert_counts(&report, 3);
    two.assert_counts(&report, 4);
    assert_coverage(&report, packets);

    let name = two.lab.director().name().to_owned();
    drop(two);
    agent
        .await_report("the end of a namespace", |report| {
            let row = report.service_in(&name, &VIP.name());
            row.is_ok_and(Row::is_gone)
        })
        .expect("it is shown");
    one.sessions(1);
    one.packets();
    let summary = summary(agent);
    assert_eq!(summary.services().expect("they are listed").count(), 1);
    one.assert_counts(&summary, 4);
    assert!(
        summary.total_coverage().is_err(),
        "what the kernel counted at last went with the namespace"
    );
}

/// Before 7.1 the kernel has one table for the connections of all network namespaces.
#[cfg_attr(feature = "vm", test)]
fn connections_that_are_older_than_the_agent_are_looked_at_in_each_namespace() {
    let (one, two) = (Twin::new("one-"), Twin::new("two-"));
    let mut streams = one.open(3);
    streams.extend(two.open(7));
    // Without records nothing else would keep a connection from being counted in each file that shows it.
    let agent = start(&one.lab, &["--all-netns", "--states"]);
    assert_open(&agent, [(&one, 3, 0), (&two, 7, 0)]);
    drop(agent);
    let agent = start(&one.lab, &["--all-netns", "--seed", "--states"]);
    assert_open(&agent, [(&one, 3, 3), (&two, 7, 7)]);
    for stream in &mut streams {
        exchange(stream).expect("every request is answered");
    }
    let losses = summary(agent).total_losses();
    assert_eq!(losses.expect("they are shown"), [""; 0]);
}

/// Fails unless each director's server has so many open connections, and records made at the start.
#[track_caller]
fn assert_open(agent: &Agent, expected: [(&Twin, u64, u64); 2]) {
    let report = agent.await_report("a window", |_| true);
    let report = report.expect("there is one");
    for (twin, connections, seeded) in expected {
        let service = twin.row_in(&report).expect("the service is shown");
        let server = service.server(VIP.server_address(1));
        let server = server.expect("the server is shown");
        assert_total(server, "preexisting", seeded);
        assert_total(server, "record_made", seeded);
        let open = [("established".to_owned(), connections)].into();
        assert_eq!(server.tcp_states(), Some(open));
    }
}

#[cfg_attr(feature = "vm", test)]
fn no_namespace_is_kept_alive() {
    let one = Twin::new("one-");
    let other = Netns::new("left").expect("the namespace is made");
    let end = |netns, name: &str, host| End {
        netns,
        name: name.to_owned(),
        index: 90,
        mac: [2, 0, 0, 0, 9, host],
        addresses: Vec::new(),
    };
    let near = end(one.lab.director(), "to-left", 1);
    link::connect(&near, &end(&other, "from-left", 2)).expect("they are joined");
    let agent = Agent::start(one.lab.director(), &["-i", "1h", "--all-netns"]);
    let _agent = agent.expect("the agent starts");
    let has_link = || -> Result<bool> {
        let interfaces = one.lab.director().proc_net("dev")?;
        Ok(interfaces.contains("to-left"))
    };
    assert!(has_link().expect("interfaces are listed"));
    drop(other);
    wait::until("the end of a namespace", wait::PATIENCE, || {
        Ok((!has_link()?).then_some(()))
    })
    .expect("it ends while the agent runs");
}

#[cfg_attr(feature = "vm", test)]
fn what_is_not_permitted_is_said() {
    let (one, two) = (Twin::new("one-"), Twin::new("two-"));
    let run = |capabilities| {
        let arguments = ["top", "--all-netns", "-i", "200ms", "--once", "-o", "json"];
        let rights = Rights::NobodyWith(capabilities);
        agent::run(one.lab.director(), rights, &arguments).expect("it runs")
    };
    let few = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::NET_ADMIN;
    let refused = run(few);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert_one_line(&refused.stderr, "CAP_SYS_ADMIN");

    let named = run(CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN);
    assert!(named.status.success(), "{named:?}");
    assert_one_line(&named.stderr, "CAP_SYS_PTRACE");
    let report = named.summary().expect("a window is printed");
    for twin in [&one, &two] {
        twin.row_in(&report).expect("it has a name");
    }
}

fn start(lab: &Lab, arguments: &[&str]) -> Agent {
    let arguments = [&["-i", "500ms"], arguments].concat();
    Agent::start(lab.director(), &arguments).expect("the agent starts")
}

#[track_caller]
fn assert_coverage(report: &Report, packets: u64) {
    let expected = Coverage {
        hits: packets,
        packets,
    };
    assert_eq!(report.total_coverage().expect("it is stated"), expected);
}
