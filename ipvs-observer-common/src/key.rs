//! The identity of a real server under a virtual service, as the programs see it.

/// A real server under a virtual service, or the service itself where the real server's part is zero.
///
/// Taken from `struct ip_vs_dest`, whose copy of the service's identity stays valid after the service is gone.
/// It is the same tuple that netlink names, so that maps and table meet by value and a recycled pointer cannot mix them up.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey {
    /// Virtual address, network order, an IPv4 address in the first four bytes; zero for a firewall mark.
    pub virtual_address: [u8; 16],
    /// Address of the real server, in the same form; zero for the service itself.
    pub address: [u8; 16],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Firewall mark, 0 for a service that is known by its address.
    pub firewall_mark: u32,
    /// Address family of the service.
    pub family: u16,
    /// IP protocol number; zero for a firewall mark.
    pub protocol: u16,
    /// Virtual port in network order.
    pub virtual_port: u16,
    /// Port of the real server in network order.
    pub port: u16,
    /// Address family of the real server; zero for the service itself.
    pub server_family: u16,
    /// Not zero once the entry of [`crate::maps::SERVER_KEYS`] is written in full; zero in every key that is compared.
    pub written: u16,
}

impl ServerKey {
    /// The key of nobody yet in `netns`.
    #[inline(always)]
    pub const fn unnamed(netns: u32) -> Self {
        Self {
            virtual_address: [0; 16],
            address: [0; 16],
            netns,
            firewall_mark: 0,
            family: 0,
            protocol: 0,
            virtual_port: 0,
            port: 0,
            server_family: 0,
            written: 0,
        }
    }
}

const _: () = assert!(size_of::<ServerKey>() == 52 && align_of::<ServerKey>() == 4);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of maps")]
// SAFETY: the type is `repr(C)`, has no padding (the size above is the sum of its fields) and every bit pattern is valid.
unsafe impl aya::Pod for ServerKey {}
