//! Requests to any generic netlink family, written attribute by attribute, and their
//! acknowledgements.
//!
//! What a request says is its family's: `ipvs_admin` has IPVS's, `tunnel` those of the
//! receivers of UDP. Answers that carry more than an acknowledgement are the agent's
//! matter; the number of a family is the only one read here.

use std::io;

use anyhow::{Context as _, Result, bail};
use ipvs_observer::ipvs::wire::{self, Body};
use netlink_packet_core::{
    DefaultNla, Emitable as _, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable, Nla,
};
use netlink_packet_generic::constants::{
    CTRL_ATTR_FAMILY_NAME, CTRL_CMD_GETFAMILY, GENL_HDRLEN, GENL_ID_CTRL,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The version that every family used here has.
const VERSION: u8 = 1;

/// A command with its attributes.
#[derive(Clone, Debug)]
pub struct Request {
    /// The family's number.
    pub family: u16,
    /// The family's command.
    pub command: u8,
    /// Its attributes, in the order of the message.
    pub attributes: Vec<DefaultNla>,
}

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        GENL_HDRLEN + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(GENL_HDRLEN);
        header.copy_from_slice(&[self.command, VERSION, 0, 0]);
        self.attributes.as_slice().emit(attributes);
    }
}

/// An attribute that holds others.
pub fn nest(kind: u16, attributes: &[DefaultNla]) -> DefaultNla {
    let mut value = vec![0; attributes.buffer_len()];
    attributes.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// A typed attribute among those that have no type of their own.
pub fn untyped(attribute: &impl Nla) -> DefaultNla {
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    DefaultNla::new(attribute.kind(), value)
}

/// Text with the zero byte that ends it.
pub fn text(kind: u16, text: &str) -> DefaultNla {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    DefaultNla::new(kind, value)
}

/// A number of 16 bits.
#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of its host"
)]
pub fn number16(kind: u16, number: u16) -> DefaultNla {
    DefaultNla::new(kind, number.to_ne_bytes().into())
}

/// A number of 32 bits.
#[expect(
    clippy::host_endian_bytes,
    reason = "netlink speaks the byte order of its host"
)]
pub fn number32(kind: u16, number: u32) -> DefaultNla {
    DefaultNla::new(kind, number.to_ne_bytes().into())
}

/// A port.
pub fn port(kind: u16, port: u16) -> DefaultNla {
    DefaultNla::new(kind, port.to_be_bytes().into())
}

/// Opens a socket to the kernel in the calling thread's network namespace.
pub fn open_socket() -> Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC).context("cannot open a netlink socket")?;
    socket.bind_auto().context("cannot bind a netlink socket")?;
    socket
        .connect(&SocketAddr::new(0, 0))
        .context("cannot connect a netlink socket to the kernel")?;
    Ok(socket)
}

/// A message that the kernel answers only if it fails.
pub fn message(request: Request) -> NetlinkMessage<Request> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    message
}

/// Sends one request from the calling thread's network namespace and waits until the
/// kernel has done it.
pub fn execute(request: Request) -> Result<()> {
    let mut message = message(request);
    message.header.flags |= NLM_F_ACK;
    acknowledged(&exchange(&message)?)
}

/// The number of the family `name`, which the kernel loads if it has to.
pub fn family(name: &str) -> Result<u16> {
    let context = || format!("cannot find the generic netlink family {name}");
    let request = Request {
        family: GENL_ID_CTRL,
        command: CTRL_CMD_GETFAMILY,
        attributes: vec![text(CTRL_ATTR_FAMILY_NAME, name)],
    };
    let answer = exchange(&message(request)).with_context(context)?;
    let Body::Family { attributes, .. } = first(&answer).with_context(context)? else {
        return acknowledged(&answer)
            .and_then(|()| bail!("the kernel describes no family"))
            .with_context(context);
    };
    wire::family_number(attributes, name)
        .with_context(context)?
        .with_context(context)
}

/// Fails unless the first message of an answer acknowledges the request.
pub fn acknowledged(answer: &[u8]) -> Result<()> {
    let body = first(answer)?;
    let Body::Error(code) = body else {
        bail!("expected an acknowledgement, got {body:?}");
    };
    if code != 0 {
        let reason = io::Error::from_raw_os_error(code.saturating_neg());
        return Err(reason).context("the kernel refused");
    }
    Ok(())
}

fn exchange(message: &NetlinkMessage<Request>) -> Result<Vec<u8>> {
    let socket = open_socket()?;
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket
        .send(&bytes, 0)
        .context("cannot send a generic netlink request")?;
    let (answer, _sender) = socket
        .recv_from_full()
        .context("cannot receive a generic netlink answer")?;
    Ok(answer)
}

fn first(answer: &[u8]) -> Result<Body<'_>> {
    let message = wire::messages(answer)
        .next()
        .context("the kernel sent nothing")?;
    let message = message.context("cannot decode a generic netlink answer")?;
    Ok(message.body)
}
