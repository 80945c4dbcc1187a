//! Every way in which a director can pass connections on, built: the method, the family
//! and the protocol, and what the real servers need for it.
//!
//! `services` has the two services that most tests balance, TCP by Masquerade; here a
//! [`Path`] says which other one is meant. What runs at its ends is `application`'s, and
//! the ends of tunnels are `tunnel`'s.

use std::{
    net::{IpAddr, SocketAddr},
    thread::JoinHandle,
};

use anyhow::{Result, anyhow};
use ipvs_observer::{
    ipvs::table::{Tunnel, TunnelKind},
    model::id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId},
};

use crate::{
    application::{self, Transport},
    director::{CLIENT_V4, CLIENT_V6, Lab, gateway_v4, gateway_v6, server_v4, server_v6},
    ipvs_admin,
    link::{self, Cidr},
    netns::Netns,
    services::{PORT, Vip},
    tunnel::{self, GUE_PORT},
};

/// The way of replies that do not need the director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// On a link to the client of which the director knows nothing.
    Avoid,
    /// Through the director, which is the real servers' gateway.
    Pass,
}

/// How the director passes packets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// By rewriting them; replies pass the director, which rewrites them too.
    Masquerade,
    /// By rewriting them for another address of the director itself.
    MasqueradeToItself,
    /// As they are, to the director itself, where the application listens at the VIP.
    Local,
    /// As they are, to a real server that has the VIP too.
    DirectRoute(Replies),
    /// Wrapped, to a real server that has the VIP too.
    Tunnel {
        /// How they are wrapped.
        kind: TunnelKind,
        /// The family of the addresses outside, which need not be the VIP's.
        outer: AddressFamily,
        /// The way of replies.
        replies: Replies,
    },
}

impl Forwarding {
    /// Whether the director sees the replies.
    pub const fn has_return_path(self) -> bool {
        match self {
            Self::Masquerade | Self::MasqueradeToItself | Self::Local => true,
            Self::DirectRoute(replies) | Self::Tunnel { replies, .. } => {
                matches!(replies, Replies::Pass)
            }
        }
    }

    /// What a real server needs, if its packets come with the VIP in them.
    const fn replies_of_vip(self) -> Option<Replies> {
        match self {
            Self::Masquerade | Self::MasqueradeToItself | Self::Local => None,
            Self::DirectRoute(replies) | Self::Tunnel { replies, .. } => Some(replies),
        }
    }

    /// The address by which IPVS knows real server `server` of a service of `vip`.
    pub const fn server_address(self, vip: Vip, server: u8) -> IpAddr {
        let family = match self {
            Self::Tunnel { outer, .. } => outer,
            Self::Masquerade | Self::MasqueradeToItself | Self::Local | Self::DirectRoute(_) => {
                vip.family()
            }
        };
        let is_to_itself = matches!(self, Self::MasqueradeToItself | Self::Local);
        match (family, is_to_itself) {
            (AddressFamily::Ipv4, false) => server_v4(server),
            (AddressFamily::Ipv6, false) => server_v6(server),
            (AddressFamily::Ipv4, true) => gateway_v4(server),
            (AddressFamily::Ipv6, true) => gateway_v6(server),
        }
    }
}

/// A service of the lab, with all real servers behind it.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The address that clients know.
    pub vip: Vip,
    /// What they speak.
    pub transport: Transport,
    /// How it gets to a real server.
    pub forwarding: Forwarding,
}

impl Path {
    /// The service's identity.
    pub const fn id(self) -> ServiceId {
        let protocol = match self.transport {
            Transport::Tcp => Protocol::TCP,
            Transport::Udp | Transport::OnePacket => Protocol::UDP,
            Transport::Sctp => Protocol::SCTP,
        };
        ServiceId::Address {
            protocol,
            address: self.vip.address().ip(),
            port: self.port(),
        }
    }

    /// The address by which IPVS knows real server `server`.
    pub const fn server_address(self, server: u8) -> IpAddr {
        self.forwarding.server_address(self.vip, server)
    }

    /// The port of the service and of its real servers.
    pub const fn port(self) -> u16 {
        match self.transport {
            // The other service of UDP.
            Transport::OnePacket => PORT + 1,
            Transport::Tcp | Transport::Udp | Transport::Sctp => PORT,
        }
    }

    const fn destination(self, server: u8) -> DestinationId {
        DestinationId {
            address: self.server_address(server),
            port: self.port(),
        }
    }
}

