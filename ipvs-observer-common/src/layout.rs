//! Where the running kernel keeps what the programs read; the agent resolves it from BTF before it loads them.
//!
//! The layout is a frozen global, so that the verifier sees constants: an offset costs nothing at run time.

/// Place of a member in its structure.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the structure.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

/// Members of `struct ip_vs_conn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnLayout {
    /// Address family of the client's side; 2 bytes up to 7.0, then 1.
    pub af: Field,
    /// Client's port in network order, 2 bytes.
    pub cport: Field,
    /// Virtual port in network order, 2 bytes.
    pub vport: Field,
    /// Client's address, 16 bytes.
    pub caddr: Field,
    /// IP protocol, 2 bytes.
    pub protocol: Field,
    /// Firewall mark of the service, 4 bytes.
    pub fwmark: Field,
    /// `IP_VS_CONN_F_*`, 4 bytes.
    pub flags: Field,
    /// `IP_VS_TCP_S_*` and its like, 2 bytes.
    pub state: Field,
    /// Packets from the client, 4 bytes.
    pub in_pkts: Field,
    /// References, 4 bytes.
    pub refcnt: Field,
    /// Connections that this one controls, 4 bytes.
    pub n_control: Field,
    /// `struct ip_vs_dest *`.
    pub dest: Field,
    /// `struct netns_ipvs *`.
    pub ipvs: Field,
    /// `struct timer_list`; only its offset is used.
    pub timer: Field,
    /// `struct rcu_head`, in BTF `callback_head`; only its offset is used.
    pub callback_head: Field,
}

/// Members of `struct ip_vs_dest`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestLayout {
    /// Address family of the real server, 2 bytes.
    pub af: Field,
    /// Its port in network order, 2 bytes.
    pub port: Field,
    /// Its address, 16 bytes.
    pub addr: Field,
    /// Protocol of the service, 2 bytes.
    pub protocol: Field,
    /// Port of the service in network order, 2 bytes.
    pub vport: Field,
    /// Address of the service, 16 bytes.
    pub vaddr: Field,
    /// Firewall mark of the service, 4 bytes.
    pub vfwmark: Field,
}

/// Members of `struct ip_vs_service`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceLayout {
    /// Address family, 2 bytes.
    pub af: Field,
    /// Protocol, 2 bytes.
    pub protocol: Field,
    /// Address, 16 bytes.
    pub addr: Field,
    /// Port in network order, 2 bytes.
    pub port: Field,
    /// Firewall mark, 4 bytes.
    pub fwmark: Field,
    /// `struct netns_ipvs *`.
    pub ipvs: Field,
}

/// Members of `struct sk_buff`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkbLayout {
    /// Bytes of the packet, 4 bytes.
    pub len: Field,
    /// Bytes outside the linear part, 4 bytes.
    pub data_len: Field,
    /// Start of the network header where IPVS sees the packet.
    pub data: Field,
}

/// Where a service or destination keeps its counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsLayout {
    /// `struct ip_vs_cpu_stats __percpu *`: what is counted.
    pub cpustats: Field,
    /// Where the counters stood when they were last zeroed: five times 8 bytes, in the order of [`crate::LiveEntry::counters`].
    pub zero: Field,
}

/// What says why a destination gets no packet; the destinations of a service are a list that begins in the service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusLayout {
    /// `IP_VS_DEST_F_AVAILABLE` is in its lowest byte: `cflags` where that member is, else `flags`.
    pub available: Field,
    /// `IP_VS_DEST_F_OVERLOAD` and its like, 4 bytes.
    pub flags: Field,
    /// Weight, 4 bytes.
    pub weight: Field,
    /// `struct list_head` in the list of its service; only its offset is used.
    pub n_list: Field,
    /// `struct list_head` of the service, where the list begins; only its offset is used.
    pub destinations: Field,
}

/// What leads from a command to its network namespace and to what it names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandLayout {
    /// `sk` of `struct sk_buff`: the socket that sent the message.
    pub sender: Field,
    /// `__sk_common.skc_net` of `struct sock`: a `struct net *`.
    pub socket_net: Field,
    /// `genlhdr` of `struct genl_info`: a `struct genlmsghdr *`, which begins with the command.
    pub header: Field,
    /// `attrs` of `struct genl_info`: addresses of attributes, by their numbers.
    pub attributes: Field,
}

/// Everything that the programs read of the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// `struct ip_vs_conn`.
    pub conn: ConnLayout,
    /// `struct ip_vs_dest`.
    pub dest: DestLayout,
    /// `struct ip_vs_service`.
    pub service: ServiceLayout,
    /// `net` of `struct netns_ipvs`.
    pub netns_ipvs_net: Field,
    /// `ns.inum` of `struct net`, 4 bytes.
    pub net_inum: Field,
    /// `struct sk_buff`.
    pub skb: SkbLayout,
    /// `stats` of `struct ip_vs_dest`.
    pub dest_stats: StatsLayout,
    /// `stats` of `struct ip_vs_service`.
    pub service_stats: StatsLayout,
    /// `cnt` of `struct ip_vs_cpu_stats`: five times 8 bytes, in the order of [`crate::LiveEntry::counters`].
    pub cpu_counters: Field,
    /// `pptrs` of `struct bpf_array`: of a per-CPU array's elements the per-CPU pointers, 8 bytes each.
    pub bpf_array_pptrs: Field,
    /// Of `struct ip_vs_dest` and `struct ip_vs_service`.
    pub status: StatusLayout,
    /// `hdr_flags` of `struct ip_vs_iphdr`, 4 bytes.
    pub iphdr_flags: Field,
    /// `len` of `struct ip_vs_iphdr`, 4 bytes: where the transport header begins.
    pub iphdr_len: Field,
    /// What a stream reads of commands.
    pub command: CommandLayout,
    /// Not zero where `tcp_state_transition` has the length of the network header as its fifth argument.
    pub tcp_transition_has_iph_len: u32,
    /// Keeps the size a multiple of eight.
    pub reserved: u32,
}

const _: () = assert!(
    size_of::<Layout>() == (15 + 7 + 6 + 2 + 3 + 5 + 1 + 5 + 2 + 4) * size_of::<Field>() + 8
);

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for this promise on types of globals")]
// SAFETY: the type is `repr(C)` of `u32` only, without padding, and every bit pattern is valid.
unsafe impl aya::Pod for Layout {}
