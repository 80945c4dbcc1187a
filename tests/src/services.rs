//! The services of the lab: a TCP port at each VIP, and real servers behind it by
//! Masquerade.
//!
//! Says what IPVS is to balance; how that is told to the kernel is `ipvs_admin`'s, and
//! the links under it are `director`'s.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::Result;
use ipvs_observer::model::id::{
    AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId,
};

use crate::{
    director::{Lab, VIP_V4, VIP_V6, server_v4, server_v6},
    ipvs_admin,
    traffic::Server,
};

/// The port of every service and of every real server.
pub const PORT: u16 = 80;

/// Which of the director's two services is meant: each VIP has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vip {
    /// The service at the IPv4 address.
    V4,
    /// The service at the IPv6 address.
    V6,
}

impl Vip {
    /// Where clients connect to.
    pub const fn address(self) -> SocketAddr {
        let address = match self {
            Self::V4 => VIP_V4,
            Self::V6 => VIP_V6,
        };
        SocketAddr::new(address, PORT)
    }

    /// The family of its clients.
    pub const fn family(self) -> AddressFamily {
        match self {
            Self::V4 => AddressFamily::Ipv4,
            Self::V6 => AddressFamily::Ipv6,
        }
    }

    /// The address of a real server as this service knows it.
    pub const fn server_address(self, server: u8) -> IpAddr {
        match self {
            Self::V4 => server_v4(server),
            Self::V6 => server_v6(server),
        }
    }

    /// The service's identity.
    pub const fn id(self) -> ServiceId {
        let address = self.address();
        ServiceId::Address {
            protocol: Protocol::TCP,
            address: address.ip(),
            port: PORT,
        }
    }

    /// The service's name where the agent shows it.
    pub fn name(self) -> String {
        self.id().to_string()
    }

    /// The identity of a real server behind it.
    pub const fn destination(self, server: u8) -> DestinationId {
        DestinationId {
            address: self.server_address(server),
            port: PORT,
        }
    }
}

impl Lab {
    /// Adds the service of `vip`, without real servers.
    pub fn add_service(&self, vip: Vip, scheduler: &str) -> Result<()> {
        self.director()
            .run(|| ipvs_admin::add_service(&vip.id(), scheduler))
    }

    /// Adds real server `server` to the service of `vip`, by Masquerade.
    pub fn add_server(&self, vip: Vip, server: u8, weight: u32) -> Result<()> {
        self.director().run(|| {
            ipvs_admin::add_destination(
                &vip.id(),
                &vip.destination(server),
                ForwardingMethod::Masquerade,
                weight,
            )
        })
    }

    /// Takes real server `server` out of the service of `vip`.
    pub fn remove_server(&self, vip: Vip, server: u8) -> Result<()> {
        self.director()
            .run(|| ipvs_admin::delete_destination(&vip.id(), &vip.destination(server)))
    }

    /// Starts the application on real server `server` for the service of `vip`.
    pub fn start_server(&self, vip: Vip, server: u8, answer_after: Duration) -> Result<Server> {
        let address = SocketAddr::new(vip.server_address(server), PORT);
        Server::start(self.server(server), address, answer_after)
    }
}
