//! One rtnetlink socket of one network namespace: a request goes out, its
//! acknowledgement comes back.
//!
//! A netlink socket stays in the namespace it was opened in, whichever thread uses
//! it later. What the requests say is in `link`.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// A socket to the kernel's routing and link tables.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Mutex<Socket>,
}

impl RouteSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open an rtnetlink socket")?;
        socket
            .bind_auto()
            .context("cannot bind an rtnetlink socket")?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .context("cannot connect an rtnetlink socket to the kernel")?;
        let socket = Mutex::new(socket);
        Ok(Self { socket })
    }

    /// Sends `request` with `flags` and waits until the kernel has done it.
    ///
    /// The lock is held over both, so that an acknowledgement finds its request.
    pub fn request(&self, request: RouteNetlinkMessage, flags: u16) -> Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);

        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        socket
            .send(&bytes, 0)
            .context("cannot send an rtnetlink request")?;
        let (answer, _) = socket
            .recv_from_full()
            .context("cannot receive an rtnetlink answer")?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)
            .context("cannot decode an rtnetlink answer")?;
        let NetlinkPayload::Error(outcome) = answer.payload else {
            bail!("expected an acknowledgement from rtnetlink, got {answer:?}");
        };
        if outcome.code.is_some() {
            return Err(outcome.to_io()).context("the kernel refused an rtnetlink request");
        }
        Ok(())
    }
}
