//! The functions that are probed, and whether they are called as the programs expect.

use super::{
    Refusal,
    shape::{Shape, describe},
    structure::{Structure, U32},
};
use crate::btf::parse::Btf;

/// A function that is probed, and what the programs take of its registers.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Parameters by position, with the name that tells them apart from others of their type.
    parameters: &'static [(usize, &'static str, Shape)],
    returns: Option<Shape>,
    /// Whether the length of the network header may follow as the fifth parameter.
    may_have_iph_len: bool,
    /// What the programs read when it is hit.
    pub(super) reads: &'static [Structure],
}

const TRACKING: &[Structure] = &[
    Structure::Conn,
    Structure::Dest,
    Structure::NetnsIpvs,
    Structure::Net,
];
const TRACKING_AND_PACKET: &[Structure] = &[
    Structure::Conn,
    Structure::Dest,
    Structure::NetnsIpvs,
    Structure::Net,
    Structure::Skb,
];
const SCHEDULING: &[Structure] = &[
    Structure::Conn,
    Structure::Dest,
    Structure::Service,
    Structure::NetnsIpvs,
    Structure::Net,
];

const CHOOSING: &[Structure] = &[
    Structure::Conn,
    Structure::Dest,
    Structure::Service,
    Structure::NetnsIpvs,
    Structure::Net,
    Structure::DestStatus,
    Structure::ServiceList,
];
const STATUS: &[Structure] = &[
    Structure::Conn,
    Structure::Dest,
    Structure::NetnsIpvs,
    Structure::Net,
    Structure::DestStatus,
];
const STATUS_AND_PACKET: &[Structure] = &[
    Structure::Conn,
    Structure::Dest,
    Structure::NetnsIpvs,
    Structure::Net,
    Structure::DestStatus,
    Structure::Skb,
    Structure::IpHeader,
];

const SCHEDULING_AND_PACKET: &[Structure] = &[
    Structure::Conn,
    Structure::Dest,
    Structure::Service,
    Structure::NetnsIpvs,
    Structure::Net,
    Structure::Skb,
];

const CONN: Shape = Shape::Pointer("ip_vs_conn");
const TRANSITION: &[(usize, &str, Shape)] = &[
    (0, "cp", CONN),
    (1, "direction", U32),
    (2, "skb", Shape::Pointer("sk_buff")),
];
const SCHEDULE: &[(usize, &str, Shape)] = &[
    (0, "svc", Shape::Pointer("ip_vs_service")),
    (1, "skb", Shape::Pointer("sk_buff")),
];
const SCHEDULE_AND_IGNORED: &[(usize, &str, Shape)] = &[
    (0, "svc", Shape::Pointer("ip_vs_service")),
    (1, "skb", Shape::Pointer("sk_buff")),
    (3, "ignored", Shape::Bytes),
];

const XMIT: &[(usize, &str, Shape)] = &[(0, "skb", Shape::Pointer("sk_buff")), (1, "cp", CONN)];

/// A function whose beginning and end are all that is asked for.
const fn timed(
    name: &'static str,
    parameters: &'static [(usize, &'static str, Shape)],
    returns: Option<Shape>,
) -> Function {
    Function {
        name,
        parameters,
        returns,
        may_have_iph_len: false,
        reads: &[],
    }
}

