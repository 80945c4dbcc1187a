//! The only place that reads kernel memory: a pointer type for each structure, an accessor for each member that is used.

mod per_cpu;

use core::mem::transmute;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use ipvs_observer_common::{Loss, ServerKey};

use crate::globals::{forget, frozen};

pub(crate) use per_cpu::{CounterValues, live_counters};

/// `IP_VS_CONN_F_SYNC` of the uapi header `ip_vs.h`: made by the sync daemon, which sets its state afterwards.
pub(crate) const IP_VS_CONN_F_SYNC: u32 = 0x20;
/// `IP_VS_CONN_F_ONE_PACKET` of the uapi header `ip_vs.h`.
pub(crate) const IP_VS_CONN_F_ONE_PACKET: u32 = 0x2000;
/// `IP_VS_CONN_F_TEMPLATE` of the uapi header `ip_vs.h`: a persistence template, not a connection.
pub(crate) const IP_VS_CONN_F_TEMPLATE: u32 = 0x1000;

/// `IP_VS_CONN_F_NFCT` of the uapi header `ip_vs.h`: netfilter's connection tracking has an entry for it.
pub(crate) const IP_VS_CONN_F_NFCT: u32 = 0x1_0000;

/// `IP_VS_TCP_S_ESTABLISHED` of `include/net/ip_vs.h`.
pub(crate) const IP_VS_TCP_S_ESTABLISHED: u16 = 1;
/// `IP_VS_TCP_S_SYN_RECV` of `include/net/ip_vs.h`.
pub(crate) const IP_VS_TCP_S_SYN_RECV: u16 = 3;
/// `IP_VS_TCP_S_FIN_WAIT` of `include/net/ip_vs.h`.
pub(crate) const IP_VS_TCP_S_FIN_WAIT: u16 = 4;
/// `IP_VS_TCP_S_TIME_WAIT` of `include/net/ip_vs.h`.
pub(crate) const IP_VS_TCP_S_TIME_WAIT: u16 = 5;
/// `IP_VS_TCP_S_CLOSE` of `include/net/ip_vs.h`.
pub(crate) const IP_VS_TCP_S_CLOSE: u16 = 6;
/// `IP_VS_TCP_S_CLOSE_WAIT` of `include/net/ip_vs.h`.
pub(crate) const IP_VS_TCP_S_CLOSE_WAIT: u16 = 7;
/// `IP_VS_TCP_S_LAST_ACK` of `include/net/ip_vs.h`.
pub(crate) const IP_VS_TCP_S_LAST_ACK: u16 = 8;
/// `IP_VS_CONN_F_FWD_MASK` of the uapi header `ip_vs.h`: the forwarding method.
const IP_VS_CONN_F_FWD_MASK: u32 = 0x7;
/// `IP_VS_CONN_F_BYPASS` of the uapi header `ip_vs.h`: sent to where it was going, without a real server.
const IP_VS_CONN_F_BYPASS: u32 = 0x4;

/// `IP_VS_DEST_F_AVAILABLE` of `include/net/ip_vs.h`.
const IP_VS_DEST_F_AVAILABLE: u8 = 0x1;
/// `IP_VS_DEST_F_OVERLOAD` of `include/net/ip_vs.h`.
const IP_VS_DEST_F_OVERLOAD: u32 = 0x2;

/// Bound of the walk over the real servers of a service, for the verifier and for whoever waits.
const MAX_DESTS: u32 = 64;

/// `AF_INET` of `include/linux/socket.h`.
pub(crate) const AF_INET: u16 = 2;
/// `AF_INET6` of `include/linux/socket.h`.
pub(crate) const AF_INET6: u16 = 10;
/// `IPPROTO_TCP` of the uapi header `in.h`.
pub(crate) const IPPROTO_TCP: u8 = 6;

/// `struct ip_vs_conn *`.
#[derive(Clone, Copy)]
pub(crate) struct Conn(pub(crate) u64);

