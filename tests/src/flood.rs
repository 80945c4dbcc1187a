//! A flood of SYNs, each from another client that does not exist.
//!
//! Packets are written whole to a raw socket, so that the kernel keeps nothing of them. Answers
//! go to a network of which the client's namespace knows nothing, and end there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    director::{CLIENT_V4, Lab},
    link::{self, Cidr},
};

/// The network of the clients, which is for such tests (RFC 2544).
const NETWORK: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const PREFIX_LEN: u8 = 15;
/// Addresses of the network.
const ADDRESSES: u32 = 1 << (32 - PREFIX_LEN);
/// The lowest port of a client.
const FIRST_PORT: u16 = 1024;

/// Of the socket interface: packets have their IP headers already.
const IPPROTO_RAW: i32 = 255;
const IPPROTO_TCP: u8 = 6;

const IP_HEADER_BYTES: usize = 20;
const TCP_HEADER_LEN: u8 = 20;
const TCP_HEADER_BYTES: usize = TCP_HEADER_LEN as usize;
const SYN: u8 = 0x02;

/// Where SYNs come from.
#[derive(Debug)]
pub struct Flood {
    socket: Socket,
    target: SocketAddrV4,
    sent: u32,
}

impl Flood {
    /// A flood at `target` from the client of `lab`.
    pub fn new(lab: &Lab, target: SocketAddr) -> Result<Self> {
        let SocketAddr::V4(target) = target else {
            bail!("a flood is of IPv4");
        };
        let network = Cidr {
            address: IpAddr::V4(NETWORK),
            prefix_len: PREFIX_LEN,
        };
        link::add_route(lab.director(), network, CLIENT_V4)?;
        let socket = lab.client().run(|| {
            let protocol = Protocol::from(IPPROTO_RAW);
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(protocol))
                .context("cannot make a raw socket")?;
            let address = SocketAddr::V4(target);
            socket.connect(&address.into())?;
            Ok(socket)
        })?;
        Ok(Self {
            socket,
            target,
            sent: 0,
        })
    }

    /// Sends `count` SYNs, each from an endpoint that has sent none before.
    pub fn send(&mut self, count: u32) -> Result<()> {
        for _ in 0..count {
            let packet = self.syn()?;
            let sent = self.socket.send(&packet);
            sent.with_context(|| format!("cannot send SYN {}", self.sent))?;
            self.sent += 1;
        }
        Ok(())
    }

    /// The next one.
    fn syn(&self) -> Result<[u8; IP_HEADER_BYTES + TCP_HEADER_BYTES]> {
        let client = Ipv4Addr::from(u32::from(NETWORK) + self.sent % ADDRESSES);
        let port = FIRST_PORT + u16::try_from(self.sent / ADDRESSES)?;
        let mut ip = [0; IP_HEADER_BYTES];
        // Version 4, five words; the kernel writes the length and the checksum.
        ip[0] = 0x45;
        ip[8] = 64;
        ip[9] = IPPROTO_TCP;
        ip[12..16].copy_from_slice(&client.octets());
        ip[16..20].copy_from_slice(&self.target.ip().octets());
        let mut tcp = [0; TCP_HEADER_BYTES];
        tcp[0..2].copy_from_slice(&port.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.target.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.sent.to_be_bytes());
        // Five words.
        tcp[12] = 0x50;
        tcp[13] = SYN;
        tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        let checksum = checksum(&ip[12..20], &tcp);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        let mut packet = [0; IP_HEADER_BYTES + TCP_HEADER_BYTES];
        packet[..IP_HEADER_BYTES].copy_from_slice(&ip);
        packet[IP_HEADER_BYTES..].copy_from_slice(&tcp);
        Ok(packet)
    }
}

/// The checksum of a TCP header without payload between two addresses (RFC 9293, 3.1).
pub(crate) fn checksum(addresses: &[u8], header: &[u8; TCP_HEADER_BYTES]) -> u16 {
    let [addresses, header] = [addresses, header].map(|bytes| bytes.as_chunks::<2>().0);
    let words = addresses.iter().chain(header);
    let words = words.map(|word| u32::from(u16::from_be_bytes(*word)));
    let mut sum = words.sum::<u32>() + u32::from(IPPROTO_TCP) + u32::from(TCP_HEADER_LEN);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
