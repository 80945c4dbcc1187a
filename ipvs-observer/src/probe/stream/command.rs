//! Records of commands become commands of the model.

use std::{mem::offset_of, net::Ipv4Addr};

use ipvs_observer_common::CommandEvent;

use crate::{
    ipvs::wire::{self, named_service},
    model::{
        command::{Command, Deed, Named, Phase, Process},
        id::{AddressFamily, Netns, Protocol, ServiceId},
    },
};

type Bytes = [u8; size_of::<CommandEvent>()];

/// `IP_VS_BASE_CTL` of the uapi header `ip_vs.h`, from which `IP_VS_SO_SET_*` count.
const IP_VS_BASE_CTL: u32 = 64 + 1024 + 64;

/// Of one record; `None` for one of a command that leaves the table as it is.
pub(super) fn command(record: &Bytes) -> Option<Command> {
    let u16_at = |offset| u16::from_le_bytes(bytes_at(record, offset));
    let u32_at = |offset| u32::from_le_bytes(bytes_at(record, offset));
    let u64_at = |offset| u64::from_le_bytes(bytes_at(record, offset));
    let lost = offset_of!(CommandEvent, lost);
    let number = u32_at(offset_of!(CommandEvent, command));
    let named: [u8; 64] = bytes_at(record, offset_of!(CommandEvent, service));
    let named = named.get(..usize::from(u16_at(offset_of!(CommandEvent, service_bytes))))?;
    let is_netlink = u16_at(offset_of!(CommandEvent, way)) == CommandEvent::NETLINK;
    Some(Command {
        at_ns: u64_at(offset_of!(CommandEvent, at_ns)),
        cpu: u32_at(offset_of!(CommandEvent, cpu)),
        lost: [u32_at(lost), u32_at(lost + 4)],
        call: u64_at(offset_of!(CommandEvent, call)),
        phase: match u16_at(offset_of!(CommandEvent, phase)) {
            CommandEvent::BEGUN => Phase::Begun,
            CommandEvent::DONE => Phase::Done,
            _ => Phase::Failed,
        },
        process: Process::new(
            u32_at(offset_of!(CommandEvent, process)),
            bytes_at(record, offset_of!(CommandEvent, name)),
        ),
        netns: Netns(u32_at(offset_of!(CommandEvent, netns))),
        what: if is_netlink {
            by_netlink(number)?
        } else {
            by_socket_option(number)?
        },
        service: if is_netlink {
            named_by_attributes(named)
        } else {
            named_by_structure(named)
        },
    })
}

fn by_netlink(number: u32) -> Option<Deed> {
    Some(match u8::try_from(number).ok()? {
        wire::IPVS_CMD_NEW_SERVICE => Deed::AddService,
        wire::IPVS_CMD_SET_SERVICE => Deed::EditService,
        wire::IPVS_CMD_DEL_SERVICE => Deed::RemoveService,
        wire::IPVS_CMD_NEW_DEST => Deed::AddServer,
        wire::IPVS_CMD_SET_DEST => Deed::EditServer,
        wire::IPVS_CMD_DEL_DEST => Deed::RemoveServer,
        wire::IPVS_CMD_FLUSH => Deed::Flush,
        wire::IPVS_CMD_ZERO => Deed::Zero,
        _ => return None,
    })
}

/// By what `IP_VS_SO_SET_*` adds to its base.
fn by_socket_option(number: u32) -> Option<Deed> {
    Some(match number.checked_sub(IP_VS_BASE_CTL)? {
        2 => Deed::AddService,
        3 => Deed::EditService,
        4 => Deed::RemoveService,
        5 => Deed::Flush,
        7 => Deed::AddServer,
        8 => Deed::RemoveServer,
        9 => Deed::EditServer,
        15 => Deed::Zero,
        _ => return None,
    })
}

fn named_by_attributes(bytes: &[u8]) -> Named {
    if bytes.is_empty() {
        return Named::None;
    }
    named_service(bytes).map_or(Named::Unreadable, Named::Service)
}

