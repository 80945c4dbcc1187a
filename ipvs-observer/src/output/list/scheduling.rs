//! What is said in every form of how a service schedules.

use std::{io::Write, net::Ipv4Addr};

use super::page::Page;
use crate::ipvs::table::{Netmask, Service};

/// `IP_VS_SVC_F_SCHED1` to `IP_VS_SVC_F_SCHED3` of the uapi header `ip_vs.h`.
const SCHEDULER_FLAGS: [u32; 3] = [1 << 3, 1 << 4, 1 << 5];

/// The flags that mean to each scheduler what it wants them to, as far as they are set.
pub(super) fn flag_names(service: &Service) -> impl Iterator<Item = &'static str> {
    let names = match service.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port", "flag-3"],
        "mh" => ["mh-fallback", "mh-port", "flag-3"],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let flags = service.flags;
    let set = SCHEDULER_FLAGS.into_iter().zip(names);
    set.filter(move |(flag, _)| flags & flag != 0)
        .map(|(_, name)| name)
}

/// [`flag_names`] between `before` and `after`; nothing if there are none.
pub(super) fn flags(service: &Service, before: &str, after: &str, page: &mut Page<'_, impl Write>) {
    let mut separator = before;
    for name in flag_names(service) {
        page.text(separator);
        page.text(name);
        separator = ",";
    }
    if separator != before {
        page.text(after);
    }
}

/// Which part of a client's address is remembered, after `before`; nothing if it is all of it.
pub(super) fn mask(service: &Service, before: &str, page: &mut Page<'_, impl Write>) {
    match service.netmask {
        None | Some(Netmask::Ipv4(Ipv4Addr::BROADCAST) | Netmask::Ipv6(128)) => {}
        Some(Netmask::Ipv4(mask)) => {
            page.text(before);
            page.octets(mask.octets());
        }
        Some(Netmask::Ipv6(length)) => {
            page.text(before);
            page.number(length);
        }
    }
}
