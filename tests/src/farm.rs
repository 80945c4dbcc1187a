//! Hundreds of real servers in one namespace: each address of a network of its own is one, and
//! an application that listens at all of them keeps the tally of each.
//!
//! The lab around it is `director`'s. Which of the addresses are in the table is said by whoever
//! changes it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use ipvs_observer::model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId};

use crate::{
    director::{Lab, VIP_V4, server_v4},
    ipvs_admin::{self, bulk::Bulk},
    link::{self, Cidr},
    traffic::Server,
    wait,
};

/// The network of all real servers.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 20, 0, 0);
const PREFIX_LEN: u8 = 16;

/// A lab whose one namespace of real servers has as many as are wanted.
#[derive(Debug)]
pub struct Farm {
    /// Stopped before the namespaces go.
    servers: Vec<Server>,
    lab: Lab,
}

/// A port of the VIP, and its service: real servers have the same port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FarmService(pub u16);

impl Farm {
    /// The applications of these services, which have nothing in the table yet.
    pub fn new(services: &[FarmService]) -> Result<Self> {
        let lab = Lab::new(1)?;
        // Of the loopback interface the whole network is local, and not the address alone.
        let network = Cidr {
            address: IpAddr::V4(NETWORK),
            prefix_len: PREFIX_LEN,
        };
        let first = Cidr {
            address: server_address(1),
            ..network
        };
        link::add_address(lab.server(1), link::LOOPBACK, first)?;
        link::add_route(lab.director(), network, server_v4(1))?;
        let start = |service: &FarmService| {
            let all = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), service.0);
            Server::start(lab.server(1), all, Duration::ZERO)
        };
        Ok(Self {
            servers: services.iter().map(start).collect::<Result<_>>()?,
            lab,
        })
    }

    /// The namespaces.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// How many connections each real server has accepted, as its application counts them.
    pub fn accepted(&self) -> BTreeMap<SocketAddr, u64> {
        let tallies = self.servers.iter().flat_map(Server::accepted);
        tallies.collect()
    }

    /// Adds these real servers, of weight 1, to `service`.
    pub fn add_servers(
        &self,
        service: FarmService,
        numbers: impl IntoIterator<Item = u16> + Send,
    ) -> Result<()> {
        self.lab.director().run(|| {
            let mut bulk = Bulk::open()?;
            for number in numbers {
                let destination = service.destination(number);
                let method = ForwardingMethod::Masquerade;
                bulk.add_destination(&service.id(), &destination, method)?;
            }
            bulk.finish()
        })
    }

    /// Takes these real servers out of `service`, and waits until IPVS has ended their
    /// connections.
    pub fn retire_servers(&self, service: FarmService, numbers: &[u16]) -> Result<()> {
        let director = self.lab.director();
        director.set_sysctl("net/ipv4/vs/expire_nodest_conn", "1")?;
        director.run(|| {
            numbers.iter().try_for_each(|&number| {
                ipvs_admin::delete_destination(&service.id(), &service.destination(number))
            })
        })?;
        let addresses: Vec<_> = numbers
            .iter()
            .map(|&number| hexadecimal(service.server(number)))
            .collect();
        wait::until(
            "the connections of removed servers to end",
            wait::PATIENCE,
            || {
                let connections = director.proc_net("ip_vs_conn")?;
                let left = addresses
                    .iter()
                    .any(|address| connections.contains(address));
                Ok((!left).then_some(()))
            },
        )?;
        director.set_sysctl("net/ipv4/vs/expire_nodest_conn", "0")
    }
}

impl FarmService {
    /// Its identity.
    pub const fn id(self) -> ServiceId {
        ServiceId::Address {
            protocol: Protocol::TCP,
            address: VIP_V4,
            port: self.0,
        }
    }

    /// Its name where the agent shows it.
    pub fn name(self) -> String {
        self.id().to_string()
    }

    /// Where its clients connect to.
    pub const fn target(self) -> SocketAddr {
        SocketAddr::new(VIP_V4, self.0)
    }

    /// Its real server `number`, counted from 1.
    pub fn server(self, number: u16) -> SocketAddr {
        SocketAddr::new(server_address(number), self.0)
    }

    /// The same as IPVS knows it.
    pub fn destination(self, number: u16) -> DestinationId {
        DestinationId {
            address: server_address(number),
            port: self.0,
        }
    }
}

/// Fails unless each of the real servers of `service` has the number of connections that its application counts, by what
/// `counted` says of it, and gives their sum.
pub fn check_tally(
    accepted: &BTreeMap<SocketAddr, u64>,
    service: FarmService,
    numbers: impl IntoIterator<Item = u16>,
    counted: impl Fn(SocketAddr) -> Result<u64>,
) -> Result<u64> {
    let mut sum = 0;
    for number in numbers {
        let server = service.server(number);
        let expected = accepted.get(&server).copied().unwrap_or_default();
        let found = counted(server)?;
        ensure!(
            found == expected,
            "{server} has accepted {expected} connections, of which {found} are counted"
        );
        sum += found;
    }
    Ok(sum)
}

fn server_address(number: u16) -> IpAddr {
    /// None of them is the address of the network.
    const FIRST: u32 = 16;
    let network = u32::from(NETWORK);
    IpAddr::V4(Ipv4Addr::from(network + FIRST + u32::from(number)))
}

/// An endpoint as `/proc/net/ip_vs_conn` has it.
fn hexadecimal(endpoint: SocketAddr) -> String {
    match endpoint.ip() {
        IpAddr::V4(address) => {
            format!("{:08X} {:04X}", u32::from(address), endpoint.port())
        }
        IpAddr::V6(address) => format!("[{address}] {:04X}", endpoint.port()),
    }
}
