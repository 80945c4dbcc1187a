//! One socket, and what can go wrong between a request and the end of its answer.

use std::{fmt, io};

use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use rustix::io::Errno;

use super::{
    ATTEMPTS, NetlinkError,
    answer::{Expected, Extent, Kind},
};
use crate::ipvs::wire::WireError;

/// What is offered to `recv` at first. The kernel makes datagrams as large as the largest buffer
/// that the socket was ever read into (`netlink_dump` and `netlink_recvmsg` in
/// `net/netlink/af_netlink.c`), and many kernels zero what they make, filled or not: most services
/// have few destinations, and 32 KiB for each would cost more than all the rest. With the 320
/// bytes that the kernel adds, this stays within 8 KiB.
const SMALL_DATAGRAM_BYTES: usize = 8 * 1024 - 512;
/// What is offered once an answer did not fit: the kernel makes no larger datagrams.
const LARGE_DATAGRAM_BYTES: usize = 32 * 1024;
/// Makes `recv` return the length of the datagram instead of what fitted.
const MSG_TRUNC: i32 = 0x20;

/// One socket with its buffers.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    sequence: u32,
    /// Whether answers to an abandoned request may still be waiting in the socket.
    is_stale: bool,
}

impl Connection {
    pub(super) fn open(request: &'static str) -> Result<Self, NetlinkError> {
        Ok(Self {
            socket: open_socket(request)?,
            outgoing: Vec::new(),
            incoming: Vec::with_capacity(SMALL_DATAGRAM_BYTES),
            sequence: 0,
            is_stale: false,
        })
    }

    /// Sends `payload` and reads the whole answer into `entries`, in place of what they hold.
    pub(super) fn ask<Q, T>(
        &mut self,
        expected: &Expected,
        payload: Q,
        entries: &mut Vec<T>,
        mut read: impl FnMut(&[u8]) -> Result<T, WireError>,
    ) -> Result<Extent, NetlinkError>
    where
        Q: GenlFamily + Emitable + fmt::Debug,
    {
        let request = expected.request;
        serialize(expected, payload, &mut self.outgoing);
        let mut answer = Err(NetlinkError::Lost { request });
        for _ in 0..ATTEMPTS {
            if self.is_stale {
                self.socket = open_socket(request)?;
            }
            self.is_stale = true;
            self.sequence = self.sequence.wrapping_add(1);
            NetlinkBuffer::new(&mut self.outgoing).set_sequence_number(self.sequence);
            retry_interrupted(|| self.socket.send(&self.outgoing, 0))
                .map_err(|source| NetlinkError::Socket { request, source })?;
            entries.clear();
            let receive = |buffer: &mut Vec<u8>| self.socket.recv(buffer, MSG_TRUNC);
            answer = collect(
                expected,
                self.sequence,
                receive,
                &mut self.incoming,
                entries,
                &mut read,
            );
            match answer {
                Err(NetlinkError::Lost { .. }) => {}
                Err(NetlinkError::Truncated { .. }) => self.enlarge(),
                _ => {
                    self.is_stale = answer.is_err();
                    break;
                }
            }
        }
        answer
    }

    /// Makes the kernel use small datagrams again, which takes a new socket.
    pub(super) fn shrink(&mut self) -> Result<(), NetlinkError> {
        if self.incoming.capacity() >= LARGE_DATAGRAM_BYTES {
            self.incoming = Vec::with_capacity(SMALL_DATAGRAM_BYTES);
            self.socket = open_socket("read the table of IPVS")?;
            self.is_stale = false;
        }
        Ok(())
    }

    /// Makes the kernel send larger datagrams from now on.
    pub(super) fn enlarge(&mut self) {
        self.incoming.clear();
        self.incoming.reserve_exact(LARGE_DATAGRAM_BYTES);
    }
}

/// Writes the request as it is sent, but for its number.
fn serialize<Q>(expected: &Expected, payload: Q, bytes: &mut Vec<u8>)
where
    Q: GenlFamily + Emitable + fmt::Debug,
{
    let mut message = GenlMessage::from_payload(payload);
    message.set_resolved_family_id(expected.family);
    let mut header = NetlinkHeader::default();
    header.flags = match expected.kind {
        Kind::One => NLM_F_REQUEST,
        Kind::Dump => NLM_F_REQUEST | NLM_F_DUMP,
    };
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    bytes.clear();
    bytes.resize(message.buffer_len(), 0);
    message.serialize(bytes);
}

/// Receives datagrams until the answer to request `sequence` is whole.
fn collect<T>(
    expected: &Expected,
    sequence: u32,
    mut receive: impl FnMut(&mut Vec<u8>) -> io::Result<usize>,
    buffer: &mut Vec<u8>,
    entries: &mut Vec<T>,
    mut read: impl FnMut(&[u8]) -> Result<T, WireError>,
) -> Result<Extent, NetlinkError> {
    let request = expected.request;
    let mut extent = Extent::default();
    loop {
        buffer.clear();
        let length = retry_interrupted(|| receive(buffer)).map_err(|source| {
            match Errno::from_io_error(&source) {
                Some(Errno::NOBUFS) => NetlinkError::Lost { request },
                _ => NetlinkError::Socket { request, source },
            }
        })?;
        if length > buffer.len() {
            return Err(NetlinkError::Truncated { request, length });
        }
        if length == 0 {
            return Err(NetlinkError::Unexpected {
                request,
                what: "an empty datagram".to_owned(),
            });
        }
        if expected.read(sequence, buffer, &mut extent, entries, &mut read)? {
            return Ok(extent);
        }
    }
}

/// A socket to the kernel; since it is connected, nobody else can send to it.
fn open_socket(request: &'static str) -> Result<Socket, NetlinkError> {
    let open = || {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(socket)
    };
    open().map_err(|source| NetlinkError::Socket { request, source })
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests;