impl Conn {
    /// The connection whose `timer` lies at `timer`.
    pub(crate) fn from_timer(timer: u64) -> Self {
        Self(timer - u64::from(frozen!(LAYOUT.conn.timer.offset)))
    }

    /// The connection whose `rcu_head` lies at `head`.
    pub(crate) fn from_rcu_head(head: u64) -> Self {
        Self(head - u64::from(frozen!(LAYOUT.conn.callback_head.offset)))
    }

    #[inline(always)]
    pub(crate) fn flags(self) -> Result<u32, Loss> {
        read(self.0, frozen!(LAYOUT.conn.flags.offset))
    }

    #[inline(always)]
    pub(crate) fn state(self) -> Result<u16, Loss> {
        read(self.0, frozen!(LAYOUT.conn.state.offset))
    }

    /// Whether this is the connection's first packet: IPVS counts it and sets the state after the state transition.
    pub(crate) fn is_fresh(self) -> Result<bool, Loss> {
        let in_pkts: u32 = read(self.0, frozen!(LAYOUT.conn.in_pkts.offset))?;
        Ok(in_pkts == 0 && self.state()? == 0)
    }

    /// The connection's network namespace, if it is observed.
    #[inline(always)]
    pub(crate) fn observed_netns(self) -> Result<Option<u32>, Loss> {
        observed_netns(read(self.0, frozen!(LAYOUT.conn.ipvs.offset))?)
    }

    #[inline(always)]
    pub(crate) fn is_tcp(self) -> Result<bool, Loss> {
        let protocol: u16 = read(self.0, frozen!(LAYOUT.conn.protocol.offset))?;
        Ok(protocol == u16::from(IPPROTO_TCP))
    }

    /// Whether the expiry that begins now is the connection's end: nobody else holds it and it controls no other.
    #[inline(always)]
    pub(crate) fn is_unused(self) -> Result<bool, Loss> {
        let references: u32 = read(self.0, frozen!(LAYOUT.conn.refcnt.offset))?;
        let controlled: u32 = read(self.0, frozen!(LAYOUT.conn.n_control.offset))?;
        Ok(references == 1 && controlled == 0)
    }

    /// Of the client's endpoint and the virtual port, to tell connections at one address apart.
    #[inline(always)]
    pub(crate) fn fingerprint(self) -> Result<u32, Loss> {
        let client = self.client()?;
        let is_v4 = client.family == AF_INET;
        Ok(fingerprint(
            client.address,
            is_v4,
            client.port,
            client.virtual_port,
        ))
    }

    /// The members are neighbours up to 6.18, where one read does for all.
    #[inline(always)]
    fn client(self) -> Result<ClientEndpoint, Loss> {
        let [port, virtual_port, family, address] = [
            frozen!(LAYOUT.conn.cport.offset),
            frozen!(LAYOUT.conn.vport.offset),
            frozen!(LAYOUT.conn.af.offset),
            frozen!(LAYOUT.conn.caddr.offset),
        ];
        if virtual_port == port + 4 && family == port + 6 && address == port + 8 {
            return read(self.0, port);
        }
        Ok(ClientEndpoint {
            port: read(self.0, port)?,
            server_port: 0,
            virtual_port: read(self.0, virtual_port)?,
            family: self.family()?,
            address: read(self.0, address)?,
        })
    }

    /// Who speaks to whom by what.
    #[inline(always)]
    pub(crate) fn peer(self) -> Result<Peer, Loss> {
        let client = self.client()?;
        let [a, b, c, d] = client.address;
        // Of an IPv4 address the other words are not written.
        let kept = if client.family == AF_INET {
            0
        } else {
            u32::MAX
        };
        Ok(Peer {
            address: [a, b & kept, c & kept, d & kept],
            family: client.family,
            port: client.port,
            protocol: read(self.0, frozen!(LAYOUT.conn.protocol.offset))?,
        })
    }

