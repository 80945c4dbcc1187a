//! Where the table and its counters are read: in the agent's own network namespace, or in each that the host has.
//!
//! Each namespace of many is entered on a thread that ends with the reading, since a thread belongs to one. Between two
//! readings nothing is kept open there: a namespace lives for as long as anybody holds it, and an observer does not keep
//! alive what others give up. What the kernel has counted since the last reading goes with the namespace, so that coverage
//! is not known then.

use std::{collections::BTreeMap, io, thread, time::Duration};

use super::system;
use crate::{
    clock,
    error::{RunError, one_line},
    ipvs::{
        netlink::{Ipvs, NetlinkError},
        table::Table,
    },
    kernel::{Kernel, NetworkNamespace},
    model::{
        circumstances::Circumstances,
        id::Netns,
        sample::{NamespaceSample, Namespaces},
        snapshot::Namespace,
    },
    probe::{Entering, LiveCounters},
};

/// IPVS's counts of packets, those that are known.
pub(crate) type Packets = BTreeMap<Netns, Option<u64>>;

/// What was read in each namespace, or why it was not.
pub(crate) type Outcomes = BTreeMap<Netns, Result<NamespaceSample, RunError>>;

/// What is observed.
#[derive(Debug)]
pub(crate) enum Scope {
    /// The network namespace that the agent runs in, with its socket.
    Own(Netns, Box<Ipvs>),
    /// All of them.
    All {
        /// Whether it was said that some are not seen.
        is_hidden_said: bool,
    },
}

/// The network namespaces of one reading, which last as long as this.
#[derive(Debug)]
pub(crate) enum Places {
    /// The agent's own.
    Own(Netns),
    /// All that were found.
    All(BTreeMap<Netns, NetworkNamespace>),
}

impl Scope {
    /// Fails where the kernel has no IPVS.
    pub(crate) fn new(kernel: &Kernel, all_netns: bool) -> Result<Self, RunError> {
        let ipvs = Ipvs::open()?;
        Ok(if all_netns {
            Self::All {
                is_hidden_said: false,
            }
        } else {
            Self::Own(kernel.network_namespace()?, Box::new(ipvs))
        })
    }

    /// The one network namespace that is observed; `None` if all are.
    pub(crate) const fn netns(&self) -> Option<Netns> {
        match self {
            Self::Own(netns, _) => Some(*netns),
            Self::All { .. } => None,
        }
    }

    /// What is to be read now.
    pub(crate) fn find(&mut self, kernel: &Kernel) -> Places {
        match self {
            Self::Own(netns, _) => Places::Own(*netns),
            Self::All { is_hidden_said } => {
                let found = kernel.network_namespaces();
                if found.hidden_processes > 0 && !*is_hidden_said {
                    *is_hidden_said = true;
                    log::warn!(
                        "the network namespaces of {} processes are not seen, unless they have a name: it takes CAP_SYS_PTRACE",
                        found.hidden_processes
                    );
                }
                Places::All(found.namespaces)
            }
        }
    }

    /// Reads the table of each place where IPVS is in use, with live counters where there are any; gives how long the
    /// tables took.
    pub(crate) fn read(
        &mut self,
        kernel: &Kernel,
        places: &Places,
        packets: &Packets,
        mut live: Option<&mut LiveCounters>,
    ) -> Result<(Outcomes, Duration), RunError> {
        let is_all = self.netns().is_none();
        let mut took = Duration::ZERO;
        let read = places.each(|netns, name| {
            let began = clock::now().monotonic;
            let mut opened;
            let ipvs = match self {
                Self::Own(_, ipvs) => ipvs,
                Self::All { .. } => {
                    opened = Box::new(Ipvs::open()?);
                    &mut opened
                }
            };
            let table = ipvs.table(&mut LiveCounters::reader(live.as_deref_mut()))?;
            took += clock::now().monotonic.saturating_sub(began);
            let has_had_packets = packets.get(&netns) != Some(&Some(0));
            if is_all && table.services.is_empty() && !has_had_packets {
                return Ok(None);
            }
            let namespace = Namespace {
                name: name.cloned(),
                circumstances: circumstances(kernel, ipvs),
            };
            Ok(Some(NamespaceSample { namespace, table }))
        })?;
        let in_use = read
            .into_iter()
            .filter_map(|(netns, outcome)| Some((netns, outcome.transpose()?)));
        Ok((in_use.collect(), took))
    }
}

