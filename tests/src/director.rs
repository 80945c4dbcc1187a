//! The lab: one client, one director and some real servers, each a network
//! namespace.
//!
//! ```text
//!   client ── 10.1.0.0/24 ── director ── 10.2.1.0/24 ── rs1
//!             fd00:1::/64    VIPs on lo  fd00:2:1::/64
//!                                      ── 10.2.2.0/24 ── rs2 …
//! ```
//!
//! The director is everybody's gateway, so that replies of a Masquerade service come
//! back through it. Each path is a link of its own: a delay on one moves one real
//! server or the client and nobody else. A real server can have a second way to the
//! client, which avoids the director: 10.3.n.0/24 and `fd00:3:n::/64`. IPVS itself is
//! configured by `ipvs_admin`, traffic is `traffic`'s.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    guest::modules,
    link::{self, Cidr, End},
    netns::Netns,
    proc_ipvs::{self, PacketCounts},
    wait,
};

/// The director's IPv4 service address.
pub const VIP_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
/// The director's IPv6 service address.
pub const VIP_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1));

/// The client's IPv4 address.
pub const CLIENT_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 1, 0, 2));
/// The client's IPv6 address.
pub const CLIENT_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 2));

/// The modules that a lab needs; the kernel asks for other schedulers by itself.
const MODULES: [&str; 4] = ["veth", "sch_netem", "ip_vs", "ip_vs_rr"];
/// The index of the one link that the client and each real server have.
const UPLINK: u32 = 2;
/// The index of the director's link to the client; the one to server n is n further.
const DIRECTOR_LINK: u32 = 10;
/// The index of the link on which a real server reaches the client itself.
const SHORTCUT: u32 = 3;
/// A port where nobody listens, to see whether packets come and go.
const CLOSED_PORT: u16 = 9;
/// How long without a packet makes a director idle.
const IDLE: Duration = Duration::from_millis(100);

/// A director with a client in front of it and real servers behind it.
#[derive(Debug)]
pub struct Lab {
    client: Netns,
    director: Netns,
    servers: Vec<Netns>,
}

impl Lab {
    /// Builds the namespaces and links and waits until every path carries packets.
    pub fn new(servers: u8) -> Result<Self> {
        Self::with_prefix("", servers)
    }

    /// The same with names that begin with `prefix`, for a second lab beside the first: all of its addresses are the same.
    pub fn with_prefix(prefix: &str, servers: u8) -> Result<Self> {
        let netns = |name: &str| Netns::new(&format!("{prefix}{name}"));
        for module in MODULES {
            modules::load(module)?;
        }
        let lab = Self {
            client: netns("client")?,
            director: netns("director")?,
            servers: (1..=servers)
                .map(|server| netns(&format!("rs{server}")))
                .collect::<Result<_>>()?,
        };
        lab.connect_client()?;
        for server in 1..=servers {
            lab.connect_server(server)?;
        }
        lab.configure_director()?;
        for server in 1..=servers {
            await_path(&lab.client, server_v4(server))?;
            await_path(&lab.client, server_v6(server))?;
        }
        Ok(lab)
    }

    /// The numbers of all real servers.
    pub fn servers(&self) -> impl Iterator<Item = u8> + use<> {
        (1..).take(self.servers.len())
    }

    /// Where connections come from.
    pub fn client(&self) -> &Netns {
        &self.client
    }

    /// Where IPVS runs.
    pub fn director(&self) -> &Netns {
        &self.director
    }

    /// Real server `server`, counted from 1.
    pub fn server(&self, server: u8) -> &Netns {
        &self.servers[usize::from(server) - 1]
    }

    /// Delays all that real server `server` sends, and nothing that it receives.
    pub fn delay_server(&self, server: u8, delay: Duration) -> Result<()> {
        link::delay_egress(self.server(server), UPLINK, delay)
    }

    /// Delays what real server `server` sends by its own way to the client.
    pub fn delay_shortcut(&self, server: u8, delay: Duration) -> Result<()> {
        link::delay_egress(self.server(server), SHORTCUT, delay)
    }

    /// Delays all that the client sends, and nothing that it receives.
    pub fn delay_client(&self, delay: Duration) -> Result<()> {
        link::delay_egress(&self.client, UPLINK, delay)
    }

    /// How many packets IPVS has counted in the director so far, as it comes.
    pub fn packets(&self) -> Result<PacketCounts> {
        proc_ipvs::packets_per_cpu(&self.director.proc_net("ip_vs_stats_percpu")?)
    }

    /// Waits until no packet passes IPVS any more, and says how many have.
    pub fn quiesce(&self) -> Result<PacketCounts> {
        let mut last = self.packets()?;
        let mut since_ns = wait::monotonic_ns();
        wait::until("the director to be idle", wait::PATIENCE, || {
            let packets = self.packets()?;
            if packets != last {
                last = packets;
                since_ns = wait::monotonic_ns();
            }
            let idle = Duration::from_nanos(wait::monotonic_ns() - since_ns);
            Ok((idle >= IDLE).then_some(packets))
        })
    }

