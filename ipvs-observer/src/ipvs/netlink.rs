//! The only netlink sockets of the agent: asks the kernel for what IPVS knows and waits for the
//! answer.
//!
//! A table takes one dump of the services and one dump of the destinations of each; one socket
//! and one buffer serve them all. `walk` knows what the dumps leave open and reads again what
//! can be torn, `connection` what can go wrong between a request and its answer.
//!
//! The family is looked up in a dump of all families. Asking for it by its name would make the
//! kernel load `ip_vs`, and an observer does not change what it observes.

mod answer;
mod connection;
mod walk;

use std::io;

use netlink_packet_generic::{
    constants::{CTRL_CMD_NEWFAMILY, GENL_ID_CTRL},
    ctrl::{GenlCtrl, GenlCtrlCmd},
};
use rustix::io::Errno;
use thiserror::Error;

use self::{
    answer::{Expected, Extent, Kind},
    connection::Connection,
    walk::Query,
};
use super::{
    table::{Daemon, Info, Live, Table, Timeouts},
    wire::{
        self, IPVS_CMD_GET_CONFIG, IPVS_CMD_GET_DAEMON, IPVS_CMD_GET_DEST, IPVS_CMD_GET_INFO,
        IPVS_CMD_GET_SERVICE, IPVS_CMD_NEW_DAEMON, IPVS_CMD_NEW_DEST, IPVS_CMD_NEW_SERVICE,
        IPVS_CMD_SET_CONFIG, IPVS_CMD_SET_INFO, IPVS_GENL_NAME, Question, Request, WireError,
    },
};
use crate::model::id::{DestinationId, ServiceId};

/// How often a request is made again because its answer was lost, and a table read again because
/// it changed.
const ATTEMPTS: u32 = 3;

const FIND_FAMILY: &str = "find the IPVS netlink family";

/// Why the kernel's answer could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// The kernel has no IPVS family in this network namespace.
    #[error("IPVS is not loaded in this kernel; load it with `modprobe ip_vs`")]
    NotLoaded,
    /// The kernel refuses the request to this process.
    #[error("cannot {request}: it needs CAP_NET_ADMIN; run as root")]
    NotPermitted {
        /// What was being done.
        request: &'static str,
    },
    /// A call on the socket failed.
    #[error("cannot {request}: the netlink socket failed")]
    Socket {
        /// What was being done.
        request: &'static str,
        /// What the call returned.
        source: io::Error,
    },
    /// The kernel answered with an error.
    #[error("cannot {request}: the kernel refused")]
    Refused {
        /// What was being done.
        request: &'static str,
        /// The error number of the answer.
        source: io::Error,
    },
    /// The kernel lost a part of the answer, again and again.
    #[error("cannot {request}: the kernel lost answers {ATTEMPTS} times; try again with less load")]
    Lost {
        /// What was being done.
        request: &'static str,
    },
    /// A datagram did not fit the buffer.
    #[error("cannot {request}: an answer of {length} bytes was cut off")]
    Truncated {
        /// What was being done.
        request: &'static str,
        /// The length of the datagram.
        length: usize,
    },
    /// An answer that does not belong to the request.
    #[error("cannot {request}: the kernel sent {what} instead of an answer")]
    Unexpected {
        /// What was being done.
        request: &'static str,
        /// What was sent.
        what: String,
    },
    /// An answer that cannot be read or contradicts itself.
    #[error("cannot {request}: the answer is malformed")]
    Malformed {
        /// What was being done.
        request: &'static str,
        /// What is wrong with it.
        source: WireError,
    },
}

/// The IPVS family of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Ipvs {
    connection: Connection,
    family: u16,
}

impl Ipvs {
    /// Finds the family without making the kernel load it.
    pub fn open() -> Result<Self, NetlinkError> {
        let mut connection = Connection::open(FIND_FAMILY)?;
        let family = find_family(&mut connection)?;
        Ok(Self { connection, family })
    }

    /// The number under which the kernel registered the family.
    pub fn family(&self) -> u16 {
        self.family
    }

    /// Version and size.
    pub fn info(&mut self) -> Result<Info, NetlinkError> {
        let expected = self.expect("read the size of IPVS", Kind::One, IPVS_CMD_SET_INFO);
        self.one(&expected, IPVS_CMD_GET_INFO, wire::info)
    }

    /// How long idle connections are kept.
    pub fn timeouts(&mut self) -> Result<Timeouts, NetlinkError> {
        let expected = self.expect("read the timeouts of IPVS", Kind::One, IPVS_CMD_SET_CONFIG);
        self.one(&expected, IPVS_CMD_GET_CONFIG, wire::timeouts)
    }

    /// The threads that exchange connections with other directors, of which there can be one of
    /// each kind.
    pub fn daemons(&mut self) -> Result<Vec<Daemon>, NetlinkError> {
        let expected = self.expect(
            "read the synchronisation of IPVS",
            Kind::Dump,
            IPVS_CMD_NEW_DAEMON,
        );
        let mut daemons = Vec::new();
        self.connection.ask(
            &expected,
            request(IPVS_CMD_GET_DAEMON, None),
            &mut daemons,
            wire::daemon,
        )?;
        Ok(daemons)
    }

