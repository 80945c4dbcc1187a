//! Two hundred real servers that are deleted, added again and edited while clients connect: each
//! connection is counted once, for the server whose application has accepted it.
//!
//! The number of changes is fixed and the clients go on until they are made, so that the test
//! takes as many seconds as the machine needs for them and not a minute on each.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs_observer::model::id::ForwardingMethod;
use ipvs_observer_tests::{
    agent::Agent,
    director::Lab,
    farm::{Farm, FarmService},
    ipvs_admin,
    report::{Report, Row},
    traffic, wait,
};
use rustix::net::sockopt::set_socket_linger;

use crate::fixture::{await_no_connection, not_run};

const SERVICES: [(FarmService, &str); 2] = [(FarmService(80), "wrr"), (FarmService(81), "wlc")];
/// Real servers of each service that are in the table at a time.
const SERVERS: u16 = 100;
const CLIENTS_OF_A_SERVICE: usize = 1;
const ROUNDS: u16 = 4;
/// Changes of each service in each round.
const EDITED: u16 = 20;
const INTERRUPTED: u16 = 10;
const RETIRED: u16 = 10;
const METHOD: ForwardingMethod = ForwardingMethod::Masquerade;

/// Who connects to one service until told to end.
#[derive(Debug)]
struct Client {
    service: FarmService,
    sessions: AtomicU64,
    has_ended: AtomicBool,
}

#[cfg_attr(feature = "vm", test)]
fn no_connection_is_lost_or_given_to_another_server_while_the_table_changes() {
    let farm = Farm::new(&SERVICES.map(|(service, _)| service)).expect("the farm is built");
    let lab = farm.lab();
    for (service, scheduler) in SERVICES {
        lab.director()
            .run(|| ipvs_admin::add_service(&service.id(), scheduler))
            .expect("the service is added");
        farm.add_servers(service, 1..=SERVERS)
            .expect("the servers are added");
    }
    let agent = Agent::start(
        lab.director(),
        &["-i", "500ms", "--measure", "handshake,first_byte,duration"],
    )
    .expect("the agent starts");
    let clients = SERVICES.map(|(service, _)| [(); CLIENTS_OF_A_SERVICE].map(|()| client(service)));
    let clients = clients.as_flattened();
    let servers = under_load(lab, clients, || churn(&farm, &agent, clients))
        .expect("the table changes under load");
    lab.quiesce().expect("the director becomes idle");

    for (service, _) in SERVICES {
        let left = servers.in_table();
        farm.retire_servers(service, &left)
            .expect("the servers are removed");
    }
    await_no_connection(lab);
    agent
        .await_large_report("all records and slots to come back", |report| {
            let (records, slots) = memory(report);
            // The host and the two services have one each; of an end that no program has seen
            // the record stays until another connection has its address.
            records <= not_run(report) && slots <= 1 + 2 + records
        })
        .expect("nothing leaks");
    // What has gone is not in the summary.
    for (service, _) in SERVICES {
        farm.add_servers(service, 1..=servers.newest)
            .expect("the servers are added again");
    }
    let summary = agent.stop().expect("the agent ends").large_summary();
    let summary = summary.expect("the run is summed up");
    let losses = summary.total_losses().expect("they are shown");
    let others = losses.iter().filter(|loss| !loss.starts_with("stale:"));
    assert_eq!(others.collect::<Vec<_>>(), [] as [&str; 0]);
    for (service, _) in SERVICES {
        let opened = clients.iter().filter(|client| client.service == service);
        let opened = opened.map(Client::sessions).sum();
        check(&farm, &summary, service, servers.newest, opened)
            .expect("each connection is counted once");
    }
}

/// The servers of each service.
#[derive(Clone, Copy, Debug)]
struct Servers {
    /// Those from this one on are in the table.
    oldest: u16,
    newest: u16,
}

impl Servers {
    fn in_table(self) -> Vec<u16> {
        (self.oldest..=self.newest).collect()
    }

    /// So many of them, others in each round.
    fn some(self, count: u16, round: u16) -> impl Iterator<Item = u16> {
        let all = self.newest - self.oldest + 1;
        (0..count).map(move |index| self.oldest + (round * 37 + index * 7) % all)
    }
}

fn churn(farm: &Farm, agent: &Agent, clients: &[Client]) -> Result<Servers> {
    let mut servers = Servers {
        oldest: 1,
        newest: SERVERS,
    };
    for round in 0..ROUNDS {
        for (service, _) in SERVICES {
            farm.lab().director().run(|| {
                edit(service, servers, round)?;
                interrupt(service, servers, round)
            })?;
        }
        servers = replace(farm, agent, clients, servers, round)?;
    }
    Ok(servers)
}

/// Weights, some of them 0, and limits, some of which are reached.
fn edit(service: FarmService, servers: Servers, round: u16) -> Result<()> {
    for (number, index) in servers.some(EDITED, round).zip(0_u32..) {
        let destination = service.destination(number);
        let limit = if index % 3 == 0 { 20 } else { 0 };
        ipvs_admin::edit_destination(&service.id(), &destination, METHOD, index % 4, limit)?;
    }
    Ok(())
}

/// Servers that are gone for a moment, in which their connections wait.
fn interrupt(service: FarmService, servers: Servers, round: u16) -> Result<()> {
    let numbers: Vec<_> = servers.some(INTERRUPTED, round + 1).collect();
    for &number in &numbers {
        ipvs_admin::delete_destination(&service.id(), &service.destination(number))?;
    }
    for &number in &numbers {
        ipvs_admin::add_destination(&service.id(), &service.destination(number), METHOD, 2)?;
    }
    Ok(())
}

