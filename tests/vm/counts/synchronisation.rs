//! Connections that another director made are nobody's choice here: those that the
//! daemon of synchronisation brings are never counted as scheduled.

use anyhow::Result;
use ipvs_observer_tests::{
    agent::Agent,
    application::Transport,
    director::Lab,
    forwarding::{Forwarding, Path},
    netns::Netns,
    report::Report,
    services::Vip,
    traffic, wait,
};

use crate::fixture::{Balanced, MEASURES, assert_latency_count, assert_total, summary};

const SERVERS: u8 = 2;
const EACH: u32 = 3;
const CONNECTIONS: u32 = EACH * SERVERS as u32;

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_of_another_director_are_not_scheduled_here() {
    connections_of_another_director_are_not_scheduled_here(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_of_another_director_are_not_scheduled_here() {
    connections_of_another_director_are_not_scheduled_here(Vip::V6);
}

fn connections_of_another_director_are_not_scheduled_here(vip: Vip) {
    let path = path(vip);
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.balance(path).expect("the service is added");
    let backup = lab.add_backup(path).expect("the directors are joined");
    let [master_agent, backup_agent] = [lab.director(), &backup].map(agent);
    lab.exchange(path, EACH, 1)
        .expect("each server answers its part");
    await_connections(&backup);
    for (agent, expected) in [(master_agent, CONNECTIONS), (backup_agent, 0)] {
        let summary = summary(agent);
        assert_counted(&summary, path, u64::from(expected), 0);
        let service = summary
            .service(&path.id().to_string())
            .expect("the service is shown");
        for measure in MEASURES {
            assert_latency_count(service, measure, u64::from(expected));
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_that_were_taken_over_are_older_than_their_first_packet() {
    connections_that_were_taken_over_are_older_than_their_first_packet(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_that_were_taken_over_are_older_than_their_first_packet() {
    connections_that_were_taken_over_are_older_than_their_first_packet(Vip::V6);
}

/// What the agent sees of them is their end only, so that nothing can be timed.
fn connections_that_were_taken_over_are_older_than_their_first_packet(vip: Vip) {
    let balanced = Balanced::new(vip, SERVERS);
    let lab = &balanced.lab;
    let path = path(vip);
    let backup = lab.add_backup(path).expect("the directors are joined");
    let agent = agent(&backup);
    let open = lab
        .client()
        .run(|| {
            let connect = || {
                let mut stream = traffic::open(vip.address())?;
                // IPVS tells of a connection with the third packet from its client.
                traffic::exchange(&mut stream)?;
                Ok(stream)
            };
            (0..CONNECTIONS)
                .map(|_| connect())
                .collect::<Result<Vec<_>>>()
        })
        .expect("every connection is answered");
    await_connections(&backup);
    lab.take_over().expect("the route is added");
    for mut stream in open {
        traffic::exchange(&mut stream).expect("the backup goes on");
        traffic::close(stream).expect("it is closed");
    }
    lab.quiesce().expect("the director becomes idle");
    let summary = summary(agent);
    assert_counted(&summary, path, 0, u64::from(CONNECTIONS));
    let service = summary
        .service(&path.id().to_string())
        .expect("the service is shown");
    for measure in MEASURES {
        assert_latency_count(service, measure, 0);
    }
}

const fn path(vip: Vip) -> Path {
    Path {
        vip,
        transport: Transport::Tcp,
        forwarding: Forwarding::Masquerade,
    }
}

fn agent(director: &Netns) -> Agent {
    Agent::start(director, &["-i", "1s"]).expect("the agent starts")
}

fn await_connections(backup: &Netns) {
    wait::until("the backup to have all connections", wait::PATIENCE, || {
        let connections = backup.proc_net("ip_vs_conn_sync")?;
        let synced = connections.lines().filter(|line| line.contains("SYNC"));
        Ok((synced.count() == CONNECTIONS as usize).then_some(()))
    })
    .expect("the directors are in step");
}

/// Fails unless so many connections were scheduled and established, and so many are older
/// than the agent or its director.
#[track_caller]
fn assert_counted(summary: &Report, path: Path, scheduled: u64, preexisting: u64) {
    let service = summary
        .service(&path.id().to_string())
        .expect("the service is shown");
    for (counter, expected) in [
        ("scheduled", scheduled),
        ("established", scheduled),
        ("preexisting", preexisting),
        ("unanswered", 0),
        ("dropped", 0),
    ] {
        assert_total(service, counter, expected);
    }
    assert_eq!(
        summary.total_losses().expect("the losses are stated"),
        Vec::<String>::new()
    );
}