    /// Its forwarding method, as `IP_VS_CONN_F_FWD_MASK` numbers it.
    #[inline(always)]
    pub(crate) fn method(self) -> Result<u8, Loss> {
        Ok((self.flags()? & IP_VS_CONN_F_FWD_MASK) as u8)
    }

    /// By what the fingerprint differs from that which it had before the client's port was known, as `ip_vs_ftp` makes
    /// connections of which the first packet tells the port (`IP_VS_CONN_F_NO_CPORT`).
    #[inline(always)]
    pub(crate) fn late_client_port(self) -> Result<u32, Loss> {
        let client: u16 = read(self.0, frozen!(LAYOUT.conn.cport.offset))?;
        Ok(u32::from(client) << 16)
    }

    /// Writes the identity of the real server that the connection goes to, or of the bypass of its service, into a key of
    /// which nothing but its namespace is known.
    #[inline(always)]
    pub(crate) fn name_server(self, key: &mut ServerKey) -> Result<(), Loss> {
        key.family = self.family()?;
        let dest = self.dest()?;
        if dest.0 == 0 {
            return self.name_bypass(key);
        }
        dest.name(key)
    }

    /// The pseudo-server of what a service of a firewall mark lets through to where it was going.
    #[inline(always)]
    fn name_bypass(self, key: &mut ServerKey) -> Result<(), Loss> {
        key.firewall_mark = read(self.0, frozen!(LAYOUT.conn.fwmark.offset))?;
        key.server_family = key.family;
        if self.flags()? & IP_VS_CONN_F_FWD_MASK != IP_VS_CONN_F_BYPASS || key.firewall_mark == 0 {
            return Err(Loss::Unbound);
        }
        Ok(())
    }

    /// Its real server; a null pointer if it has none.
    #[inline(always)]
    pub(crate) fn dest(self) -> Result<Dest, Loss> {
        read(self.0, frozen!(LAYOUT.conn.dest.offset)).map(Dest)
    }

    fn family(self) -> Result<u16, Loss> {
        let offset = frozen!(LAYOUT.conn.af.offset);
        if frozen!(LAYOUT.conn.af.size) == 1 {
            read::<u8>(self.0, offset).map(u16::from)
        } else {
            read(self.0, offset)
        }
    }
}

/// A client and its protocol; the family is 0 where no client is known.
#[derive(Default)]
pub(crate) struct Peer {
    /// In network order, an IPv4 address in the first word.
    pub(crate) address: [u32; 4],
    pub(crate) family: u16,
    /// In network order.
    pub(crate) port: u16,
    pub(crate) protocol: u16,
}

impl Peer {
    /// The same, of which the verifier knows nothing: one way leads on from all that lead to a client.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what was widened is narrowed again"
    )]
    pub(crate) fn forgotten(self) -> Self {
        let short = |number: u16| forget(u64::from(number)) as u16;
        Self {
            address: self.address.map(|word| forget(u64::from(word)) as u32),
            family: short(self.family),
            port: short(self.port),
            protocol: short(self.protocol),
        }
    }
}

/// Of a client, with the port that it came to, as `struct ip_vs_conn` keeps it.
#[repr(C)]
struct ClientEndpoint {
    port: u16,
    /// Not asked for.
    server_port: u16,
    virtual_port: u16,
    family: u16,
    address: [u32; 4],
}

/// `struct ip_vs_dest *`.
#[derive(Clone, Copy)]
pub(crate) struct Dest(pub(crate) u64);

impl Dest {
    /// Whether it is part of its service.
    #[inline(always)]
    pub(crate) fn is_available(self) -> Result<bool, Loss> {
        let flags: u8 = read(self.0, frozen!(LAYOUT.status.available.offset))?;
        Ok(flags & IP_VS_DEST_F_AVAILABLE != 0)
    }

    /// Whether it would be given connections if its threshold let it.
    #[inline(always)]
    fn is_overloaded(self) -> Result<bool, Loss> {
        let flags: u32 = read(self.0, frozen!(LAYOUT.status.flags.offset))?;
        let weight: i32 = read(self.0, frozen!(LAYOUT.status.weight.offset))?;
        Ok(flags & IP_VS_DEST_F_OVERLOAD != 0 && weight > 0)
    }

