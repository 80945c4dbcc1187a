//! Many changes to the IPVS table at once: one socket, many requests in a datagram, and one
//! acknowledgement for all of them.
//!
//! Large tables are made of tens of thousands of requests; one at a time they would take the
//! guest minutes.

use anyhow::{Context as _, Result, bail};
use ipvs_observer::{
    ipvs::{
        netlink::Ipvs,
        wire::{IPVS_CMD_NEW_DEST, IPVS_CMD_NEW_SERVICE},
    },
    model::id::{DestinationId, ForwardingMethod, ServiceId},
};
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NetlinkMessage};
use netlink_sys::Socket;

use super::message::{self, Affinity};
use crate::genetlink::{self, Request};

/// Requests in a datagram: 40 kB, a fifth of what a socket may send at once by default.
const DATAGRAM: usize = 256;

/// Changes that are under way. What is not sent yet when it is dropped is lost: call
/// [`Bulk::finish`].
#[derive(Debug)]
pub struct Bulk {
    socket: Socket,
    family: u16,
    pending: Vec<NetlinkMessage<Request>>,
}

impl Bulk {
    /// Opens the socket in the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        Ok(Self {
            socket: genetlink::open_socket()?,
            family: Ipvs::open()?.family(),
            pending: Vec::new(),
        })
    }

    /// Adds a service without destinations.
    pub fn add_service(&mut self, service: &ServiceId, scheduler: &str) -> Result<()> {
        let settings = message::full_service(service, scheduler, Affinity::Connection);
        self.push(IPVS_CMD_NEW_SERVICE, vec![settings])
    }

    /// Adds a real server of weight 1 to a service.
    pub fn add_destination(
        &mut self,
        service: &ServiceId,
        destination: &DestinationId,
        method: ForwardingMethod,
    ) -> Result<()> {
        let settings = message::full_destination(destination, method, 1);
        self.push(IPVS_CMD_NEW_DEST, vec![message::service(service), settings])
    }

    /// Waits until the kernel has done all.
    pub fn finish(mut self) -> Result<()> {
        self.flush()
    }

    fn push(&mut self, command: u8, attributes: Vec<DefaultNla>) -> Result<()> {
        self.pending.push(genetlink::message(Request {
            family: self.family,
            command,
            attributes,
        }));
        if self.pending.len() < DATAGRAM {
            return Ok(());
        }
        self.flush()
    }

    /// The kernel does requests in their order and reports each that fails, so the
    /// acknowledgement of the last one comes first only if all went well.
    fn flush(&mut self) -> Result<()> {
        let Some(last) = self.pending.last_mut() else {
            return Ok(());
        };
        last.header.flags |= NLM_F_ACK;
        let mut datagram = Vec::new();
        for request in self.pending.drain(..) {
            let start = datagram.len();
            datagram.resize(start + request.buffer_len(), 0);
            let Some(place) = datagram.get_mut(start..) else {
                bail!("a vector is as long as it was made");
            };
            request.serialize(place);
        }
        self.socket
            .send(&datagram, 0)
            .context("cannot send IPVS requests")?;
        let (answer, _sender) = self
            .socket
            .recv_from_full()
            .context("cannot receive an IPVS answer")?;
        genetlink::acknowledged(&answer).context("one of many changes of the table failed")
    }
}