pub(super) const FUNCTIONS: [Function; 34] = [
    Function {
        name: "tcp_state_transition",
        parameters: TRANSITION,
        returns: None,
        may_have_iph_len: true,
        reads: TRACKING_AND_PACKET,
    },
    Function {
        name: "udp_state_transition",
        parameters: TRANSITION,
        returns: None,
        may_have_iph_len: true,
        reads: TRACKING,
    },
    Function {
        name: "sctp_state_transition",
        parameters: TRANSITION,
        returns: None,
        may_have_iph_len: true,
        reads: TRACKING,
    },
    Function {
        name: "ip_vs_schedule",
        parameters: SCHEDULE_AND_IGNORED,
        returns: Some(CONN),
        may_have_iph_len: false,
        reads: SCHEDULING,
    },
    Function {
        name: "ip_vs_conn_new",
        parameters: &[],
        returns: Some(CONN),
        may_have_iph_len: false,
        reads: TRACKING,
    },
    Function {
        name: "ip_vs_conn_expire",
        parameters: &[(0, "t", Shape::Pointer("timer_list"))],
        returns: None,
        may_have_iph_len: false,
        reads: TRACKING,
    },
    Function {
        name: "ip_vs_conn_rcu_free",
        parameters: &[(0, "head", Shape::Pointer("callback_head"))],
        returns: None,
        may_have_iph_len: false,
        reads: TRACKING,
    },
    Function {
        name: "ip_vs_leave",
        parameters: SCHEDULE,
        returns: Some(U32),
        may_have_iph_len: false,
        reads: CHOOSING,
    },
    Function {
        name: "ip_vs_genl_fill_service",
        parameters: &[(1, "svc", Shape::Pointer("ip_vs_service"))],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: &[
            Structure::Service,
            Structure::ServiceStats,
            Structure::CpuStats,
            Structure::BpfArray,
        ],
    },
    Function {
        name: "ip_vs_genl_fill_dest",
        parameters: &[(1, "dest", Shape::Pointer("ip_vs_dest"))],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: &[
            Structure::Dest,
            Structure::DestStats,
            Structure::CpuStats,
            Structure::BpfArray,
        ],
    },
    icmp("ip_vs_nat_icmp"),
    icmp("ip_vs_nat_icmp_v6"),
    Function {
        name: "ip_vs_check_template",
        parameters: &[(0, "ct", CONN), (1, "cdest", Shape::Pointer("ip_vs_dest"))],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: TRACKING,
    },
    Function {
        name: "ip_vs_conn_expire_now",
        parameters: &[(0, "cp", CONN)],
        returns: None,
        may_have_iph_len: false,
        reads: STATUS,
    },
    Function {
        name: "ip_vs_conn_in_get_proto",
        parameters: &[
            (2, "skb", Shape::Pointer("sk_buff")),
            (3, "iph", Shape::Pointer("ip_vs_iphdr")),
        ],
        returns: Some(CONN),
        may_have_iph_len: false,
        reads: STATUS_AND_PACKET,
    },
    Function {
        name: "ip_vs_service_find",
        parameters: &[],
        returns: Some(Shape::Pointer("ip_vs_service")),
        may_have_iph_len: false,
        reads: SCHEDULING,
    },
    Function {
        name: "tcp_conn_schedule",
        parameters: &[
            (0, "ipvs", Shape::Pointer("netns_ipvs")),
            (1, "af", U32),
            (2, "skb", Shape::Pointer("sk_buff")),
        ],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: SCHEDULING_AND_PACKET,
    },
    Function {
        name: "ip_vs_conn_seq_show",
        parameters: &[
            (0, "seq", Shape::Pointer("seq_file")),
            (1, "v", Shape::Anything),
        ],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: TRACKING,
    },
    conn_schedule("udp_conn_schedule"),
    conn_schedule("sctp_conn_schedule"),
    timed("ip_vs_nat_xmit", XMIT, Some(U32)),
    timed("ip_vs_nat_xmit_v6", XMIT, Some(U32)),
    timed("ip_vs_dr_xmit", XMIT, Some(U32)),
    timed("ip_vs_dr_xmit_v6", XMIT, Some(U32)),
    timed("ip_vs_tunnel_xmit", XMIT, Some(U32)),
    timed("ip_vs_tunnel_xmit_v6", XMIT, Some(U32)),
    timed("ip_vs_bypass_xmit", XMIT, Some(U32)),
    timed("ip_vs_bypass_xmit_v6", XMIT, Some(U32)),
    timed("ip_vs_null_xmit", XMIT, Some(U32)),
    timed(
        "ip_vs_in_hook",
        &[(1, "skb", Shape::Pointer("sk_buff"))],
        Some(U32),
    ),
    Function {
        name: "ip_vs_genl_set_cmd",
        parameters: &[
            (0, "skb", Shape::Pointer("sk_buff")),
            (1, "info", Shape::Pointer("genl_info")),
        ],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: &[
            Structure::SkbSender,
            Structure::Socket,
            Structure::GenlInfo,
            Structure::Net,
        ],
    },
    Function {
        name: "do_ip_vs_set_ctl",
        parameters: &[(0, "sk", Shape::Pointer("sock")), (1, "cmd", U32)],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: &[Structure::Socket, Structure::Net],
    },
    timed(
        "estimation_timer",
        &[(0, "t", Shape::Pointer("timer_list"))],
        None,
    ),
    timed(
        "ip_vs_chain_estimation",
        &[(0, "chain", Shape::Pointer("hlist_head"))],
        None,
    ),
];