    fn connect_client(&self) -> Result<()> {
        let near = End {
            netns: &self.director,
            name: "client".to_owned(),
            index: DIRECTOR_LINK,
            mac: mac(0, 1),
            addresses: client_net(1),
        };
        let far = End {
            netns: &self.client,
            name: "uplink".to_owned(),
            index: UPLINK,
            mac: mac(0, 2),
            addresses: client_net(2),
        };
        join(&near, &far)
    }

    fn connect_server(&self, server: u8) -> Result<()> {
        let near = End {
            netns: &self.director,
            name: format!("rs{server}"),
            index: DIRECTOR_LINK + u32::from(server),
            mac: mac(server, 1),
            addresses: server_net(server, 1),
        };
        let far = End {
            netns: self.server(server),
            name: "uplink".to_owned(),
            index: UPLINK,
            mac: mac(server, 2),
            addresses: server_net(server, 2),
        };
        join(&near, &far)
    }

    /// Lets real server `server` reach the client on a link of their own.
    pub(crate) fn add_shortcut(&self, server: u8) -> Result<()> {
        let near = End {
            netns: &self.client,
            name: format!("rs{server}"),
            index: DIRECTOR_LINK + u32::from(server),
            mac: mac(server, 3),
            addresses: shortcut_net(server, 1),
        };
        let far = End {
            netns: self.server(server),
            name: "shortcut".to_owned(),
            index: SHORTCUT,
            mac: mac(server, 4),
            addresses: shortcut_net(server, 2),
        };
        link::connect(&near, &far)?;
        for (client, gateway) in [CLIENT_V4, CLIENT_V6].into_iter().zip(&near.addresses) {
            link::add_route(far.netns, Cidr::host(client), gateway.address)?;
            await_path(far.netns, client)?;
        }
        Ok(())
    }

    /// Lets the director send packets for `address` to real server `server`, which answers
    /// by ICMP that it is not reached there.
    pub fn reject_behind(&self, server: u8, address: IpAddr) -> Result<()> {
        let gateway = match address {
            IpAddr::V4(_) => server_v4(server),
            IpAddr::V6(_) => server_v6(server),
        };
        let netns = self.server(server);
        link::allow_forwarding(netns)?;
        link::add_unreachable_route(netns, Cidr::host(address))?;
        link::add_route(&self.director, Cidr::host(address), gateway)
    }

    fn configure_director(&self) -> Result<()> {
        let director = &self.director;
        link::add_address(director, link::LOOPBACK, Cidr::host(VIP_V4))?;
        link::add_address(director, link::LOOPBACK, Cidr::host(VIP_V6))?;
        link::allow_forwarding(director)
    }
}

/// A link that was just set up may lose packets for a moment, and a lost SYN comes
/// again only a second later: no test may be the first to send one.
fn await_path(from: &Netns, to: IpAddr) -> Result<()> {
    let target = SocketAddr::new(to, CLOSED_PORT);
    from.run(|| {
        wait::until(&format!("a path to {to}"), wait::PATIENCE, || {
            let refused = match TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
                Ok(_connection) => bail!("somebody listens on {target}"),
                Err(error) => error.kind() == ErrorKind::ConnectionRefused,
            };
            Ok(refused.then_some(()))
        })
    })
}

/// The IPv4 address of real server `server`, counted from 1.
pub const fn server_v4(server: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 2, server, 2))
}

/// The IPv6 address of real server `server`, counted from 1.
pub const fn server_v6(server: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 2, server as u16, 0, 0, 0, 0, 2))
}

/// The director's address on the link to real server `server`.
pub const fn gateway_v4(server: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 2, server, 1))
}

/// The director's address on the link to real server `server`.
pub const fn gateway_v6(server: u8) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 2, server as u16, 0, 0, 0, 0, 1))
}

/// Joins two ends; the far one reaches everything else by the near one.
fn join(near: &End<'_>, far: &End<'_>) -> Result<()> {
    link::connect(near, far)?;
    for gateway in &near.addresses {
        link::add_default_route(far.netns, gateway.address)?;
    }
    Ok(())
}

fn client_net(host: u8) -> Vec<Cidr> {
    let v4 = Ipv4Addr::new(10, 1, 0, host);
    let v6 = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, u16::from(host));
    cidrs(v4, v6)
}

fn server_net(server: u8, host: u8) -> Vec<Cidr> {
    let v4 = Ipv4Addr::new(10, 2, server, host);
    let v6 = Ipv6Addr::new(0xfd00, 2, u16::from(server), 0, 0, 0, 0, u16::from(host));
    cidrs(v4, v6)
}

fn shortcut_net(server: u8, host: u8) -> Vec<Cidr> {
    let v4 = Ipv4Addr::new(10, 3, server, host);
    let v6 = Ipv6Addr::new(0xfd00, 3, u16::from(server), 0, 0, 0, 0, u16::from(host));
    cidrs(v4, v6)
}

fn cidrs(v4: Ipv4Addr, v6: Ipv6Addr) -> Vec<Cidr> {
    vec![
        Cidr {
            address: IpAddr::V4(v4),
            prefix_len: 24,
        },
        Cidr {
            address: IpAddr::V6(v6),
            prefix_len: 64,
        },
    ]
}

/// A locally administered address, different for every end in the lab.
const fn mac(link: u8, end: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, link, end]
}
