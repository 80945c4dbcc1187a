//! What the agent asks about: one service or all.
//!
//! It asks once for each service of a table, and so writes the attributes that identify the service straight into the
//! message; requests that change the table are made of any [`super::Attributes`].

use std::net::IpAddr;

use netlink_packet_core::{Emitable, NLA_F_NESTED};

use super::{
    attr::{IPVS_CMD_ATTR_SERVICE, address_bytes, family_number},
    service::{
        IPVS_SVC_ATTR_ADDR, IPVS_SVC_ATTR_AF, IPVS_SVC_ATTR_FWMARK, IPVS_SVC_ATTR_PORT,
        IPVS_SVC_ATTR_PROTOCOL,
    },
};
use crate::model::id::{AddressFamily, Protocol, ServiceId};

/// Header of an attribute: its length, then its type.
const HEADER_BYTES: usize = 4;
/// Three attributes of two bytes and one of sixteen, each with its header and aligned.
const ADDRESS_BYTES: usize = 3 * 8 + 20;
/// One attribute of two bytes and one of four.
const MARK_BYTES: usize = 2 * 8;

/// The service that is asked for; all where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question(pub Option<ServiceId>);

impl Emitable for Question {
    fn buffer_len(&self) -> usize {
        match self.0 {
            None => 0,
            Some(ServiceId::Address { .. }) => HEADER_BYTES + ADDRESS_BYTES,
            Some(ServiceId::FirewallMark { .. }) => HEADER_BYTES + MARK_BYTES,
        }
    }

    fn emit(&self, buffer: &mut [u8]) {
        match self.0 {
            None => {}
            Some(ServiceId::Address {
                protocol,
                address,
                port,
            }) => by_address(Writer(buffer), protocol, address, port),
            Some(ServiceId::FirewallMark { mark, family }) => {
                let mut writer = Writer(buffer);
                writer.header(IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED, MARK_BYTES);
                writer.attribute(IPVS_SVC_ATTR_AF, native(family_number(family)));
                writer.attribute(IPVS_SVC_ATTR_FWMARK, native_u32(mark));
            }
        }
    }
}

fn by_address(mut writer: Writer<'_>, protocol: Protocol, address: IpAddr, port: u16) {
    writer.header(IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED, ADDRESS_BYTES);
    let family = AddressFamily::of(address);
    writer.attribute(IPVS_SVC_ATTR_AF, native(family_number(family)));
    writer.attribute(IPVS_SVC_ATTR_PROTOCOL, native(protocol.0));
    writer.attribute(IPVS_SVC_ATTR_ADDR, address_bytes(address));
    writer.attribute(IPVS_SVC_ATTR_PORT, port.to_be_bytes());
}

/// What is left of the buffer, which begins with zeros and is as long as [`Question::buffer_len`] says.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn attribute<const N: usize>(&mut self, kind: u16, value: [u8; N]) {
        self.header(kind, N);
        self.bytes(value);
        let padding = N.next_multiple_of(4) - N;
        self.0 = std::mem::take(&mut self.0)
            .get_mut(padding..)
            .unwrap_or_default();
    }

    fn header(&mut self, kind: u16, value_bytes: usize) {
        // No value here is longer than an address.
        let length = u16::try_from(HEADER_BYTES + value_bytes).unwrap_or(u16::MAX);
        self.bytes(native(length));
        self.bytes(native(kind));
    }

    fn bytes<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some((place, rest)) = std::mem::take(&mut self.0).split_first_chunk_mut() {
            *place = bytes;
            self.0 = rest;
        }
    }
}

#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of the host"
)]
const fn native(value: u16) -> [u8; 2] {
    value.to_ne_bytes()
}

#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of the host"
)]
const fn native_u32(value: u32) -> [u8; 4] {
    value.to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable as _;

    use super::Question;
    use crate::{
        ipvs::wire::{Attribute, Attributes, service_identity},
        model::id::{AddressFamily, Protocol, ServiceId},
    };

    fn bytes(message: &impl netlink_packet_core::Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    #[test]
    fn a_service_is_identified_as_in_a_request_that_changes_it() {
        let address = |text: &str| ServiceId::Address {
            protocol: Protocol::UDP,
            address: text.parse().unwrap(),
            port: 0x1234,
        };
        let mark = |family| ServiceId::FirewallMark {
            mark: 0x0102_0304,
            family,
        };
        for id in [
            address("192.0.2.1"),
            address("2001:db8::1"),
            mark(AddressFamily::Ipv4),
            mark(AddressFamily::Ipv6),
        ] {
            let attributes = Attributes(vec![Attribute::Service(service_identity(&id))]);
            assert_eq!(bytes(&Question(Some(id))), bytes(&attributes), "{id}");
        }
    }

    #[test]
    fn all_services_are_asked_for_without_an_attribute() {
        assert_eq!(Question(None).buffer_len(), 0);
    }
}
