//! The section of the connections: what it takes to list few and many of them.
//!
//! They come as those of a master come to its backup: in datagrams of the synchronisation
//! protocol, which makes a hundred thousand of them in some thousand packets.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId};

use super::{run::Runs, tell_versions};
use crate::{
    agent,
    ipvs_admin::bulk::Bulk,
    netns::Netns,
    peers::{self, IPVSADM, NODE_EXPORTER},
    wait,
};

const COUNTS: [u32; 2] = [1_000, 100_000];
/// The connections go to these in turn.
const SERVICES: u8 = 10;
const SERVERS: u8 = 10;

/// What lists connections, by the name that results carry.
const LISTS: [(&str, &[&str]); 3] = [
    ("list -c", &[agent::BINARY, "list", "-c", "-n"]),
    (
        "floor",
        &["/bin/lab", "bench", "read", "/proc/net/ip_vs_conn"],
    ),
    ("ipvsadm -Lnc", &[IPVSADM, "-Lnc"]),
];

pub(super) fn measure(is_quick: bool) -> Result<()> {
    tell_versions(&[agent::BINARY, IPVSADM, NODE_EXPORTER])?;
    let netns = Netns::new("bench")?;
    netns.set_sysctl("net/ipv4/vs/run_estimation", "0")?;
    netns.run(fill)?;
    start_backup(&netns)?;
    let mut made = 0;
    for count in COUNTS {
        netns.run(|| send_connections(made, count))?;
        made = count;
        let listed = netns.proc_net("ip_vs_conn")?.lines().count();
        ensure!(
            listed == 1 + usize::try_from(count)?,
            "{listed} lines list {count} connections"
        );
        let repeats = if is_quick { 2 } else { 5 };
        for (subject, command) in LISTS {
            let runs = Runs::of(&netns, command, repeats)?;
            runs.tell(&format!("{count} connections"), subject)?;
        }
    }
    Ok(())
}

fn fill() -> Result<()> {
    let mut bulk = Bulk::open()?;
    for service in 0..SERVICES {
        let id = ServiceId::Address {
            protocol: Protocol::TCP,
            address: vip(service).into(),
            port: VIP_PORT,
        };
        bulk.add_service(&id, "rr")?;
        for server in 0..SERVERS {
            let destination = DestinationId {
                address: real_server(server).into(),
                port: SERVER_PORT,
            };
            bulk.add_destination(&id, &destination, ForwardingMethod::Masquerade)?;
        }
    }
    bulk.finish()
}

const VIP_PORT: u16 = 80;
const SERVER_PORT: u16 = 8080;

const fn vip(service: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 1 + service)
}

const fn real_server(server: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 16, 0, 1 + server)
}

/// Where masters send and backups listen, unless told otherwise.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 81), 8848);
/// What the backup is told to listen to.
const SYNC_ID: u8 = 7;
/// Connections in a datagram, which has to fit an Ethernet frame.
const DATAGRAM: u32 = 38;
/// Datagrams that the backup's socket has room for.
const BURST: u32 = 64;

fn start_backup(netns: &Netns) -> Result<()> {
    let sync_id = SYNC_ID.to_string();
    let arguments = [
        "--start-daemon",
        "backup",
        "--mcast-interface",
        "lo",
        "--syncid",
        &sync_id,
    ];
    peers::output(netns, IPVSADM, &arguments, "")?;
    Ok(())
}

/// Tells the backup of connections `first` to `end`.
fn send_connections(first: u32, end: u32) -> Result<()> {
    // The address chooses the interface, and the group is there once: on the interface itself.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot open a socket")?;
    socket
        .set_multicast_loop_v4(false)
        .context("cannot set up a socket")?;
    let mut datagrams = 0;
    let mut next = first;
    while next < end {
        let count = DATAGRAM.min(end - next);
        socket
            .send_to(&datagram(next, count)?, GROUP)
            .context("cannot send connections to the backup")?;
        next += count;
        datagrams += 1;
        if datagrams % BURST == 0 {
            wait::idle_cpu()?;
        }
    }
    wait::idle_cpu()
}

/// `struct ip_vs_sync_mesg` with `count` times `struct ip_vs_sync_v4`, all in network order
/// (`net/netfilter/ipvs/ip_vs_sync.c`, Linux 6.12).
fn datagram(first: u32, count: u32) -> Result<Vec<u8>> {
    const HEADER_BYTES: u32 = 8;
    const ENTRY_BYTES: u16 = 36;
    const VERSION: u8 = 1;
    let size = u16::try_from(HEADER_BYTES + count * u32::from(ENTRY_BYTES))?;
    let mut bytes = vec![0, SYNC_ID];
    bytes.extend(size.to_be_bytes());
    bytes.extend([u8::try_from(count)?, VERSION, 0, 0]);
    for index in first..first + count {
        /// `IP_VS_TCP_S_ESTABLISHED`
        const ESTABLISHED: u16 = 1;
        const TCP: u8 = 6;
        const IPV4: u8 = 0;
        /// Longer than anything is measured.
        const TIMEOUT_S: u32 = 86_400;
        let [_, _, _, digit] = (index % 100).to_be_bytes();
        let client = Ipv4Addr::from_bits(Ipv4Addr::new(192, 168, 0, 0).to_bits() + index % 50_000);
        let client_port = u16::try_from(1_024 + index / 50_000)?;
        // Flags of 0 stand for Masquerade.
        let (flags, mark) = (0_u32, 0_u32);
        bytes.extend([IPV4, TCP]);
        bytes.extend(ENTRY_BYTES.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        for number in [ESTABLISHED, client_port, VIP_PORT, SERVER_PORT] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(mark.to_be_bytes());
        bytes.extend(TIMEOUT_S.to_be_bytes());
        for address in [client, vip(digit % SERVICES), real_server(digit / SERVICES)] {
            bytes.extend(address.octets());
        }
    }
    Ok(bytes)
}