impl Places {
    /// Packets that IPVS has counted in each. Coverage is a comfort, not a condition: without the counts it is not known.
    pub(crate) fn packets(&self, kernel: &Kernel) -> Result<Packets, RunError> {
        let counted = self.each(|_, _| Ok(kernel.packets()?))?;
        let known = counted.into_iter().map(|(netns, packets)| {
            let packets = packets.inspect_err(|error| {
                log::info!("probe coverage is not known: {}", one_line(error));
            });
            (netns, packets.ok())
        });
        Ok(known.collect())
    }

    /// Makes the kernel show the connections of each namespace that has services; `entering` is told before.
    pub(crate) fn show_connections(
        &self,
        kernel: &Kernel,
        namespaces: &Namespaces,
        entering: Entering<'_>,
    ) -> Result<(), RunError> {
        let shown = self.each(|netns, _| {
            let read = namespaces.get(&netns);
            if read.is_some_and(|read| !read.table.services.is_empty()) {
                entering(netns);
                kernel.show_connections()?;
            }
            Ok(())
        })?;
        shown.into_values().collect()
    }

    /// Does `work` in each.
    fn each<T: Send>(
        &self,
        mut work: impl FnMut(Netns, Option<&String>) -> Result<T, RunError> + Send,
    ) -> Result<BTreeMap<Netns, Result<T, RunError>>, RunError> {
        let namespaces = match self {
            Self::Own(netns) => return Ok([(*netns, work(*netns, None))].into()),
            Self::All(namespaces) => namespaces,
        };
        let visit_all = move || {
            let visited = namespaces.iter().map(|(&netns, namespace)| {
                let entered = namespace.enter().map_err(RunError::from);
                let done = entered.and_then(|()| work(netns, namespace.name.as_ref()));
                (netns, done)
            });
            visited.collect()
        };
        thread::scope(|scope| {
            let visitor = thread::Builder::new().spawn_scoped(scope, visit_all);
            let visitor = visitor
                .map_err(|source| system("start a thread for network namespaces", source))?;
            visitor.join().map_err(|_panic| {
                let source = io::Error::other("it panicked");
                system("visit the network namespaces", source)
            })
        })
    }
}

/// Takes the tables as they were read; the first that could not be read is why not.
pub(crate) fn all_read(outcomes: Outcomes) -> Result<Namespaces, RunError> {
    let read = outcomes.into_iter();
    read.map(|(netns, outcome)| Ok((netns, outcome?))).collect()
}

/// The same, but a table that cannot be read this time is said, and taken for one of which every entry may be missing, in a
/// namespace that is as it was `known` before.
pub(crate) fn all_read_or_torn(
    outcomes: Outcomes,
    known: &BTreeMap<Netns, Namespace>,
) -> Result<Namespaces, RunError> {
    let read = outcomes.into_iter().map(|(netns, outcome)| match outcome {
        Err(
            error @ RunError::Netlink(NetlinkError::NotLoaded | NetlinkError::NotPermitted { .. }),
        ) => Err(error),
        Err(error) => {
            log::warn!("{}", one_line(&error));
            let unread = NamespaceSample {
                namespace: known.get(&netns).cloned().unwrap_or_default(),
                table: Table {
                    torn: true,
                    ..Table::default()
                },
            };
            Ok((netns, unread))
        }
        Ok(sample) => Ok((netns, sample)),
    });
    read.collect()
}