/// Takes the oldest servers out of service, when their clients have ended, with all that IPVS
/// still keeps of them. In every other round they come again before the agent has missed them,
/// else others take their slots.
fn replace(
    farm: &Farm,
    agent: &Agent,
    clients: &[Client],
    servers: Servers,
    round: u16,
) -> Result<Servers> {
    let retired: Vec<_> = (servers.oldest..).take(RETIRED.into()).collect();
    for (service, _) in SERVICES {
        farm.lab().director().run(|| {
            retired.iter().try_for_each(|&number| {
                let destination = service.destination(number);
                ipvs_admin::edit_destination(&service.id(), &destination, METHOD, 0, 0)
            })
        })?;
    }
    await_next_session(clients)?;
    for (service, _) in SERVICES {
        farm.retire_servers(service, &retired)?;
    }
    if round.is_multiple_of(2) {
        for (service, _) in SERVICES {
            farm.add_servers(service, retired.iter().copied())?;
        }
        return Ok(servers);
    }
    // In the first one they are shown as gone, from the third on others can have their slots.
    agent.await_intervals("the agent to miss the servers", 2)?;
    let added = servers.newest + 1..=servers.newest + RETIRED;
    for (service, _) in SERVICES {
        farm.add_servers(service, added.clone())?;
    }
    Ok(Servers {
        oldest: servers.oldest + RETIRED,
        newest: servers.newest + RETIRED,
    })
}

/// Until each client has ended the session that it is in.
fn await_next_session(clients: &[Client]) -> Result<()> {
    let before: Vec<_> = clients.iter().map(Client::sessions).collect();
    wait::until("the clients' next sessions", wait::PATIENCE, || {
        let mut clients = clients.iter().zip(&before);
        let have_ended = clients.all(|(client, &before)| {
            client.sessions() > before || client.has_ended.load(Ordering::SeqCst)
        });
        Ok(have_ended.then_some(()))
    })
}

fn client(service: FarmService) -> Client {
    Client {
        service,
        sessions: AtomicU64::new(0),
        has_ended: AtomicBool::new(false),
    }
}

impl Client {
    fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::SeqCst)
    }

    /// Whole sessions, of which every fourth ends by a reset, so that IPVS soon has its
    /// `ip_vs_conn` back.
    fn run(&self, lab: &Lab, is_over: &AtomicBool) -> Result<()> {
        lab.client().enter()?;
        while !is_over.load(Ordering::SeqCst) {
            let session = self.sessions();
            let context = || format!("in session {session} of {}", self.service.name());
            let ended = if session % 4 == 3 {
                reset(self.service.target())
            } else {
                traffic::connect_once(self.service.target(), 1)
            };
            ended.with_context(context)?;
            self.sessions.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }
}

fn reset(target: SocketAddr) -> Result<()> {
    let mut connection = traffic::open(target)?;
    traffic::exchange(&mut connection)?;
    set_socket_linger(&connection, Some(Duration::ZERO))?;
    Ok(())
}

/// Does `work` while all clients connect; they end with it, however it ends.
fn under_load<T>(lab: &Lab, clients: &[Client], work: impl FnOnce() -> Result<T>) -> Result<T> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let run = |client: &Client| {
            let ended = client.run(lab, &is_over);
            client.has_ended.store(true, Ordering::SeqCst);
            ended
        };
        let threads: Vec<_> = clients
            .iter()
            .map(|client| scope.spawn(move || run(client)))
            .collect();
        let done = work();
        is_over.store(true, Ordering::SeqCst);
        for thread in threads {
            let ended = thread.join();
            ended.map_err(|_panic| anyhow!("a client has panicked"))??;
        }
        done
    })
}

/// Records and slots in use.
fn memory(report: &Report) -> (u64, u64) {
    let used = |name| report.memory(name).expect("it is shown");
    (used("records_used"), used("slots_used"))
}

/// Fails unless each counter that a session raises once was raised once for each, for the server
/// that had it, but for what the kernel says it has not shown.
fn check(
    farm: &Farm,
    summary: &Report,
    service: FarmService,
    newest: u16,
    opened: u64,
) -> Result<()> {
    let counted: [(&str, Counted); 5] = [
        ("scheduled", |row| row.total("scheduled")),
        ("established", |row| row.total("established")),
        ("handshake", |row| Ok(row.total_latency("handshake")?.count)),
        ("first_byte", |row| {
            Ok(row.total_latency("first_byte")?.count)
        }),
        ("duration", |row| Ok(row.total_latency("duration")?.count)),
    ];
    let not_shown = not_run(summary);
    let row = summary.service(&service.name())?;
    let accepted = farm.accepted();
    for (name, count) in counted {
        let (mut all, mut all_accepted) = (0, 0);
        for number in 1..=newest {
            let server = service.server(number);
            let accepted = accepted.get(&server).copied().unwrap_or_default();
            let found = count(row.server(server.ip())?)?;
            ensure!(
                found <= accepted,
                "{name}: {found} for {server}, which has accepted {accepted}"
            );
            all += found;
            all_accepted += accepted;
        }
        ensure!(
            all_accepted == opened,
            "{opened} opened, {all_accepted} accepted"
        );
        let of_service = count(row)?;
        ensure!(
            of_service == all,
            "{name}: {all} for servers, {of_service} in all"
        );
        ensure!(
            all + not_shown >= opened,
            "{name}: {all} of {opened}, and {not_shown} not shown"
        );
    }
    Ok(())
}

/// What is counted of a row.
type Counted = fn(Row<'_>) -> Result<u64>;
