//! The only netlink sockets of the agent: asks the kernel for the table and waits for the answer.
//!
//! A dump resumes by index wherever it does not fit one datagram, and IPVS never says that the
//! table changed in between. What can be torn is therefore read twice and compared. One socket
//! and one buffer serve all requests, because the table takes one dump for each service.
//!
//! The family is looked up in a dump of all families. Asking for it by its name would make the
//! kernel load `ip_vs`, and an observer does not change what it observes.

mod answer;
mod connection;

use std::{collections::BTreeMap, io};

use netlink_packet_core::DecodeError;
use netlink_packet_generic::{
    constants::GENL_ID_CTRL,
    ctrl::{GenlCtrl, GenlCtrlCmd},
};
use thiserror::Error;

use self::{
    answer::Entries,
    connection::{ATTEMPTS, Connection},
};
use super::{
    table::{self, Destination, Service, Table, TableError},
    wire::{
        Attribute, FamilyReply, IPVS_CMD_GET_DEST, IPVS_CMD_GET_SERVICE, IPVS_GENL_NAME, Message,
        service_identity,
    },
};
use crate::model::id::{DestinationId, ServiceId};

/// Why the table could not be read.
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
    /// An answer that cannot be read.
    #[error("cannot {request}: the answer is malformed")]
    Decode {
        /// What was being done.
        request: &'static str,
        /// Where the answer is malformed.
        source: DecodeError,
    },
    /// An answer that can be read but describes nothing.
    #[error("cannot {request}: the answer is incomplete")]
    Incomplete {
        /// What was being done.
        request: &'static str,
        /// What the answer lacks.
        source: TableError,
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
        let mut connection = Connection::open("find the IPVS netlink family")?;
        let family = find_family(&mut connection)?;
        Ok(Self { connection, family })
    }

    /// The number under which the kernel registered the family.
    pub fn family(&self) -> u16 {
        self.family
    }

    /// The destinations of `service`; none if there is no such service.
    pub fn destinations(&mut self, service: &ServiceId) -> Result<Vec<Destination>, NetlinkError> {
        Ok(self
            .dump_destinations(service)?
            .entries
            .into_values()
            .collect())
    }

    /// The whole table, read again while it changes and marked if it never held still.
    pub fn table(&mut self) -> Result<Table, NetlinkError> {
        let mut services = self.dump_services()?.entries;
        let mut attempt = 1;
        loop {
            let mut steady = true;
            for (id, service) in &mut services {
                let (destinations, destinations_steady) = self.steady_destinations(id)?;
                service.destinations = destinations.into_values().collect();
                steady &= destinations_steady;
            }
            let after = self.dump_services()?.entries;
            let unchanged = services.keys().eq(after.keys());
            if unchanged || attempt == ATTEMPTS {
                return Ok(Table {
                    services: services.into_values().collect(),
                    torn: !(unchanged && steady),
                });
            }
            services = after;
            attempt += 1;
        }
    }

    /// The destinations of a service, and whether two readings agreed on which there are.
    fn steady_destinations(
        &mut self,
        service: &ServiceId,
    ) -> Result<(BTreeMap<DestinationId, Destination>, bool), NetlinkError> {
        let mut before = self.dump_destinations(service)?;
        for _ in 1..ATTEMPTS {
            if before.is_atomic {
                return Ok((before.entries, true));
            }
            let after = self.dump_destinations(service)?;
            if before.entries.keys().eq(after.entries.keys()) {
                return Ok((after.entries, true));
            }
            before = after;
        }
        Ok((before.entries, before.is_atomic))
    }

    fn dump_services(&mut self) -> Result<Entries<ServiceId, Service>, NetlinkError> {
        let request = "read the services of IPVS";
        let message = Message {
            command: IPVS_CMD_GET_SERVICE,
            attributes: Vec::new(),
        };
        let answer = self
            .connection
            .dump::<_, Message>(self.family, &message, request)?;
        answer.into_entries(request, |message| {
            table::service(message).map(|service| (service.id, service))
        })
    }

    fn dump_destinations(
        &mut self,
        service: &ServiceId,
    ) -> Result<Entries<DestinationId, Destination>, NetlinkError> {
        let request = "read the destinations of an IPVS service";
        let message = Message {
            command: IPVS_CMD_GET_DEST,
            attributes: vec![Attribute::Service(service_identity(service))],
        };
        let answer = self
            .connection
            .dump::<_, Message>(self.family, &message, request)?;
        answer.into_entries(request, |message| {
            let destination = table::destination(message, service.family())?;
            Ok((destination.id, destination))
        })
    }
}

fn find_family(connection: &mut Connection) -> Result<u16, NetlinkError> {
    let message = GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: Vec::new(),
    };
    let request = "find the IPVS netlink family";
    let answer = connection.dump::<_, FamilyReply>(GENL_ID_CTRL, &message, request)?;
    answer
        .messages
        .into_iter()
        .find(|family| family.name.as_deref() == Some(IPVS_GENL_NAME))
        .and_then(|family| family.id)
        .ok_or(NetlinkError::NotLoaded)
}
