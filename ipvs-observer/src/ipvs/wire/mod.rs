//! The messages of the generic netlink family `IPVS`, both ways and without a socket.
//!
//! A `Request` is a command with what it is about. What the agent asks is about a `Question`; a list
//! of typed `Attributes`, written in the manner of netlink-packet, is for the lab, which sets up
//! directors to observe: the agent sends none. Answers are read straight from the bytes of a datagram into what the table is
//! made of, because a table has tens of thousands of entries. What is not known is skipped; what
//! is malformed, missing or contradicts itself is an error that names the attribute.
//!
//! Formats and numbers are those of the kernel's `include/uapi/linux/ip_vs.h`.

#![warn(clippy::indexing_slicing)]

mod attr;
mod datagram;
mod destination;
mod family;
mod general;
mod question;
mod read;
mod service;
mod stats;

use netlink_packet_core::Emitable;
use netlink_packet_generic::GenlFamily;

pub use self::{
    attr::Attribute,
    datagram::{Body, Message, messages},
    destination::{DestinationAttribute, destination, destination_identity},
    family::family_number,
    general::{daemon, info, timeouts},
    question::Question,
    read::WireError,
    service::{
        IP_VS_SVC_F_HASHED, IP_VS_SVC_F_ONEPACKET, IP_VS_SVC_F_PERSISTENT, ServiceAttribute,
        named_service, service, service_identity,
    },
};

/// The name the family is registered under.
pub const IPVS_GENL_NAME: &str = "IPVS";
/// The only version of the family there has been.
pub const IPVS_GENL_VERSION: u8 = 1;

/// Adds a service; also the command of every answer to [`IPVS_CMD_GET_SERVICE`].
pub const IPVS_CMD_NEW_SERVICE: u8 = 1;
/// Changes a service.
pub const IPVS_CMD_SET_SERVICE: u8 = 2;
/// Removes a service with its destinations.
pub const IPVS_CMD_DEL_SERVICE: u8 = 3;
/// Asks for one service, or with `NLM_F_DUMP` for all.
pub const IPVS_CMD_GET_SERVICE: u8 = 4;
/// Adds a destination; also the command of every answer to [`IPVS_CMD_GET_DEST`].
pub const IPVS_CMD_NEW_DEST: u8 = 5;
/// Changes a destination.
pub const IPVS_CMD_SET_DEST: u8 = 6;
/// Removes a destination.
pub const IPVS_CMD_DEL_DEST: u8 = 7;
/// Asks with `NLM_F_DUMP` for all destinations of one service.
pub const IPVS_CMD_GET_DEST: u8 = 8;
/// The command of every answer to [`IPVS_CMD_GET_DAEMON`].
pub const IPVS_CMD_NEW_DAEMON: u8 = 9;
/// Asks with `NLM_F_DUMP` for the threads that exchange connections with other directors.
pub const IPVS_CMD_GET_DAEMON: u8 = 11;
/// The command of the answer to [`IPVS_CMD_GET_CONFIG`].
pub const IPVS_CMD_SET_CONFIG: u8 = 12;
/// Asks for the timeouts.
pub const IPVS_CMD_GET_CONFIG: u8 = 13;
/// The command of the answer to [`IPVS_CMD_GET_INFO`].
pub const IPVS_CMD_SET_INFO: u8 = 14;
/// Asks for version and size.
pub const IPVS_CMD_GET_INFO: u8 = 15;
/// Zeroes the counters of one service, or of all.
pub const IPVS_CMD_ZERO: u8 = 16;
/// Removes all services.
pub const IPVS_CMD_FLUSH: u8 = 17;

/// A message to the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<C> {
    /// One of the `IPVS_CMD_` constants.
    pub command: u8,
    /// What it is about: a [`Question`] or [`Attributes`].
    pub content: C,
}

/// The attributes of a message in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes(pub Vec<Attribute>);

impl<C> GenlFamily for Request<C> {
    fn family_name() -> &'static str {
        IPVS_GENL_NAME
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        IPVS_GENL_VERSION
    }
}

impl<C: Emitable> Emitable for Request<C> {
    fn buffer_len(&self) -> usize {
        self.content.buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.content.emit(buffer);
    }
}

impl Emitable for Attributes {
    fn buffer_len(&self) -> usize {
        self.0.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.0.as_slice().emit(buffer);
    }
}

#[cfg(test)]
pub(super) mod testing;