/// `struct ip_vs_service_user`: protocol, address, port and firewall mark; the second and third in network order.
fn named_by_structure(bytes: &[u8]) -> Named {
    let Some(&[p0, p1, _, _, a, b, c, d, port0, port1, _, _, m0, m1, m2, m3]) = bytes.first_chunk()
    else {
        return Named::Unreadable;
    };
    let mark = u32::from_le_bytes([m0, m1, m2, m3]);
    let (address, port) = (
        Ipv4Addr::new(a, b, c, d),
        u16::from_be_bytes([port0, port1]),
    );
    if mark != 0 {
        let family = AddressFamily::Ipv4;
        return Named::Service(ServiceId::FirewallMark { mark, family });
    }
    if address.is_unspecified() && port == 0 {
        return Named::None;
    }
    Named::Service(ServiceId::Address {
        protocol: Protocol(u16::from_le_bytes([p0, p1])),
        address: address.into(),
        port,
    })
}

/// Zero where the record ends before, which no member of it does.
fn bytes_at<const N: usize>(record: &Bytes, offset: usize) -> [u8; N] {
    let bytes = record.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use ipvs_observer_common::CommandEvent;

    use super::{Bytes, command};
    use crate::model::command::{Deed, Named, Phase};

    fn record(members: &[(usize, &[u8])]) -> Bytes {
        let mut record = [0; size_of::<CommandEvent>()];
        for (offset, bytes) in members {
            record[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        record
    }

    /// Family, protocol, address and port, and the beginning of a name that was cut off.
    const ATTRIBUTES: [u8; 50] = [
        6, 0, 1, 0, 2, 0, 0, 0, //
        6, 0, 2, 0, 6, 0, 0, 0, //
        20, 0, 3, 0, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, //
        6, 0, 4, 0, 0, 80, 0, 0, //
        8, 0, 6, 0, b'r', b'r',
    ];

    #[test]
    fn a_command_by_netlink_names_its_service_by_attributes() {
        let seen = command(&record(&[
            (offset_of!(CommandEvent, at_ns), &[7]),
            (offset_of!(CommandEvent, command), &[7]),
            (offset_of!(CommandEvent, phase), &[1]),
            (offset_of!(CommandEvent, process), &[57, 1]),
            (offset_of!(CommandEvent, name), b"ipvsadm"),
            (offset_of!(CommandEvent, netns), &[9]),
            (offset_of!(CommandEvent, service), &ATTRIBUTES),
            (offset_of!(CommandEvent, service_bytes), &[50]),
        ]));
        let seen = seen.unwrap();
        assert_eq!((seen.what, seen.phase), (Deed::RemoveServer, Phase::Done));
        assert_eq!(seen.process.id, 313);
        assert_eq!(seen.process.name(), "ipvsadm");
        let Named::Service(service) = seen.service else {
            panic!("{seen:?}");
        };
        assert_eq!(service.to_string(), "TCP 192.0.2.1:80");
    }

    #[test]
    fn a_command_by_a_socket_option_names_its_service_by_a_structure() {
        let way = CommandEvent::SOCKET_OPTION.to_le_bytes();
        // Zeroes all, then one.
        for (user, expected) in [
            ([0; 16], "None"),
            (
                [6, 0, 0, 0, 192, 0, 2, 1, 0, 80, 0, 0, 0, 0, 0, 0],
                "TCP 192.0.2.1:80",
            ),
            ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 47, 0, 0, 0], "FWM 47"),
        ] {
            let seen = command(&record(&[
                (offset_of!(CommandEvent, way), &way),
                (offset_of!(CommandEvent, command), &1167_u32.to_le_bytes()),
                (offset_of!(CommandEvent, service), &user),
                (offset_of!(CommandEvent, service_bytes), &[16]),
            ]));
            let seen = seen.unwrap();
            assert_eq!((seen.what, seen.phase), (Deed::Zero, Phase::Begun));
            let named = match seen.service {
                Named::Service(service) => service.to_string(),
                other @ (Named::None | Named::Unreadable) => format!("{other:?}"),
            };
            assert_eq!(named, expected);
        }
    }

    #[test]
    fn what_is_no_change_or_too_long_is_no_command() {
        let set_config = record(&[(offset_of!(CommandEvent, command), &[12])]);
        assert_eq!(command(&set_config), None);
        let long = record(&[
            (offset_of!(CommandEvent, command), &[17]),
            (offset_of!(CommandEvent, service_bytes), &[65]),
        ]);
        assert_eq!(command(&long), None);
        let unreadable = record(&[
            (offset_of!(CommandEvent, command), &[16]),
            (offset_of!(CommandEvent, service), &[9, 0]),
            (offset_of!(CommandEvent, service_bytes), &[8]),
        ]);
        assert_eq!(command(&unreadable).unwrap().service, Named::Unreadable);
    }
}