/// Either is called for an ICMP error of a connection.
const fn icmp(name: &'static str) -> Function {
    Function {
        name,
        parameters: &[
            (0, "skb", Shape::Pointer("sk_buff")),
            (2, "cp", CONN),
            (3, "inout", U32),
        ],
        returns: None,
        may_have_iph_len: false,
        reads: TRACKING_AND_PACKET,
    }
}

/// What it returns is read, and of a stream's drops who sent the packet.
const fn conn_schedule(name: &'static str) -> Function {
    Function {
        name,
        parameters: &[(2, "skb", Shape::Pointer("sk_buff"))],
        returns: Some(U32),
        may_have_iph_len: false,
        reads: SCHEDULING,
    }
}

/// The position of `iph_len` where a state transition has it.
const IPH_LEN: usize = 4;

impl Function {
    /// Whether every copy of the function can be probed; tells whether it has `iph_len`.
    pub(super) fn check(&self, btf: &Btf<'_>, copies: &[u32]) -> Result<bool, Refusal> {
        let (first, others) = copies.split_first().ok_or(Refusal::NoFunction(self.name))?;
        let has_iph_len = self.check_copy(btf, *first)?;
        for other in others {
            if self.check_copy(btf, *other) != Ok(has_iph_len) {
                return Err(Refusal::FunctionCopies(self.name));
            }
        }
        Ok(has_iph_len)
    }

    fn check_copy(&self, btf: &Btf<'_>, id: u32) -> Result<bool, Refusal> {
        let prototype = btf.get(Btf::target(&btf.get(id)?))?;
        let parameters: Vec<_> = btf.parameters(&prototype).collect();
        let fits = |position: usize, name: &str, shape: Shape| -> Result<(), Refusal> {
            let found = match parameters.get(position) {
                Some(found)
                    if found.name == name.as_bytes() && shape.fits(btf, found.type_id)? =>
                {
                    return Ok(());
                }
                Some(found) => format!(
                    "{} {}",
                    describe(btf, found.type_id),
                    String::from_utf8_lossy(found.name)
                ),
                None => "none".to_owned(),
            };
            Err(Refusal::Prototype {
                function: self.name,
                expected: format!("{} {name}", shape.describe()),
                found: format!("{found} as parameter {}", position + 1),
            })
        };
        for (position, name, shape) in self.parameters {
            fits(*position, name, *shape)?;
        }
        if let Some(shape) = self.returns {
            let returned = Btf::target(&prototype);
            if returned == 0 || !shape.fits(btf, returned)? {
                return Err(Refusal::Prototype {
                    function: self.name,
                    expected: shape.describe(),
                    found: format!("{} as its result", describe(btf, returned)),
                });
            }
        }
        if !self.may_have_iph_len || parameters.len() == IPH_LEN {
            return Ok(false);
        }
        fits(IPH_LEN, "iph_len", U32)?;
        if parameters.len() > IPH_LEN + 1 {
            return Err(Refusal::Prototype {
                function: self.name,
                expected: format!("{} or {}", IPH_LEN, IPH_LEN + 1),
                found: format!("{} parameters", parameters.len()),
            });
        }
        Ok(true)
    }
}
