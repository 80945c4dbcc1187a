//! The section of the table: what it takes to list tables of many sizes, for ours, for ipvsadm,
//! for `node_exporter`, and at least.
//!
//! Every counter of these tables is 0, and the kernel's estimator rests: it would take turns
//! with whatever is measured.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
};

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId};

use super::{run::Runs, tell, tell_versions};
use crate::{
    agent,
    ipvs_admin::{self, bulk::Bulk},
    netns::Netns,
    peers::{HttpServer, IPVSADM, NODE_EXPORTER},
    wait,
};

/// A table, and how often it is listed.
struct Table {
    services: u32,
    /// Of each service.
    servers: u32,
    repeats: u32,
    quick_repeats: u32,
    /// Whether the peers list it too.
    has_peers: bool,
}

/// The smaller a table, the fewer ticks find a program that lists it, and the more runs it takes
/// to tell how long it is in user mode. The last two tell how lists grow.
const TABLES: [Table; 5] = [
    Table {
        services: 100,
        servers: 5,
        repeats: 20,
        quick_repeats: 10,
        has_peers: true,
    },
    Table {
        services: 1_000,
        servers: 5,
        repeats: 10,
        quick_repeats: 3,
        has_peers: true,
    },
    Table {
        services: 10_000,
        servers: 5,
        repeats: 5,
        quick_repeats: 2,
        has_peers: true,
    },
    Table {
        services: 10_000,
        servers: 2,
        repeats: 3,
        quick_repeats: 1,
        has_peers: false,
    },
    Table {
        services: 50_000,
        servers: 2,
        repeats: 3,
        quick_repeats: 1,
        has_peers: false,
    },
];
/// A scrape of `node_exporter` takes four times as long as anything else.
const SCRAPE_RARITY: u32 = 5;
/// Services and real servers have addresses that count up from here.
const FIRST_VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const FIRST_SERVER: Ipv4Addr = Ipv4Addr::new(172, 16, 0, 1);

/// What lists a table, by the name that results carry.
const OURS: (&str, &[&str]) = ("list --stats", &[agent::BINARY, "list", "-n", "--stats"]);
const FLOOR: (&str, &[&str]) = ("floor", &["/bin/lab", "bench", "walk"]);
const PEER: (&str, &[&str]) = ("ipvsadm -Ln --stats", &[IPVSADM, "-Ln", "--stats"]);

pub(super) fn measure(is_quick: bool) -> Result<()> {
    tell_versions(&[agent::BINARY, IPVSADM, NODE_EXPORTER])?;
    let netns = Netns::new("bench")?;
    netns.set_sysctl("net/ipv4/vs/run_estimation", "0")?;
    for table in &TABLES {
        netns.run(|| fill(table))?;
        let case = format!("{} x {}", table.services, table.servers);
        let repeats = if is_quick {
            table.quick_repeats
        } else {
            table.repeats
        };
        let peer = table.has_peers.then_some(PEER);
        for (subject, command) in [OURS, FLOOR].into_iter().chain(peer) {
            Runs::of(&netns, command, repeats)?.tell(&case, subject)?;
        }
        if table.has_peers {
            scrape(&netns, &case, repeats.div_ceil(SCRAPE_RARITY))?;
        }
        netns.run(ipvs_admin::flush)?;
    }
    Ok(())
}

fn fill(table: &Table) -> Result<()> {
    let mut bulk = Bulk::open()?;
    for service in 0..table.services {
        let id = ServiceId::Address {
            protocol: Protocol::TCP,
            address: address(FIRST_VIP, service),
            port: 80,
        };
        bulk.add_service(&id, "rr")?;
        for server in 0..table.servers {
            let destination = DestinationId {
                address: address(FIRST_SERVER, service * table.servers + server),
                port: 8080,
            };
            bulk.add_destination(&id, &destination, ForwardingMethod::Masquerade)?;
        }
    }
    bulk.finish()
}

fn address(first: Ipv4Addr, index: u32) -> IpAddr {
    Ipv4Addr::from_bits(first.to_bits() + index).into()
}

/// `node_exporter` is a process that stays; what counts is one scrape of it.
fn scrape(netns: &Netns, case: &str, scrapes: u32) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9100));
    let listen = format!("--web.listen-address={address}");
    let arguments = [
        "--collector.disable-defaults",
        "--collector.ipvs",
        "--web.disable-exporter-metrics",
        "--log.level=error",
        &listen,
    ];
    let _exporter = HttpServer::start(netns, NODE_EXPORTER, &arguments, address.port())?;
    let mut total_ns = Vec::new();
    for _ in 0..scrapes {
        wait::idle_cpu()?;
        let (taken_ns, length) = netns.run(|| {
            let start_ns = wait::monotonic_ns();
            let mut stream = TcpStream::connect(address).context("cannot connect")?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
            let length = io::copy(&mut stream, &mut io::sink()).context("cannot read metrics")?;
            Ok((wait::monotonic_ns() - start_ns, length))
        })?;
        // A metric that there is for each server takes some hundred bytes.
        ensure!(length > 10_000, "node_exporter does not know the table");
        total_ns.push(taken_ns);
    }
    tell(case, "node_exporter", "total_ns", &total_ns)
}