    /// The whole table, read again while it changes and marked if it never held still.
    ///
    /// `live` is called for every entry in the order in which the kernel filled them in, right
    /// after the datagram that has it was received; entries that are read again are asked for
    /// again. What it returns takes the place of the kernel's copy of the counters.
    pub fn table(
        &mut self,
        live: &mut impl FnMut(&ServiceId, Option<&DestinationId>) -> Option<Live>,
    ) -> Result<Table, NetlinkError> {
        self.connection.shrink()?;
        let mut dumps = 0;
        walk::table(&mut |query| {
            if matches!(query, Query::Services(_)) {
                dumps += 1;
                if dumps > 1 {
                    // Where the table held still, nothing but these services is asked for any more.
                    self.connection.enlarge();
                }
            }
            self.answer(query, live)
        })
    }

    /// A table of one service, read with the same care; none if there is no such service.
    pub fn service(
        &mut self,
        id: &ServiceId,
        live: &mut impl FnMut(&ServiceId, Option<&DestinationId>) -> Option<Live>,
    ) -> Result<Option<Table>, NetlinkError> {
        walk::service(id, &mut |query| self.answer(query, live))
    }

    fn answer(
        &mut self,
        query: Query<'_>,
        live: &mut impl FnMut(&ServiceId, Option<&DestinationId>) -> Option<Live>,
    ) -> Result<Extent, NetlinkError> {
        let mut service = |answer: &[u8]| {
            let mut service = wire::service(answer)?;
            if let Some(live) = live(&service.id, None) {
                service.stats = Some(live.into());
            }
            Ok(service)
        };
        match query {
            Query::Services(services) => {
                let expected = self.expect(
                    "read the services of IPVS",
                    Kind::Dump,
                    IPVS_CMD_NEW_SERVICE,
                );
                let request = request(IPVS_CMD_GET_SERVICE, None);
                self.connection
                    .ask(&expected, request, services, &mut service)
            }
            Query::Service(id, services) => {
                let expected =
                    self.expect("read a service of IPVS", Kind::One, IPVS_CMD_NEW_SERVICE);
                let request = request(IPVS_CMD_GET_SERVICE, Some(id));
                let found = self
                    .connection
                    .ask(&expected, request, services, &mut service);
                match services.iter().find(|service| service.id != *id) {
                    _ if found.as_ref().is_err_and(is_no_such_service) => Ok(Extent::default()),
                    Some(other) => Err(NetlinkError::Unexpected {
                        request: expected.request,
                        what: other.id.to_string(),
                    }),
                    None => found,
                }
            }
            Query::Destinations(id, destinations) => {
                let expected = self.expect(
                    "read the destinations of an IPVS service",
                    Kind::Dump,
                    IPVS_CMD_NEW_DEST,
                );
                let request = request(IPVS_CMD_GET_DEST, Some(id));
                let extent = self
                    .connection
                    .ask(&expected, request, destinations, |answer| {
                        let mut destination = wire::destination(answer, id.family())?;
                        if let Some(live) = live(id, Some(&destination.id)) {
                            destination.stats = Some(live.into());
                        }
                        Ok(destination)
                    })?;
                if !extent.is_whole() {
                    // It is asked for again, and may come in one datagram then.
                    self.connection.enlarge();
                }
                Ok(extent)
            }
        }
    }

    /// Asks for what there is one of.
    fn one<T>(
        &mut self,
        expected: &Expected,
        command: u8,
        read: impl FnMut(&[u8]) -> Result<T, WireError>,
    ) -> Result<T, NetlinkError> {
        let mut answers = Vec::new();
        self.connection
            .ask(expected, request(command, None), &mut answers, read)?;
        answers.pop().ok_or_else(|| NetlinkError::Unexpected {
            request: expected.request,
            what: "nothing".to_owned(),
        })
    }

    const fn expect(&self, request: &'static str, kind: Kind, command: u8) -> Expected {
        Expected {
            request,
            family: self.family,
            command,
            kind,
        }
    }
}

fn request(command: u8, service: Option<&ServiceId>) -> Request<Question> {
    Request {
        command,
        content: Question(service.copied()),
    }
}

fn is_no_such_service(error: &NetlinkError) -> bool {
    matches!(error, NetlinkError::Refused { source, .. } if Errno::from_io_error(source) == Some(Errno::SRCH))
}

fn find_family(connection: &mut Connection) -> Result<u16, NetlinkError> {
    let request = GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: Vec::new(),
    };
    let expected = Expected {
        request: FIND_FAMILY,
        family: GENL_ID_CTRL,
        command: CTRL_CMD_NEWFAMILY,
        kind: Kind::Dump,
    };
    let mut families = Vec::new();
    connection.ask(&expected, request, &mut families, |answer| {
        wire::family_number(answer, IPVS_GENL_NAME)
    })?;
    families
        .into_iter()
        .flatten()
        .next()
        .ok_or(NetlinkError::NotLoaded)
}
