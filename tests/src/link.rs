//! Links between namespaces: veth pairs, their addresses, routes and neighbours,
//! and a delay on what leaves one of their ends.
//!
//! Indexes and hardware addresses are chosen here and not asked for, so that both
//! ends are known before either exists and no neighbour has to be discovered while
//! something is being timed. Which links there are is `director`'s.

use std::{net::IpAddr, os::fd::AsRawFd as _, time::Duration};

use anyhow::{Context as _, Result};
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::{
        RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
        RouteType,
    },
    tc::{TcAttribute, TcHandle, TcMessage},
};

use crate::netns::Netns;

/// The index of `lo`, the first interface of every namespace.
pub const LOOPBACK: u32 = 1;

/// An address and the length of the network it is in.
#[derive(Clone, Copy, Debug)]
pub struct Cidr {
    /// The address itself.
    pub address: IpAddr,
    /// How many of its bits name the network.
    pub prefix_len: u8,
}

impl Cidr {
    /// An address alone.
    pub const fn host(address: IpAddr) -> Self {
        let prefix_len = match address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        Self {
            address,
            prefix_len,
        }
    }
}

/// One end of a veth pair, before it exists.
#[derive(Clone, Debug)]
pub struct End<'a> {
    /// The namespace that it is in.
    pub netns: &'a Netns,
    /// The name there.
    pub name: String,
    /// The interface index there.
    pub index: u32,
    /// The hardware address.
    pub mac: [u8; 6],
    /// The addresses, in networks that the other end shares.
    pub addresses: Vec<Cidr>,
}

/// Joins two namespaces by a veth pair that carries traffic from now on.
pub fn connect(near: &End<'_>, far: &End<'_>) -> Result<()> {
    let context = || format!("cannot join {} and {}", near.netns.name(), far.netns.name());
    create_pair(near, far).with_context(context)?;
    for end in [near, far] {
        set_up(end.netns, end.index).with_context(context)?;
    }
    for (end, peer) in [(near, far), (far, near)] {
        for cidr in &end.addresses {
            add_address(end.netns, end.index, *cidr).with_context(context)?;
        }
        for cidr in &peer.addresses {
            add_neighbour(end, cidr.address, peer.mac).with_context(context)?;
        }
    }
    Ok(())
}

/// Sets an interface up.
pub fn set_up(netns: &Netns, index: u32) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    netns
        .route()
        .request(RouteNetlinkMessage::SetLink(message), 0)
        .with_context(|| format!("cannot set interface {index} up"))
}

/// Gives an interface an address, usable at once.
pub fn add_address(netns: &Netns, index: u32, cidr: Cidr) -> Result<()> {
    let Cidr {
        address,
        prefix_len,
    } = cidr;
    let mut message = AddressMessage::default();
    message.header.family = family_of(address);
    message.header.prefix_len = prefix_len;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    netns
        .route()
        .request(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .with_context(|| format!("cannot add the address {address}/{prefix_len}"))
}

/// Sends what has no nearer route to `gateway`.
pub fn add_default_route(netns: &Netns, gateway: IpAddr) -> Result<()> {
    let mut message = route_message(family_of(gateway), RouteType::Unicast);
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::from(gateway))];
    add_route_message(netns, message)
        .with_context(|| format!("cannot add the default route by {gateway}"))
}

/// Sends what is meant for the network of `destination` to `gateway`.
pub fn add_route(netns: &Netns, destination: Cidr, gateway: IpAddr) -> Result<()> {
    let mut message = route_message_to(destination, RouteType::Unicast);
    message
        .attributes
        .push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
    add_route_message(netns, message)
        .with_context(|| format!("cannot add the route to {destination:?} by {gateway}"))
}

/// Answers what is meant for the network of `destination` that it cannot be reached.
pub fn add_unreachable_route(netns: &Netns, destination: Cidr) -> Result<()> {
    let message = route_message_to(destination, RouteType::Unreachable);
    add_route_message(netns, message)
        .with_context(|| format!("cannot make {destination:?} unreachable"))
}

/// Makes the namespace pass on what is meant for others.
pub fn allow_forwarding(netns: &Netns) -> Result<()> {
    netns.set_sysctl("net/ipv4/ip_forward", "1")?;
    netns.set_sysctl("net/ipv6/conf/all/forwarding", "1")
}

