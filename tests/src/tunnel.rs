//! The far ends of IPVS's tunnels: what a real server needs so that its kernel takes
//! wrapped packets out of their wrapping.
//!
//! The devices only receive; replies leave by the route to the client. What the director
//! wraps is told to IPVS by `ipvs_admin`, and who needs which end is `forwarding`'s.

use std::{fs, net::IpAddr};

use anyhow::{Context as _, Result};
use ipvs_observer::{ipvs::table::TunnelKind, model::id::AddressFamily};
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        InfoData, InfoGre, InfoGre6, InfoIpTunnel, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
    },
};

use crate::{
    genetlink::{self, Request},
    guest::modules,
    link,
    netns::Netns,
};

/// The UDP port of [`TunnelKind::Gue`].
pub const GUE_PORT: u16 = 6080;

/// The index of the one device at a tunnel's end.
const TUNNEL: u32 = 20;

/// Lets the kernel of `netns` take packets for `local` of `inner`'s family out of a
/// tunnel of `kind`.
pub fn terminate(
    netns: &Netns,
    kind: TunnelKind,
    local: IpAddr,
    inner: AddressFamily,
) -> Result<()> {
    terminate_at(netns, kind, local, inner)
        .with_context(|| format!("cannot end a tunnel of {kind:?} in {}", netns.name()))
}

fn terminate_at(
    netns: &Netns,
    kind: TunnelKind,
    local: IpAddr,
    inner: AddressFamily,
) -> Result<()> {
    let (module, info_kind, data) = match (kind, local, inner) {
        (TunnelKind::Gre, IpAddr::V4(local), _) => (
            "ip_gre",
            InfoKind::GreTun,
            InfoData::GreTun(vec![InfoGre::Local(local)]),
        ),
        (TunnelKind::Gre, IpAddr::V6(local), _) => (
            "ip6_gre",
            InfoKind::GreTun6,
            InfoData::GreTun6(vec![InfoGre6::Local(local)]),
        ),
        (_, IpAddr::V4(_), AddressFamily::Ipv4) => ("ipip", InfoKind::IpIp, ip_tunnel(local)),
        (_, IpAddr::V4(_), AddressFamily::Ipv6) => ("sit", InfoKind::SitTun, ip_tunnel(local)),
        (_, IpAddr::V6(_), _) => ("ip6_tunnel", InfoKind::Ip6Tnl, ip_tunnel(local)),
    };
    forbid_fallback_devices()?;
    modules::load(module)?;
    let mut message = LinkMessage::default();
    message.header.index = TUNNEL;
    message.attributes = vec![
        LinkAttribute::IfName("tunnel".to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(info_kind), LinkInfo::Data(data)]),
    ];
    netns.route().request(
        RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
    )?;
    link::set_up(netns, TUNNEL)?;
    if kind == TunnelKind::Gue {
        netns.run(|| receive_gue(AddressFamily::of(local)))?;
    }
    Ok(())
}

/// From anybody.
fn ip_tunnel(local: IpAddr) -> InfoData {
    InfoData::IpTunnel(vec![InfoIpTunnel::Local(local)])
}

/// Such a device would take the index of the first link in every namespace made later.
fn forbid_fallback_devices() -> Result<()> {
    let path = "/proc/sys/net/core/fb_tunnels_only_for_init_net";
    fs::write(path, "1").with_context(|| format!("cannot write {path}"))
}

/// Opens the UDP port whose datagrams the kernel takes for wrapped packets. The numbers
/// are those of the uapi header `fou.h`.
fn receive_gue(outer: AddressFamily) -> Result<()> {
    const FOU_CMD_ADD: u8 = 1;
    const FOU_ATTR_PORT: u16 = 1;
    const FOU_ATTR_AF: u16 = 2;
    const FOU_ATTR_TYPE: u16 = 4;
    const FOU_ENCAP_GUE: u8 = 2;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    let family = match outer {
        AddressFamily::Ipv4 => AF_INET,
        AddressFamily::Ipv6 => AF_INET6,
    };
    modules::load("fou")?;
    genetlink::execute(Request {
        family: genetlink::family("fou")?,
        command: FOU_CMD_ADD,
        attributes: vec![
            genetlink::port(FOU_ATTR_PORT, GUE_PORT),
            DefaultNla::new(FOU_ATTR_AF, vec![family]),
            DefaultNla::new(FOU_ATTR_TYPE, vec![FOU_ENCAP_GUE]),
        ],
    })
    .context("cannot receive GUE")
}