/// Packets counted between two readings, after the second of which something was seen in the namespaces `seen`; `None` if a
/// part of them is not known.
///
/// A namespace that was not there `before` has counted all of its packets since.
pub(crate) fn packets_between(
    before: &Packets,
    now: &Packets,
    mut seen: impl Iterator<Item = Netns>,
) -> Option<u64> {
    let is_lost =
        |(netns, count): (&Netns, &Option<u64>)| !now.contains_key(netns) && *count != Some(0);
    if before.iter().any(is_lost) || seen.any(|netns| !now.contains_key(&netns)) {
        return None;
    }
    now.iter().try_fold(0_u64, |sum, (netns, count)| {
        let before = before.get(netns).copied().unwrap_or(Some(0));
        sum.checked_add((*count)?.checked_sub(before?)?)
    })
}

/// What cannot be read is not known to bite.
fn circumstances(kernel: &Kernel, ipvs: &mut Ipvs) -> Circumstances {
    let info = ipvs.info();
    let settings = kernel.settings();
    Circumstances {
        settings: settings.unwrap_or_default(),
        connection_table_size: info.ok().map(|info| info.connection_table_size),
    }
}

#[cfg(test)]
mod tests {
    use super::{Packets, all_read, all_read_or_torn, packets_between};
    use crate::{
        ipvs::netlink::NetlinkError,
        model::{id::Netns, snapshot::Namespace},
    };

    const OWN: Netns = Netns(1);
    const OTHER: Netns = Netns(2);

    fn between(before: &[(Netns, Option<u64>)], now: &[(Netns, Option<u64>)]) -> Option<u64> {
        let packets = |counts: &[(Netns, Option<u64>)]| counts.iter().copied().collect::<Packets>();
        packets_between(&packets(before), &packets(now), [OWN].into_iter())
    }

    #[test]
    fn packets_are_the_sum_over_namespaces_and_a_new_one_begins_at_0() {
        let before = [(OWN, Some(100))];
        assert_eq!(between(&before, &[(OWN, Some(130))]), Some(30));
        let both = [(OWN, Some(130)), (OTHER, Some(7))];
        assert_eq!(between(&before, &both), Some(37));
        assert_eq!(between(&both, &both), Some(0));
    }

    #[test]
    fn what_went_with_a_namespace_is_not_known_unless_it_never_had_a_packet() {
        let now = [(OWN, Some(130))];
        let before = |other| [(OWN, Some(100)), (OTHER, other)];
        assert_eq!(between(&before(Some(1)), &now), None);
        assert_eq!(between(&before(None), &now), None);
        assert_eq!(between(&before(Some(0)), &now), Some(30));
    }

    #[test]
    fn a_count_that_is_missing_or_goes_back_is_not_known() {
        assert_eq!(between(&[(OWN, None)], &[(OWN, Some(1))]), None);
        assert_eq!(between(&[(OWN, Some(1))], &[(OWN, None)]), None);
        assert_eq!(between(&[(OWN, Some(2))], &[(OWN, Some(1))]), None);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_torn_in_a_namespace_that_is_still_what_it_was() {
        let blue = Namespace {
            name: Some("blue".to_owned()),
            ..Namespace::default()
        };
        let known = [(OWN, blue.clone())].into();
        let lost = |netns| (netns, Err(NetlinkError::Lost { request: "ask" }.into()));
        let read = all_read_or_torn([lost(OWN), lost(OTHER)].into(), &known).unwrap();
        assert_eq!(read[&OWN].namespace, blue);
        assert_eq!(read[&OTHER].namespace, Namespace::default());
        assert!(read.values().all(|read| read.table.torn));
        let gone = || [(OWN, Err(NetlinkError::NotLoaded.into()))].into();
        assert!(all_read_or_torn(gone(), &known).is_err());
        assert!(all_read([lost(OWN)].into()).is_err());
    }

    #[test]
    fn packets_are_not_known_where_something_was_seen_that_no_namespace_found_has() {
        let other = [(OTHER, Some(5))];
        assert_eq!(between(&other, &other), None);
    }
}
