//! The structures that the programs read, and where their members lie.

use ipvs_observer_common::{
    ConnLayout, DestLayout, Field, Layout, ServiceLayout, SkbLayout, StatsLayout, StatusLayout,
};

use super::{
    Refusal,
    shape::{Shape, describe},
};
use crate::btf::parse::{Btf, BtfError};

/// A structure that the programs read, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Structure {
    Conn,
    Dest,
    Service,
    NetnsIpvs,
    Net,
    Skb,
    /// The counters of [`Structure::Dest`].
    DestStats,
    /// The counters of [`Structure::Service`].
    ServiceStats,
    CpuStats,
    /// A map, which tells where things are that are kept per CPU.
    BpfArray,
    /// What says whether a [`Structure::Dest`] can be given a packet.
    DestStatus,
    /// The list of the destinations of a [`Structure::Service`].
    ServiceList,
    /// What IPVS notes of a packet's headers.
    IpHeader,
    /// Who sent a [`Structure::Skb`].
    SkbSender,
    Socket,
    GenlInfo,
}

impl Structure {
    pub(super) const ALL: [Self; 16] = [
        Self::Conn,
        Self::Dest,
        Self::Service,
        Self::NetnsIpvs,
        Self::Net,
        Self::Skb,
        Self::DestStats,
        Self::ServiceStats,
        Self::CpuStats,
        Self::BpfArray,
        Self::DestStatus,
        Self::ServiceList,
        Self::IpHeader,
        Self::SkbSender,
        Self::Socket,
        Self::GenlInfo,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Conn => "ip_vs_conn",
            Self::Dest | Self::DestStats | Self::DestStatus => "ip_vs_dest",
            Self::Service | Self::ServiceStats | Self::ServiceList => "ip_vs_service",
            Self::CpuStats => "ip_vs_cpu_stats",
            Self::BpfArray => "bpf_array",
            Self::NetnsIpvs => "netns_ipvs",
            Self::Net => "net",
            Self::Skb | Self::SkbSender => "sk_buff",
            Self::Socket => "sock",
            Self::GenlInfo => "genl_info",
            Self::IpHeader => "ip_vs_iphdr",
        }
    }
}

const U16: Shape = Shape::Integer(&[2]);
pub(super) const U32: Shape = Shape::Integer(&[4]);
/// The family of a connection became one byte in 7.1.
const FAMILY: Shape = Shape::Integer(&[1, 2]);
const ADDRESS: Shape = Shape::Record("nf_inet_addr");
const NETNS_IPVS: Shape = Shape::Pointer("netns_ipvs");

/// All copies of one structure.
pub(super) struct Reader<'a> {
    pub(super) btf: &'a Btf<'a>,
    pub(super) structure: Structure,
    pub(super) copies: &'a [u32],
}

