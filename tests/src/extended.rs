//! SYNs over IPv6 with an extension header in front of them, of clients that give up: the kernel of the client knows
//! nothing of them and resets what is answered.
//!
//! Packets are written whole to a raw socket.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{flood::checksum, netns::Netns};

/// Of the socket interface: packets have their IP headers already.
const IPPROTO_RAW: i32 = 255;
const IPPROTO_TCP: u8 = 6;
/// `IPPROTO_DSTOPTS` of RFC 8200, 4.6.
const DESTINATION_OPTIONS: u8 = 60;

const IP_HEADER_BYTES: usize = 40;
const TCP_HEADER_BYTES: usize = 20;
/// What follows the IP header.
const PAYLOAD_BYTES: u16 = 28;
const SYN: u8 = 0x02;
/// Where a reader that overlooks the options finds the flags is the second byte: a SYN to it too.
const SEQUENCE: u32 = 0x0002_0000;

/// Sends one SYN with empty destination options from `client` to `target`, from each of `ports`.
pub fn send_syns(
    client: &Netns,
    target: SocketAddr,
    ports: impl Iterator<Item = u16>,
) -> Result<()> {
    let SocketAddr::V6(target) = target else {
        bail!("IPv4 has no extension headers");
    };
    let (socket, source) = client.run(|| {
        let protocol = Some(Protocol::from(IPPROTO_RAW));
        let socket = Socket::new(Domain::IPV6, Type::RAW, protocol);
        Ok((socket.context("cannot make a raw socket")?, source(target)?))
    })?;
    // A raw socket takes no port.
    let destination = SocketAddrV6::new(*target.ip(), 0, 0, 0).into();
    for port in ports {
        let packet = syn(source, port, target);
        let sent = socket.send_to(&packet, &destination);
        sent.with_context(|| format!("cannot send the SYN of port {port}"))?;
    }
    Ok(())
}

/// The address from which the calling thread's namespace reaches `target`.
fn source(target: SocketAddrV6) -> Result<Ipv6Addr> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    socket.connect(target)?;
    match socket.local_addr()? {
        SocketAddr::V6(source) => Ok(*source.ip()),
        SocketAddr::V4(_) => bail!("an IPv6 socket has an IPv4 address"),
    }
}

fn syn(source: Ipv6Addr, port: u16, target: SocketAddrV6) -> Vec<u8> {
    let mut ip = [0; IP_HEADER_BYTES];
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&PAYLOAD_BYTES.to_be_bytes());
    ip[6] = DESTINATION_OPTIONS;
    ip[7] = 64;
    ip[8..24].copy_from_slice(&source.octets());
    ip[24..40].copy_from_slice(&target.ip().octets());
    // Followed by TCP, no further eight bytes, and four bytes of padding (PadN).
    let options = [IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0];
    let mut tcp = [0; TCP_HEADER_BYTES];
    tcp[0..2].copy_from_slice(&port.to_be_bytes());
    tcp[2..4].copy_from_slice(&target.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&SEQUENCE.to_be_bytes());
    // Five words.
    tcp[12] = 0x50;
    tcp[13] = SYN;
    tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    let checksum = checksum(&ip[8..40], &tcp);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    [ip.as_slice(), &options, &tcp].concat()
}
