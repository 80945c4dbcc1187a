//! One socket, and what can go wrong between a request and the end of its answer.

use std::{fmt, io};

use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    ParseableParametrized,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use rustix::io::Errno;

use super::{
    NetlinkError,
    answer::{Answer, Expected},
};

/// How often a dump is begun again because the socket ran full, and a table because it changed.
pub(super) const ATTEMPTS: u32 = 3;

/// The kernel fills at most 32 KiB per datagram, so this never truncates one.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// Makes `recv` return the length of the datagram instead of what fitted.
const MSG_TRUNC: i32 = 0x20;

/// One socket with its buffer.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
    /// Whether answers to an abandoned request may still be waiting in the socket.
    is_stale: bool,
}

impl Connection {
    pub(super) fn open(request: &'static str) -> Result<Self, NetlinkError> {
        Ok(Self {
            socket: open_socket(request)?,
            buffer: Vec::with_capacity(RECEIVE_BUFFER_BYTES),
            sequence: 0,
            is_stale: false,
        })
    }

    /// Sends `payload` as a request for everything and collects the answer to its end.
    pub(super) fn dump<Q, R>(
        &mut self,
        family: u16,
        payload: &Q,
        request: &'static str,
    ) -> Result<Answer<R>, NetlinkError>
    where
        Q: GenlFamily + Emitable + Clone + fmt::Debug,
        R: ParseableParametrized<[u8], GenlHeader> + fmt::Debug,
    {
        for _ in 0..ATTEMPTS {
            if self.is_stale {
                self.socket = open_socket(request)?;
            }
            self.is_stale = true;
            self.sequence = self.sequence.wrapping_add(1);
            self.send(family, payload.clone(), request)?;
            if let Some(answer) = self.collect(family, request)? {
                self.is_stale = false;
                return Ok(answer);
            }
        }
        Err(NetlinkError::Lost { request })
    }

    fn send<Q>(&self, family: u16, payload: Q, request: &'static str) -> Result<(), NetlinkError>
    where
        Q: GenlFamily + Emitable + fmt::Debug,
    {
        let mut message = GenlMessage::from_payload(payload);
        message.set_resolved_family_id(family);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        retry_interrupted(|| self.socket.send(&bytes, 0))
            .map(|_sent| ())
            .map_err(|source| NetlinkError::Socket { request, source })
    }

    /// `None` if the kernel dropped a part of the answer because the socket was full.
    fn collect<R>(
        &mut self,
        family: u16,
        request: &'static str,
    ) -> Result<Option<Answer<R>>, NetlinkError>
    where
        R: ParseableParametrized<[u8], GenlHeader> + fmt::Debug,
    {
        let expected = Expected {
            request,
            family,
            sequence: self.sequence,
        };
        let mut answer = Answer::default();
        loop {
            self.buffer.clear();
            let received = retry_interrupted(|| self.socket.recv_from(&mut self.buffer, MSG_TRUNC));
            let (length, sender) = match received {
                Ok(received) => received,
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                    return Ok(None);
                }
                Err(source) => return Err(NetlinkError::Socket { request, source }),
            };
            if sender.port_number() != 0 {
                // Not from the kernel.
                continue;
            }
            if length > self.buffer.len() {
                return Err(NetlinkError::Truncated { request, length });
            }
            if expected.read(&self.buffer, &mut answer)? {
                return Ok(Some(answer));
            }
        }
    }
}

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
