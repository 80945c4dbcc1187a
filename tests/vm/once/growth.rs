//! A table that grows tenfold while the agent looks: memory follows it, as far as it may.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result};
use ipvs_observer_tests::{
    agent::Agent,
    farm::{Farm, FarmService, check_tally},
    ipvs_admin,
    report::{Report, Row},
    traffic,
};

use crate::fixture::{assert_total, attached_probes};

const SERVICE: FarmService = FarmService(80);
const BEFORE: u16 = 100;
const AFTER: u16 = 10 * BEFORE;

#[cfg_attr(feature = "vm", test)]
fn memory_follows_a_table_that_grows_tenfold_and_nothing_is_loaded_again() {
    let farm = farm(BEFORE);
    let agent = agent(&farm, &[]);
    // As many as there are servers in turn: one for each.
    connect(&farm, BEFORE);
    let small = await_established(&agent, BEFORE.into());
    let before = (attached_probes(), programs(&agent));
    farm.add_servers(SERVICE, BEFORE + 1..=AFTER)
        .expect("the table grows");
    let large = await_slots(&agent, AFTER);
    connect(&farm, AFTER);
    await_established(&agent, u64::from(BEFORE) + u64::from(AFTER));
    assert_eq!((attached_probes(), programs(&agent)), before);
    let [small_slots, large_slots] = [&small, &large].map(|report| memory(report, "slots"));
    let [small_bytes, large_bytes] = [&small, &large].map(|report| memory(report, "bytes"));
    assert!(small_slots < 2 * u64::from(BEFORE), "{small_slots} slots");
    assert!(large_slots < 2 * u64::from(AFTER), "{large_slots} slots");
    // What a slot takes does not change, and nothing else grows.
    let slot_bytes = (large_bytes - small_bytes) / (large_slots - small_slots);
    assert_eq!(
        large_bytes - small_bytes,
        slot_bytes * (large_slots - small_slots)
    );
    assert!(slot_bytes * small_slots <= small_bytes);

    let summary = agent.stop().expect("the agent ends").large_summary();
    let summary = summary.expect("the run is summed up");
    assert_eq!(
        summary.total_losses().expect("they are shown"),
        [] as [&str; 0]
    );
    // Those, the service and the host.
    assert_eq!(memory(&summary, "slots_used"), u64::from(AFTER) + 2);
    let service = summary.service(&SERVICE.name()).expect("it is shown");
    assert_total(service, "established", (BEFORE + AFTER).into());
    let rows = rows(service);
    let established = |server| established(&rows, server);
    let sum = check_tally(&farm.accepted(), SERVICE, 1..=AFTER, established)
        .expect("each server has its own");
    assert_eq!(sum, u64::from(BEFORE) + u64::from(AFTER));
}

/// With so little memory the servers that come last have no slot of their own.
#[cfg_attr(feature = "vm", test)]
fn servers_beyond_the_memory_count_in_their_service() {
    const MEMORY: &str = "4M";
    let farm = farm(BEFORE);
    let agent = agent(
        &farm,
        &["--max-memory", MEMORY, "--max-connections", "10000"],
    );
    connect(&farm, BEFORE);
    let small = await_established(&agent, BEFORE.into());
    assert_eq!(losses(&small), [] as [&str; 0]);
    let slots = memory(&small, "max_slots");
    assert!(slots < AFTER.into(), "{slots} are enough for all");
    farm.add_servers(SERVICE, BEFORE + 1..=AFTER)
        .expect("the table grows");
    let large = await_slots(&agent, u16::try_from(slots).expect("there are few") - 1);
    assert_eq!(memory(&large, "slots"), slots);
    connect(&farm, AFTER);
    let all = u64::from(BEFORE) + u64::from(AFTER);
    await_established(&agent, all);

    let summary = agent.stop().expect("the agent ends").large_summary();
    let summary = summary.expect("the run is summed up");
    assert!(memory(&summary, "bytes") <= 4 << 20);
    assert_eq!(memory(&summary, "slots_used"), slots);
    // The service has one slot, and the host.
    let own = slots - 2;
    let without = u64::from(AFTER) - own;
    let losses = losses(&summary);
    let service = summary.service(&SERVICE.name()).expect("it is shown");
    for counter in ["scheduled", "established"] {
        assert_total(service, counter, all);
    }
    let handshakes = service.total_latency("handshake").expect("it is shown");
    assert_eq!(handshakes.count, all);
    let rows = rows(service);
    let accepted = farm.accepted();
    let mut with_own = 0;
    for number in 1..=AFTER {
        let server = SERVICE.server(number);
        match established(&rows, server).expect("it is shown") {
            0 => {}
            found => {
                assert_eq!(Some(&found), accepted.get(&server), "{server}");
                with_own += 1;
            }
        }
    }
    assert_eq!(with_own, own);
    assert!(
        summary.total_loss("servers_full").expect("it is shown") == without,
        "{losses:?}"
    );
}

fn farm(servers: u16) -> Farm {
    let farm = Farm::new(&[SERVICE]).expect("the farm is built");
    farm.lab()
        .director()
        .run(|| ipvs_admin::add_service(&SERVICE.id(), "rr"))
        .expect("the service is added");
    farm.add_servers(SERVICE, 1..=servers)
        .expect("the servers are added");
    farm
}

fn agent(farm: &Farm, arguments: &[&str]) -> Agent {
    let arguments = [&["-i", "1s", "--measure", "handshake"], arguments].concat();
    Agent::start(farm.lab().director(), &arguments).expect("the agent starts")
}

/// One session after another, as many as `sessions`.
fn connect(farm: &Farm, sessions: u16) {
    let target = SERVICE.target();
    traffic::sessions(farm.lab().client(), target, sessions.into(), 1)
        .expect("every session is answered");
    farm.lab().quiesce().expect("the director becomes idle");
}

fn await_established(agent: &Agent, expected: u64) -> Report {
    let established = |report: &Report| report.service(&SERVICE.name())?.total("established");
    agent
        .await_large_report("all connections to be counted", |report| {
            established(report).is_ok_and(|found| found == expected)
        })
        .expect("they are")
}

fn await_slots(agent: &Agent, servers: u16) -> Report {
    agent
        .await_large_report("the memory to grow", |report| {
            memory(report, "slots") > servers.into()
        })
        .expect("it follows the table")
}

fn memory(report: &Report, member: &str) -> u64 {
    report.memory(member).expect("it is shown")
}

fn losses(report: &Report) -> Vec<String> {
    report.total_losses().expect("they are shown")
}

/// The real servers by address: there are too many to look for each.
fn rows(service: Row<'_>) -> BTreeMap<IpAddr, Row<'_>> {
    let rows = service.servers().expect("they are shown");
    rows.map(|row| {
        let address = row.address().expect("it has one");
        (address.parse().expect("it is an address"), row)
    })
    .collect()
}

fn established(rows: &BTreeMap<IpAddr, Row<'_>>, server: SocketAddr) -> Result<u64> {
    let row = rows.get(&server.ip());
    row.with_context(|| format!("{server} is not shown"))?
        .total("established")
}

/// The programs that the agent holds, by their numbers.
fn programs(agent: &Agent) -> Vec<String> {
    let folder = format!("/proc/{}/fdinfo", agent.pid());
    let files = fs::read_dir(folder).expect("the agent's files are shown");
    let mut programs: Vec<_> = files
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .filter_map(|text| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix("prog_id:").map(str::to_owned))
        })
        .collect();
    programs.sort();
    assert_ne!(programs, [] as [&str; 0]);
    programs
}