impl Lab {
    /// Gives all real servers and their links what the method takes, once for all services
    /// of a VIP.
    pub fn equip(&self, vip: Vip, forwarding: Forwarding) -> Result<()> {
        let Some(replies) = forwarding.replies_of_vip() else {
            return Ok(());
        };
        if replies == Replies::Pass {
            // They come from the VIP, which is an address of the director.
            self.director()
                .set_sysctl("net/ipv4/conf/all/accept_local", "1")?;
        }
        for server in self.servers() {
            let netns = self.server(server);
            // The VIP is the director's: nobody else may answer for it or claim it.
            netns.set_sysctl("net/ipv4/conf/all/arp_ignore", "1")?;
            netns.set_sysctl("net/ipv4/conf/all/arp_announce", "2")?;
            link::add_address(netns, link::LOOPBACK, Cidr::host(vip.address().ip()))?;
            if let Forwarding::Tunnel { kind, .. } = forwarding {
                let local = forwarding.server_address(vip, server);
                tunnel::terminate(netns, kind, local, vip.family())?;
            }
            if replies == Replies::Avoid {
                self.add_shortcut(server)?;
            }
        }
        Ok(())
    }

    /// Adds the path's service with all real servers, in round robin.
    pub fn balance(&self, path: Path) -> Result<()> {
        self.balance_by(self.director(), path)
    }

    /// The same in another director.
    pub(crate) fn balance_by(&self, director: &Netns, path: Path) -> Result<()> {
        director.run(|| {
            add_service(path)?;
            self.servers()
                .try_for_each(|server| add_destination(path, server))
        })
    }

    /// Connects as often as every real server is to get `each` connections, one after
    /// another, of `requests` requests and responses. Fails unless all are answered, and each
    /// server has answered its part.
    pub fn exchange(&self, path: Path, each: u32, requests: u32) -> Result<()> {
        let client = match path.vip {
            Vip::V4 => CLIENT_V4,
            Vip::V6 => CLIENT_V6,
        };
        let target = SocketAddr::new(path.vip.address().ip(), path.port());
        let all = each * u32::try_from(self.servers().count())?;
        let applications = self.serve(path, each, requests)?;
        self.client()
            .run(|| application::connect(path.transport, client, target, all, requests))?;
        for application in applications {
            let outcome = application.join();
            outcome.map_err(|_panic| anyhow!("an application has panicked"))??;
        }
        Ok(())
    }

    /// Starts the applications of the real servers, which answer `each` connections and end.
    fn serve(&self, path: Path, each: u32, requests: u32) -> Result<Vec<JoinHandle<Result<()>>>> {
        let start = |netns: &Netns, address, connections| {
            let address = SocketAddr::new(address, path.port());
            application::serve(netns, path.transport, address, connections, requests)
        };
        let vip = path.vip.address().ip();
        if path.forwarding == Forwarding::Local {
            // All are one, which answers for all.
            let all = each * u32::try_from(self.servers().count())?;
            return Ok(vec![start(self.director(), vip, all)?]);
        }
        self.servers()
            .map(|server| {
                let (netns, address) = match path.forwarding {
                    Forwarding::Masquerade => (self.server(server), path.server_address(server)),
                    Forwarding::MasqueradeToItself => {
                        (self.director(), path.server_address(server))
                    }
                    Forwarding::Local => (self.director(), vip),
                    Forwarding::DirectRoute(_) | Forwarding::Tunnel { .. } => {
                        (self.server(server), vip)
                    }
                };
                start(netns, address, each)
            })
            .collect()
    }

    /// Takes all real servers out of the path's service, so that with
    /// `net.ipv4.vs.expire_nodest_conn` its connections end.
    pub fn remove_servers(&self, path: Path) -> Result<()> {
        self.director().run(|| {
            self.servers().try_for_each(|server| {
                ipvs_admin::delete_destination(&path.id(), &path.destination(server))
            })
        })
    }
}

fn add_service(path: Path) -> Result<()> {
    let scheduler = "rr";
    if path.transport == Transport::OnePacket {
        return ipvs_admin::add_one_packet_service(&path.id(), scheduler);
    }
    ipvs_admin::add_service(&path.id(), scheduler)
}

fn add_destination(path: Path, server: u8) -> Result<()> {
    const WEIGHT: u32 = 1;
    let method = match path.forwarding {
        Forwarding::Tunnel { kind, .. } => {
            let tunnel = Tunnel {
                kind,
                port: if kind == TunnelKind::Gue { GUE_PORT } else { 0 },
                flags: 0,
            };
            let destination = path.destination(server);
            return ipvs_admin::add_tunnel_destination(&path.id(), &destination, tunnel, WEIGHT);
        }
        Forwarding::Masquerade | Forwarding::MasqueradeToItself => ForwardingMethod::Masquerade,
        Forwarding::Local => ForwardingMethod::Local,
        Forwarding::DirectRoute(_) => ForwardingMethod::DirectRoute,
    };
    ipvs_admin::add_destination(&path.id(), &path.destination(server), method, WEIGHT)
}
