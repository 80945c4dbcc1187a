//! How a tunnel is written: as a cell of the table and as options that make it.

use std::io::Write;

use super::page::Page;
use crate::ipvs::table::{Tunnel, TunnelKind};

/// What a list and a rule call the checksum of the outer header, by `IP_VS_TUNNEL_ENCAP_FLAG_`.
const CHECKSUMS: [[&str; 2]; 3] = [
    ["-c", "--tun-nocsum"],
    ["+c", "--tun-csum"],
    ["r+c", "--tun-remcsum"],
];

/// `ipip`, `gue:6080:r+c`, `gre:-c`.
pub(super) fn cell(tunnel: Tunnel, page: &mut Page<'_, impl Write>) {
    match tunnel.kind {
        TunnelKind::IpIp => return page.text("ipip"),
        TunnelKind::Unknown(kind) => return page.number(kind),
        TunnelKind::Gue => {
            page.text("gue:");
            page.number(tunnel.port);
        }
        TunnelKind::Gre => page.text("gre"),
    }
    page.text(":");
    match checksum(tunnel) {
        Some([cell, _]) => page.text(cell),
        None => page.number(tunnel.flags),
    }
}

/// ` --tun-type gue --tun-port 6080 --tun-remcsum`. What ipvsadm has no option for gets one that it refuses, so that
/// nothing is restored otherwise than it was.
pub(super) fn options(tunnel: Tunnel, page: &mut Page<'_, impl Write>) {
    page.text(" --tun-type ");
    match tunnel.kind {
        TunnelKind::IpIp => return page.text("ipip"),
        TunnelKind::Unknown(kind) => return page.number(kind),
        TunnelKind::Gue => {
            page.text("gue --tun-port ");
            page.number(tunnel.port);
        }
        TunnelKind::Gre => page.text("gre"),
    }
    if let Some([_, option]) = checksum(tunnel) {
        page.text(" ");
        page.text(option);
    } else {
        page.text(" --tun-flags ");
        page.number(tunnel.flags);
    }
}

fn checksum(tunnel: Tunnel) -> Option<&'static [&'static str; 2]> {
    CHECKSUMS.get(usize::from(tunnel.flags))
}
