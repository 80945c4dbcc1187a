//! The least that any program has to do to get at what IPVS says: the kernel's part of the work,
//! and a process around it.
//!
//! `/bin/lab bench walk` asks for all services and for the destinations of each, and looks at
//! nothing but the identities that its requests have to carry.
//! `/bin/lab bench read FILE` reads a file to its end into one buffer.

use std::{fs::File, io::Read as _};

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::ipvs::{
    netlink::Ipvs,
    wire::{IPVS_CMD_GET_DEST, IPVS_CMD_GET_SERVICE, IPVS_GENL_VERSION},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The kernel fills datagrams of a dump up to 32 KiB if the receiver has room for them. It finds
/// its place again for each by counting services from the first, so the fewer the better.
const LARGE_BYTES: usize = 32 * 1024;
/// It makes two datagrams for each service's destinations, as large as the largest buffer that the
/// socket has ever received into (`netlink_recvmsg`, Linux 6.12), and clears them.
const SMALL_BYTES: usize = 4 * 1024;
/// `NLMSG_DONE`
const DONE: u16 = 3;
const NLM_F_REQUEST_AND_DUMP: u16 = 0x301;
/// `struct nlmsghdr` and `struct genlmsghdr`.
const HEADERS_BYTES: usize = 16 + 4;
/// `struct nlattr` of the service's nest, which comes first.
const NEST_BYTES: usize = 4;
/// Family, protocol, address and port lead the nest of a service without firewall mark
/// (`ip_vs_genl_fill_service`, Linux 6.12): 8, 8, 20 and 8 bytes.
const IDENTITY_BYTES: usize = 44;

/// A table is walked once, as a list of it has to.
pub(super) fn walk() -> Result<()> {
    let family = Ipvs::open()?.family();
    let mut walk = Walk::open(family, LARGE_BYTES)?;
    let mut identities = Vec::new();
    walk.dump(IPVS_CMD_GET_SERVICE, &[], |message| {
        let start = HEADERS_BYTES + NEST_BYTES;
        let identity = message.get(start..start + IDENTITY_BYTES);
        identities.extend_from_slice(identity.context("an answer is too short for a service")?);
        Ok(())
    })?;
    let mut walk = Walk::open(family, SMALL_BYTES)?;
    let mut destinations = 0_u64;
    for identity in identities.as_chunks::<IDENTITY_BYTES>().0 {
        walk.dump(IPVS_CMD_GET_DEST, identity, |_message| {
            destinations += 1;
            Ok(())
        })?;
    }
    ensure!(destinations > 0, "the table is empty");
    Ok(())
}

/// A file is read once, as a list made from it has to.
pub(super) fn read(path: &str) -> Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    let mut buffer = vec![0; LARGE_BYTES];
    while file
        .read(&mut buffer)
        .with_context(|| format!("cannot read {path}"))?
        > 0
    {}
    Ok(())
}

/// The socket and what it needs for each request.
struct Walk {
    socket: Socket,
    family: u16,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Walk {
    fn open(family: u16, buffer_bytes: usize) -> Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC).context("cannot open a netlink socket")?;
        socket.bind_auto().context("cannot bind a netlink socket")?;
        socket
            .connect(&SocketAddr::new(0, 0))
            .context("cannot connect a netlink socket to the kernel")?;
        Ok(Self {
            socket,
            family,
            request: Vec::new(),
            buffer: Vec::with_capacity(buffer_bytes),
        })
    }

    /// Asks for everything of a kind, for destinations those of the service with `identity`, and
    /// hands over each message of the answer.
    fn dump(
        &mut self,
        command: u8,
        identity: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.write_request(command, identity)?;
        self.socket
            .send(&self.request, 0)
            .context("cannot send an IPVS request")?;
        loop {
            self.buffer.clear();
            self.socket
                .recv(&mut self.buffer, 0)
                .context("cannot receive an IPVS answer")?;
            let mut rest = self.buffer.as_slice();
            while let Some((header, _)) = rest.split_first_chunk() {
                let header: [u8; 6] = *header;
                let [a, b, c, d, kind @ ..] = header;
                if native_u16(kind) == DONE {
                    return Ok(());
                }
                ensure!(native_u16(kind) == self.family, "the kernel refused");
                let length = usize::try_from(native_u32([a, b, c, d]))?;
                let message = rest.get(..length).context("an answer was cut off")?;
                each(message)?;
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }

    #[expect(clippy::host_endian_bytes, reason = "netlink is in host order")]
    fn write_request(&mut self, command: u8, identity: &[u8]) -> Result<()> {
        let nest = if identity.is_empty() {
            0
        } else {
            NEST_BYTES + identity.len()
        };
        let request = &mut self.request;
        request.clear();
        request.extend(u32::try_from(HEADERS_BYTES + nest)?.to_ne_bytes());
        request.extend(self.family.to_ne_bytes());
        request.extend(NLM_F_REQUEST_AND_DUMP.to_ne_bytes());
        // Sequence number and port: the socket has one request at a time.
        request.extend([0; 8]);
        request.extend([command, IPVS_GENL_VERSION, 0, 0]);
        if nest > 0 {
            /// `IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED`
            const SERVICE: u16 = 0x8001;
            request.extend(u16::try_from(nest)?.to_ne_bytes());
            request.extend(SERVICE.to_ne_bytes());
            request.extend_from_slice(identity);
        }
        Ok(())
    }
}

#[expect(clippy::host_endian_bytes, reason = "netlink is in host order")]
fn native_u16(bytes: [u8; 2]) -> u16 {
    u16::from_ne_bytes(bytes)
}

#[expect(clippy::host_endian_bytes, reason = "netlink is in host order")]
fn native_u32(bytes: [u8; 4]) -> u32 {
    u32::from_ne_bytes(bytes)
}