impl Reader<'_> {
    /// Puts the members of the structure into their place, all or none.
    pub(super) fn fill(&self, layout: &mut Layout) -> Result<(), Refusal> {
        match self.structure {
            Structure::Conn => {
                layout.conn = ConnLayout {
                    af: self.member("af", FAMILY)?,
                    cport: self.member("cport", U16)?,
                    vport: self.member("vport", U16)?,
                    caddr: self.member("caddr", ADDRESS)?,
                    protocol: self.member("protocol", U16)?,
                    fwmark: self.member("fwmark", U32)?,
                    flags: self.member("flags", U32)?,
                    state: self.member("state", U16)?,
                    in_pkts: self.member("in_pkts", Shape::Atomic)?,
                    refcnt: self.member("refcnt", Shape::Atomic)?,
                    n_control: self.member("n_control", Shape::Atomic)?,
                    dest: self.member("dest", Shape::Pointer("ip_vs_dest"))?,
                    ipvs: self.member("ipvs", NETNS_IPVS)?,
                    timer: self.member("timer", Shape::Record("timer_list"))?,
                    // The member is declared as `rcu_head`, a macro that renames it.
                    callback_head: self.member("callback_head", Shape::Record("callback_head"))?,
                };
            }
            Structure::Dest => {
                layout.dest = DestLayout {
                    af: self.member("af", U16)?,
                    port: self.member("port", U16)?,
                    addr: self.member("addr", ADDRESS)?,
                    protocol: self.member("protocol", U16)?,
                    vport: self.member("vport", U16)?,
                    vaddr: self.member("vaddr", ADDRESS)?,
                    vfwmark: self.member("vfwmark", U32)?,
                };
            }
            Structure::Service => {
                layout.service = ServiceLayout {
                    af: self.member("af", U16)?,
                    protocol: self.member("protocol", U16)?,
                    addr: self.member("addr", ADDRESS)?,
                    port: self.member("port", U16)?,
                    fwmark: self.member("fwmark", U32)?,
                    ipvs: self.member("ipvs", NETNS_IPVS)?,
                };
            }
            Structure::NetnsIpvs => {
                layout.netns_ipvs_net = self.member("net", Shape::Pointer("net"))?;
            }
            Structure::Net => layout.net_inum = self.member("ns.inum", U32)?,
            Structure::Skb => {
                layout.skb = SkbLayout {
                    len: self.member("len", U32)?,
                    data_len: self.member("data_len", U32)?,
                    data: self.member("data", Shape::Bytes)?,
                };
            }
            Structure::DestStats => layout.dest_stats = self.stats()?,
            Structure::ServiceStats => layout.service_stats = self.stats()?,
            Structure::CpuStats => {
                layout.cpu_counters = self.counters([
                    "cnt.conns",
                    "cnt.inpkts",
                    "cnt.outpkts",
                    "cnt.inbytes",
                    "cnt.outbytes",
                ])?;
            }
            Structure::BpfArray => {
                layout.bpf_array_pptrs = self.member("pptrs", Shape::Addresses)?;
            }
            Structure::DestStatus => self.status(&mut layout.status)?,
            Structure::ServiceList => {
                layout.status.destinations =
                    self.member("destinations", Shape::Record("list_head"))?;
            }
            Structure::IpHeader => {
                layout.iphdr_flags = self.member("hdr_flags", U32)?;
                layout.iphdr_len = self.member("len", U32)?;
            }
            Structure::SkbSender => {
                layout.command.sender = self.member("sk", Shape::Pointer("sock"))?;
            }
            Structure::Socket => {
                // A structure around the address, where the kernel has namespaces.
                layout.command.socket_net = self.member("__sk_common.skc_net", Shape::Counter)?;
            }
            Structure::GenlInfo => {
                layout.command.header = self.member("genlhdr", Shape::Pointer("genlmsghdr"))?;
                layout.command.attributes = self.member("attrs", Shape::Address)?;
            }
        }
        Ok(())
    }

    fn status(&self, status: &mut StatusLayout) -> Result<(), Refusal> {
        status.flags = self.member("flags", U32)?;
        status.weight = self.member("weight", Shape::Atomic)?;
        status.n_list = self.member("n_list", Shape::Record("list_head"))?;
        // Bits that change under a lock of their own came with 7.0 and with stable releases of older kernels.
        status.available = match self.member("cflags", Shape::Counter) {
            Err(Refusal::NoMember { .. }) => status.flags,
            cflags => cflags?,
        };
        Ok(())
    }

    fn stats(&self) -> Result<StatsLayout, Refusal> {
        Ok(StatsLayout {
            cpustats: self.member("stats.cpustats", Shape::Pointer("ip_vs_cpu_stats"))?,
            zero: self.counters([
                "stats.kstats0.conns",
                "stats.kstats0.inpkts",
                "stats.kstats0.outpkts",
                "stats.kstats0.inbytes",
                "stats.kstats0.outbytes",
            ])?,
        })
    }

    /// Five counters that follow each other: the programs read them at once.
    fn counters(&self, members: [&'static str; 5]) -> Result<Field, Refusal> {
        let [first, others @ ..] = members;
        let mut all = self.member(first, Shape::Counter)?;
        for member in others {
            let next = self.member(member, Shape::Counter)?;
            if next.offset != all.offset + all.size {
                return Err(Refusal::Member {
                    structure: self.structure.name(),
                    member,
                    expected: "a counter behind the one before it".to_owned(),
                    found: "elsewhere".to_owned(),
                });
            }
            all.size += next.size;
        }
        Ok(all)
    }

    /// A member on which all copies agree; `path` names a member of a member after a dot.
    fn member(&self, path: &'static str, shape: Shape) -> Result<Field, Refusal> {
        let (first, others) = self
            .copies
            .split_first()
            .ok_or(Refusal::NoStructure(self.structure.name()))?;
        let field = self.member_of(*first, path, shape)?;
        for other in others {
            if self.member_of(*other, path, shape) != Ok(field) {
                return Err(Refusal::Copies {
                    structure: self.structure.name(),
                    member: path,
                });
            }
        }
        Ok(field)
    }

    fn member_of(&self, copy: u32, path: &'static str, shape: Shape) -> Result<Field, Refusal> {
        let mut place = Place {
            type_id: copy,
            bit_offset: 0,
            is_bitfield: false,
        };
        for name in path.split('.') {
            let mut budget = MAX_MEMBERS;
            let inner = find_member(self.btf, place.type_id, name, &mut budget)?;
            let inner = inner.ok_or(Refusal::NoMember {
                structure: self.structure.name(),
                member: path,
            })?;
            place = inner.after(place.bit_offset)?;
        }
        let refused = |found| Refusal::Member {
            structure: self.structure.name(),
            member: path,
            expected: shape.describe(),
            found,
        };
        if place.is_bitfield || !place.bit_offset.is_multiple_of(8) {
            return Err(refused("a bit field".to_owned()));
        }
        if !shape.fits(self.btf, place.type_id)? {
            return Err(refused(describe(self.btf, place.type_id)));
        }
        Ok(Field {
            offset: place.bit_offset / 8,
            size: self.btf.size(place.type_id)?,
        })
    }
}

/// More members than any structure has together with the anonymous ones inside it, so that a
/// search through structures that contain themselves ends.
const MAX_MEMBERS: u32 = 4096;

/// Where a member lies, and what it is.
struct Place {
    type_id: u32,
    bit_offset: u32,
    is_bitfield: bool,
}

impl Place {
    fn after(self, bits: u32) -> Result<Self, BtfError> {
        let bit_offset = self.bit_offset.checked_add(bits);
        Ok(Self {
            bit_offset: bit_offset.ok_or(BtfError::Unsized(self.type_id))?,
            ..self
        })
    }
}

/// Looks for a member in a structure and in the anonymous ones inside it.
fn find_member(
    btf: &Btf<'_>,
    structure: u32,
    name: &str,
    budget: &mut u32,
) -> Result<Option<Place>, BtfError> {
    let structure = btf.bare(structure)?;
    for member in btf.members(&structure) {
        *budget = budget.checked_sub(1).ok_or(BtfError::Loop(structure.id))?;
        if member.name == name.as_bytes() {
            return Ok(Some(Place {
                type_id: member.type_id,
                bit_offset: member.bit_offset,
                is_bitfield: member.is_bitfield,
            }));
        }
        if member.name.is_empty()
            && let Some(inner) = find_member(btf, member.type_id, name, budget)?
        {
            return inner.after(member.bit_offset).map(Some);
        }
    }
    Ok(None)
}