/// Holds everything that leaves an interface back by `delay`, exact to the
/// nanosecond; what comes in is not touched. Another call replaces the delay.
pub fn delay_egress(netns: &Netns, index: u32, delay: Duration) -> Result<()> {
    let mut message = root_qdisc(index)?;
    let options = netem_options(delay).context("the delay does not fit netem")?;
    message.attributes = vec![
        TcAttribute::Kind("netem".to_owned()),
        TcAttribute::Other(options),
    ];
    netns
        .route()
        .request(
            RouteNetlinkMessage::NewQueueDiscipline(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .with_context(|| {
            format!(
                "cannot delay what leaves interface {index} of {}",
                netns.name()
            )
        })
}

/// Takes the delay of [`delay_egress`] away.
pub fn undelay_egress(netns: &Netns, index: u32) -> Result<()> {
    let message = root_qdisc(index)?;
    netns
        .route()
        .request(RouteNetlinkMessage::DelQueueDiscipline(message), 0)
        .with_context(|| {
            format!(
                "cannot stop delaying what leaves interface {index} of {}",
                netns.name()
            )
        })
}

fn create_pair(near: &End<'_>, far: &End<'_>) -> Result<()> {
    let mut peer = link_message(far);
    peer.attributes
        .push(LinkAttribute::NetNsFd(far.netns.handle().as_raw_fd()));
    let mut message = link_message(near);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    near.netns
        .route()
        .request(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )
        .context("cannot make a veth pair")
}

fn link_message(end: &End<'_>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = end.index;
    message.attributes = vec![
        LinkAttribute::IfName(end.name.clone()),
        LinkAttribute::Address(end.mac.to_vec()),
    ];
    message
}

fn route_message_to(destination: Cidr, kind: RouteType) -> RouteMessage {
    let mut message = route_message(family_of(destination.address), kind);
    message.header.destination_prefix_length = destination.prefix_len;
    message.attributes = vec![RouteAttribute::Destination(RouteAddress::from(
        destination.address,
    ))];
    message
}

fn route_message(family: AddressFamily, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = kind;
    message
}

fn add_route_message(netns: &Netns, message: RouteMessage) -> Result<()> {
    netns.route().request(
        RouteNetlinkMessage::NewRoute(message),
        NLM_F_CREATE | NLM_F_EXCL,
    )
}

fn add_neighbour(end: &End<'_>, address: IpAddr, mac: [u8; 6]) -> Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = family_of(address);
    message.header.ifindex = end.index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unicast;
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes = vec![
        NeighbourAttribute::Destination(destination),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    end.netns
        .route()
        .request(
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .with_context(|| format!("cannot add the neighbour {address}"))
}

fn root_qdisc(index: u32) -> Result<TcMessage> {
    let index = i32::try_from(index).context("an interface index is a positive i32")?;
    let mut message = TcMessage::with_index(index);
    message.header.parent = TcHandle::ROOT;
    message.header.handle = TcHandle { major: 1, minor: 0 };
    Ok(message)
}

/// `TCA_OPTIONS` of netem: `struct tc_netem_qopt` and, behind it, attributes.
#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of its host"
)]
fn netem_options(delay: Duration) -> Result<DefaultNla> {
    const TCA_OPTIONS: u16 = 2;
    const TCA_NETEM_LATENCY64: u16 = 10;
    const NLA_HEADER_LEN: u16 = 4;
    /// Packets held back at once before netem drops some.
    const LIMIT: u32 = 10_000;
    let latency_ns = i64::try_from(delay.as_nanos())?;

    let mut options = Vec::new();
    // latency, limit, loss, gap, duplicate, jitter; the latency in ticks of 64 ns is
    // left at zero for the exact one below.
    for field in [0, LIMIT, 0, 0, 0, 0] {
        options.extend(u32::to_ne_bytes(field));
    }
    options.extend((NLA_HEADER_LEN + 8).to_ne_bytes());
    options.extend(TCA_NETEM_LATENCY64.to_ne_bytes());
    options.extend(latency_ns.to_ne_bytes());
    Ok(DefaultNla::new(TCA_OPTIONS, options))
}

fn family_of(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netlink_packet_core::Nla as _;

    use super::netem_options;

    #[test]
    #[expect(
        clippy::host_endian_bytes,
        reason = "netlink speaks the byte order of its host"
    )]
    fn netem_options_are_the_struct_and_the_exact_latency() {
        let options = netem_options(Duration::from_millis(30)).expect("30 ms fit");
        let mut bytes = vec![0; options.value_len()];
        options.emit_value(&mut bytes);
        assert_eq!(bytes.len(), 24 + 4 + 8);
        let latency = bytes[28..36].try_into().expect("eight bytes");
        assert_eq!(i64::from_ne_bytes(latency), 30_000_000);
    }
}