    /// Writes its identity into a key of which nothing but its namespace and the family of its service is known.
    #[inline(always)]
    pub(crate) fn name(self, key: &mut ServerKey) -> Result<(), Loss> {
        let end = self.endpoint()?;
        key.server_family = end.family;
        key.port = end.port;
        key.address = masked(end.address, end.family);
        let service = self.service()?;
        key.firewall_mark = service.firewall_mark;
        if service.firewall_mark == 0 {
            key.protocol = service.protocol;
            key.virtual_port = service.port;
            key.virtual_address = masked(service.address, key.family);
        }
        Ok(())
    }

    /// A read costs more than all that is done with it, and these members are neighbours in every kernel so far.
    #[inline(always)]
    fn endpoint(self) -> Result<Endpoint, Loss> {
        let [family, port, address] = [
            frozen!(LAYOUT.dest.af.offset),
            frozen!(LAYOUT.dest.port.offset),
            frozen!(LAYOUT.dest.addr.offset),
        ];
        if port == family + 2 && address == family + 4 {
            return read(self.0, family);
        }
        Ok(Endpoint {
            family: read(self.0, family)?,
            port: read(self.0, port)?,
            address: read(self.0, address)?,
        })
    }

    /// As [`Self::endpoint`].
    #[inline(always)]
    fn service(self) -> Result<VirtualEndpoint, Loss> {
        let [protocol, port, address, firewall_mark] = [
            frozen!(LAYOUT.dest.protocol.offset),
            frozen!(LAYOUT.dest.vport.offset),
            frozen!(LAYOUT.dest.vaddr.offset),
            frozen!(LAYOUT.dest.vfwmark.offset),
        ];
        if port == protocol + 2 && address == protocol + 4 && firewall_mark == protocol + 20 {
            return read(self.0, protocol);
        }
        Ok(VirtualEndpoint {
            protocol: read(self.0, protocol)?,
            port: read(self.0, port)?,
            address: read(self.0, address)?,
            firewall_mark: read(self.0, firewall_mark)?,
        })
    }
}

/// A real server's, as `struct ip_vs_dest` keeps it.
#[repr(C)]
struct Endpoint {
    family: u16,
    port: u16,
    address: [u32; 4],
}

/// A service's, as `struct ip_vs_dest` keeps it.
#[repr(C)]
struct VirtualEndpoint {
    protocol: u16,
    port: u16,
    address: [u32; 4],
    firewall_mark: u32,
}

/// What counts of an address in a place for either family (`union nf_inet_addr`).
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the mask is a number of 32 bits"
)]
fn masked(mut words: [u32; 4], family: u16) -> [u8; 16] {
    let behind_v4 = if family == AF_INET { 0 } else { u32::MAX };
    // One way for both families from here on.
    let behind_v4 = forget(u64::from(behind_v4)) as u32;
    for word in &mut words[1..] {
        *word &= behind_v4;
    }
    // SAFETY: both are sixteen bytes of any pattern.
    unsafe { transmute(words) }
}

/// `struct ip_vs_service *`.
#[derive(Clone, Copy)]
pub(crate) struct Service(pub(crate) u64);

impl Service {
    /// Whether a real server would be given connections if its threshold let it; asked of the first [`MAX_DESTS`] only.
    #[inline(always)]
    pub(crate) fn is_overloaded(self) -> Result<bool, Loss> {
        let head = self.0 + u64::from(frozen!(LAYOUT.status.destinations.offset));
        let mut node: u64 = read_at(head)?;
        for _ in 0..MAX_DESTS {
            if node == head {
                break;
            }
            if Dest(node - u64::from(frozen!(LAYOUT.status.n_list.offset))).is_overloaded()? {
                return Ok(true);
            }
            node = read_at(node)?;
        }
        Ok(false)
    }

