//! What the requests of an administrator say, as attributes of the family `IPVS`.
//!
//! The attributes that the agent knows are the agent's `ipvs::wire`; the rest, which only
//! an administrator sends, has its numbers from the kernel's
//! `include/uapi/linux/ip_vs.h`.

use ipvs_observer::{
    ipvs::{
        table::{DaemonState, Tunnel, TunnelKind},
        wire::{
            DestinationAttribute, IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT, ServiceAttribute,
            destination_identity, service_identity,
        },
    },
    model::id::{AddressFamily, DestinationId, ForwardingMethod, ServiceId},
};
use netlink_packet_core::DefaultNla;

use crate::genetlink::{nest, number16, number32, port, text, untyped};

const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;
const IPVS_CMD_ATTR_DAEMON: u16 = 3;

const IPVS_DEST_ATTR_TUN_TYPE: u16 = 13;
const IPVS_DEST_ATTR_TUN_PORT: u16 = 14;
const IPVS_DEST_ATTR_TUN_FLAGS: u16 = 15;

const IPVS_DAEMON_ATTR_STATE: u16 = 1;
const IPVS_DAEMON_ATTR_MCAST_IFN: u16 = 2;
const IPVS_DAEMON_ATTR_SYNC_ID: u16 = 3;

/// How a service treats the packets of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    /// Each connection is scheduled.
    Connection,
    /// Connections follow the client's first for so many seconds.
    Client(u32),
    /// Each packet is scheduled.
    Packet,
}

/// The name of a service that exists.
pub(super) fn service(service: &ServiceId) -> DefaultNla {
    service_nest(&service_identity(service))
}

/// All that the kernel wants to know of a new service.
pub(super) fn full_service(service: &ServiceId, scheduler: &str, affinity: Affinity) -> DefaultNla {
    let (flags, timeout_s) = match affinity {
        Affinity::Connection => (0, 0),
        Affinity::Client(timeout_s) => (IP_VS_SVC_F_PERSISTENT, timeout_s),
        Affinity::Packet => (IP_VS_SVC_F_ONEPACKET, 0),
    };
    let mut attributes = service_identity(service);
    attributes.extend([
        ServiceAttribute::Scheduler(scheduler.to_owned()),
        ServiceAttribute::Flags {
            flags,
            mask: u32::MAX,
        },
        ServiceAttribute::Timeout(timeout_s),
        ServiceAttribute::Netmask(single_client(service.family())),
    ]);
    service_nest(&attributes)
}

/// The name of a destination that exists.
pub(super) fn destination(destination: &DestinationId) -> DefaultNla {
    destination_nest(&destination_identity(destination), &[])
}

/// All that the kernel wants to know of a destination.
pub(super) fn full_destination(
    destination: &DestinationId,
    method: ForwardingMethod,
    weight: u32,
) -> DefaultNla {
    destination_nest(&destination_settings(destination, method, weight, 0), &[])
}

/// The same for one that takes so many connections.
pub(super) fn bounded_destination(
    destination: &DestinationId,
    method: ForwardingMethod,
    weight: u32,
    connections: u32,
) -> DefaultNla {
    destination_nest(
        &destination_settings(destination, method, weight, connections),
        &[],
    )
}

/// The same for one at the end of a tunnel.
pub(super) fn tunnel_destination(
    destination: &DestinationId,
    tunnel: Tunnel,
    weight: u32,
) -> DefaultNla {
    let kind = match tunnel.kind {
        TunnelKind::IpIp => 0,
        TunnelKind::Gue => 1,
        TunnelKind::Gre => 2,
        TunnelKind::Unknown(kind) => kind,
    };
    let tunnel = [
        DefaultNla::new(IPVS_DEST_ATTR_TUN_TYPE, vec![kind]),
        port(IPVS_DEST_ATTR_TUN_PORT, tunnel.port),
        number16(IPVS_DEST_ATTR_TUN_FLAGS, tunnel.flags),
    ];
    let method = ForwardingMethod::Tunnel;
    let settings = destination_settings(destination, method, weight, 0);
    destination_nest(&settings, &tunnel)
}

/// A thread that sends or takes connections over an interface.
pub(super) fn daemon(state: DaemonState, interface: &str, sync_id: u32) -> DefaultNla {
    let state: u32 = match state {
        DaemonState::Master => 1,
        DaemonState::Backup => 2,
        DaemonState::Unknown(state) => state,
    };
    nest(
        IPVS_CMD_ATTR_DAEMON,
        &[
            number32(IPVS_DAEMON_ATTR_STATE, state),
            text(IPVS_DAEMON_ATTR_MCAST_IFN, interface),
            number32(IPVS_DAEMON_ATTR_SYNC_ID, sync_id),
        ],
    )
}

fn destination_settings(
    destination: &DestinationId,
    method: ForwardingMethod,
    weight: u32,
    upper_threshold: u32,
) -> Vec<DestinationAttribute> {
    let mut attributes = destination_identity(destination);
    attributes.extend([
        DestinationAttribute::ForwardingMethod(method),
        DestinationAttribute::Weight(weight),
        DestinationAttribute::UpperThreshold(upper_threshold),
        DestinationAttribute::LowerThreshold(0),
    ]);
    attributes
}

fn service_nest(attributes: &[ServiceAttribute]) -> DefaultNla {
    let attributes: Vec<_> = attributes.iter().map(untyped).collect();
    nest(IPVS_CMD_ATTR_SERVICE, &attributes)
}

fn destination_nest(attributes: &[DestinationAttribute], more: &[DefaultNla]) -> DefaultNla {
    let mut attributes: Vec<_> = attributes.iter().map(untyped).collect();
    attributes.extend_from_slice(more);
    nest(IPVS_CMD_ATTR_DEST, &attributes)
}

/// The netmask that tells every client apart, which IPv6 gives as a prefix length.
#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel reads the prefix length in host order"
)]
fn single_client(family: AddressFamily) -> [u8; 4] {
    match family {
        AddressFamily::Ipv4 => [255; 4],
        AddressFamily::Ipv6 => 128_u32.to_ne_bytes(),
    }
}