    /// The service's network namespace, if it is observed.
    #[inline(always)]
    pub(crate) fn observed_netns(self) -> Result<Option<u32>, Loss> {
        observed_netns(read(self.0, frozen!(LAYOUT.service.ipvs.offset))?)
    }

    /// Writes the identity of the service itself into a key of which nothing but its namespace is known.
    #[inline(always)]
    pub(crate) fn name(self, key: &mut ServerKey) -> Result<(), Loss> {
        key.family = read(self.0, frozen!(LAYOUT.service.af.offset))?;
        key.firewall_mark = read(self.0, frozen!(LAYOUT.service.fwmark.offset))?;
        if key.firewall_mark != 0 {
            return Ok(());
        }
        key.protocol = read(self.0, frozen!(LAYOUT.service.protocol.offset))?;
        key.virtual_port = read(self.0, frozen!(LAYOUT.service.port.offset))?;
        let address = frozen!(LAYOUT.service.addr.offset);
        read_address(&mut key.virtual_address, self.0, address, key.family)
    }
}

/// See [`Conn::fingerprint`].
#[inline(always)]
pub(crate) fn fingerprint([a, b, c, d]: [u32; 4], is_v4: bool, client: u16, service: u16) -> u32 {
    /// Odd, so that no bit is lost.
    const SPREAD: u32 = 0x9e37_79b1;
    let ports = (u32::from(client) << 16) | u32::from(service);
    let address = if is_v4 {
        a
    } else {
        a ^ b.rotate_left(8) ^ c.rotate_left(16) ^ d.rotate_left(24)
    };
    address.wrapping_mul(SPREAD) ^ ports
}

/// The inode number of the namespace of a `struct netns_ipvs`, if it is observed.
#[inline(always)]
pub(crate) fn observed_netns(netns_ipvs: u64) -> Result<Option<u32>, Loss> {
    let net: u64 = read(netns_ipvs, frozen!(LAYOUT.netns_ipvs_net.offset))?;
    let inum: u32 = read(net, frozen!(LAYOUT.net_inum.offset))?;
    let observed = frozen!(SETTINGS.netns);
    Ok((observed == 0 || observed == inum).then_some(inum))
}

/// Reads an address into its zeroed place in a key.
#[inline(always)]
fn read_address(address: &mut [u8; 16], base: u64, offset: u32, family: u16) -> Result<(), Loss> {
    let bytes = if family == AF_INET { 4 } else { 16 };
    // One way for both families, with a bound for the verifier, behind which the key has more to be written.
    let bytes = forget(bytes) & 0x1f;
    read_start(address, bytes as u32, base + u64::from(offset), false)
}

#[inline(always)]
pub(crate) fn read<T>(base: u64, offset: u32) -> Result<T, Loss> {
    read_at(base + u64::from(offset))
}

/// What lies at `address`.
#[inline(always)]
pub(crate) fn read_at<T>(address: u64) -> Result<T, Loss> {
    // SAFETY: the helper checks the address and fails on one that is not mapped; every type read here takes any bit pattern.
    unsafe { bpf_probe_read_kernel(address as *const T) }.map_err(|_| Loss::Unreadable)
}

/// Reads `bytes` of what lies at `address`, no more than there is room for, to the start of `place`: of the kernel, or of
/// the process that runs.
#[inline(always)]
pub(crate) fn read_start<const N: usize>(
    place: &mut [u8; N],
    bytes: u32,
    address: u64,
    is_of_process: bool,
) -> Result<(), Loss> {
    let (to, from) = (place.as_mut_ptr().cast(), address as *const _);
    let status = if is_of_process {
        // SAFETY: the place has room for as many, or the verifier refuses; the helper checks the address that it reads.
        unsafe { generated::bpf_probe_read_user(to, bytes, from) }
    } else {
        // SAFETY: as above.
        unsafe { generated::bpf_probe_read_kernel(to, bytes, from) }
    };
    if status == 0 {
        Ok(())
    } else {
        Err(Loss::Unreadable)
    }
}
