//! A kernel whose table changes between requests, and the table that is made of its answers.

use std::{cell::RefCell, collections::VecDeque};

use super::*;
use crate::{
    ipvs::table::Netmask,
    model::id::{DestinationId, ForwardingMethod, Protocol},
};

/// One answer: the entries by their ports, and the datagrams that they came in.
type Scripted = (&'static [u16], u32);

/// Answers to requests, in the order in which they are asked, each with what is asked.
#[derive(Debug)]
struct Kernel {
    script: RefCell<VecDeque<(&'static str, Scripted)>>,
}

impl Kernel {
    fn new(script: &[(&'static str, Scripted)]) -> Self {
        Self {
            script: RefCell::new(script.iter().copied().collect()),
        }
    }

    fn answer(&self, query: Query<'_>) -> Extent {
        let next = self.script.borrow_mut().pop_front();
        let (asked, (ports, datagrams)) = next.expect("nothing more is to be asked");
        match query {
            Query::Services(services) => {
                assert_eq!(asked, "services");
                *services = ports.iter().copied().map(service_of).collect();
            }
            Query::Service(id, services) => {
                assert_eq!(asked, format!("service {}", port(id)));
                *services = ports.iter().copied().map(service_of).collect();
            }
            Query::Destinations(id, destinations) => {
                assert_eq!(asked, format!("destinations {}", port(id)));
                *destinations = ports.iter().copied().map(destination_of).collect();
            }
        }
        Extent {
            datagrams,
            is_interrupted: false,
        }
    }

    fn table(&self) -> Table {
        let table = table(&mut |query| Ok(self.answer(query))).unwrap();
        assert!(self.script.borrow().is_empty(), "more was to be asked");
        table
    }

    fn one(&self, port: u16) -> Option<Table> {
        let id = service_of(port).id;
        let table = service(&id, &mut |query| Ok(self.answer(query))).unwrap();
        assert!(self.script.borrow().is_empty(), "more was to be asked");
        table
    }
}

/// The service at a port; above 1000 the same one by 1000 less, edited.
fn service_of(port: u16) -> Service {
    let id = ServiceId::Address {
        protocol: Protocol::TCP,
        address: [192, 0, 2, 10].into(),
        port: port % 1000,
    };
    Service {
        id,
        scheduler: if port > 1000 { "wrr" } else { "rr" }.to_owned(),
        flags: 2,
        timeout_s: Some(0),
        netmask: Some(Netmask::Ipv4([255; 4].into())),
        engine: None,
        stats: None,
        destinations: Vec::new(),
    }
}

/// The real server at a port; above 1000 the same one by 1000 less, with another weight.
fn destination_of(port: u16) -> Destination {
    Destination {
        id: DestinationId {
            address: [10, 0, 0, 1].into(),
            port: port % 1000,
        },
        method: ForwardingMethod::Masquerade,
        weight: 1 + u32::from(port / 1000),
        active: 0,
        inactive: 0,
        persistent: None,
        thresholds: None,
        tunnel: None,
        stats: None,
    }
}

const fn port(id: &ServiceId) -> u16 {
    match id {
        ServiceId::Address { port, .. } => *port,
        ServiceId::FirewallMark { .. } => 0,
    }
}

/// Services and their real servers by the ports that the script has for them.
fn seen(table: &Table) -> Vec<(u16, Vec<u16>)> {
    let edited = |is_edited: bool| if is_edited { 1000 } else { 0 };
    let server = |server: &Destination| server.id.port + edited(server.weight > 1);
    table
        .services
        .iter()
        .map(|service| {
            let servers = service.destinations.iter().map(server).collect();
            let is_edited = service.scheduler != "rr";
            (port(&service.id) + edited(is_edited), servers)
        })
        .collect()
}

#[test]
fn a_table_that_holds_still_is_read_once_and_its_services_twice() {
    let kernel = Kernel::new(&[
        ("services", (&[3, 1, 2], 1)),
        ("destinations 3", (&[9, 8], 1)),
        ("destinations 1", (&[], 0)),
        ("destinations 2", (&[7], 1)),
        ("services", (&[3, 1, 2], 1)),
    ]);
    let table = kernel.table();
    assert!(!table.torn);
    let expected = vec![(3, vec![9, 8]), (1, vec![]), (2, vec![7])];
    assert_eq!(seen(&table), expected);
}

#[test]
fn an_empty_table_is_asked_for_twice() {
    let kernel = Kernel::new(&[("services", (&[], 0)), ("services", (&[], 0))]);
    assert_eq!(kernel.table(), Table::default());
}

#[test]
fn a_service_that_went_between_the_dumps_is_not_shown_as_one_without_servers() {
    let kernel = Kernel::new(&[
        ("services", (&[1, 2], 1)),
        ("destinations 1", (&[9], 1)),
        ("destinations 2", (&[], 0)),
        ("services", (&[1], 1)),
        // What is left has not changed and is not read again.
        ("services", (&[1], 1)),
    ]);
    let table = kernel.table();
    assert!(!table.torn);
    assert_eq!(seen(&table), vec![(1, vec![9])]);
}

#[test]
fn a_service_that_came_or_changed_is_read_again_and_no_other() {
    let kernel = Kernel::new(&[
        ("services", (&[1, 2], 1)),
        ("destinations 1", (&[9], 1)),
        ("destinations 2", (&[8], 1)),
        ("services", (&[3, 1, 1002], 1)),
        ("destinations 3", (&[7], 1)),
        ("destinations 2", (&[6], 1)),
        ("services", (&[3, 1, 1002], 1)),
    ]);
    let table = kernel.table();
    assert!(!table.torn);
    let expected = vec![(3, vec![7]), (1, vec![9]), (1002, vec![6])];
    assert_eq!(seen(&table), expected);
}

#[test]
fn a_table_in_another_order_has_not_changed() {
    let kernel = Kernel::new(&[
        ("services", (&[1, 2], 1)),
        ("destinations 1", (&[9], 1)),
        ("destinations 2", (&[8], 1)),
        ("services", (&[2, 1], 1)),
    ]);
    let table = kernel.table();
    assert!(!table.torn);
    assert_eq!(seen(&table), vec![(1, vec![9]), (2, vec![8])]);
}

#[test]
fn a_table_that_never_holds_still_is_marked() {
    let kernel = Kernel::new(&[
        ("services", (&[1], 1)),
        ("destinations 1", (&[9], 1)),
        ("services", (&[1, 2], 1)),
        ("destinations 2", (&[8], 1)),
        ("services", (&[1, 2, 3], 1)),
        ("destinations 3", (&[7], 1)),
        ("services", (&[1, 2], 1)),
    ]);
    let table = kernel.table();
    assert!(table.torn);
    let expected = vec![(1, vec![9]), (2, vec![8]), (3, vec![7])];
    assert_eq!(seen(&table), expected);
}

#[test]
fn a_repeated_service_counts_once_in_its_first_place() {
    let kernel = Kernel::new(&[
        ("services", (&[1, 2, 1001, 3], 2)),
        ("destinations 1", (&[9], 1)),
        ("destinations 2", (&[], 0)),
        ("destinations 3", (&[], 0)),
        ("services", (&[1001, 2, 3], 2)),
    ]);
    let table = kernel.table();
    assert!(!table.torn);
    let expected = vec![(1001, vec![9]), (2, vec![]), (3, vec![])];
    assert_eq!(seen(&table), expected);
}

#[test]
fn services_that_the_second_dump_repeats_are_the_same() {
    let kernel = Kernel::new(&[
        ("services", (&[1, 2], 2)),
        ("destinations 1", (&[], 0)),
        ("destinations 2", (&[], 0)),
        ("services", (&[1, 2, 2], 2)),
    ]);
    assert!(!kernel.table().torn);
}

#[test]
fn a_dump_of_destinations_in_several_datagrams_is_read_until_two_agree() {
    let kernel = Kernel::new(&[
        ("services", (&[1], 1)),
        ("destinations 1", (&[9, 8, 9], 2)),
        ("destinations 1", (&[9, 8, 7], 2)),
        ("destinations 1", (&[9, 8, 1007], 2)),
        ("services", (&[1], 1)),
    ]);
    let table = kernel.table();
    assert!(!table.torn);
    assert_eq!(seen(&table), vec![(1, vec![9, 8, 1007])]);
}

#[test]
fn destinations_that_come_at_once_in_the_end_are_whole() {
    let kernel = Kernel::new(&[
        ("services", (&[1], 1)),
        ("destinations 1", (&[9, 8], 2)),
        ("destinations 1", (&[9], 1)),
        ("services", (&[1], 1)),
    ]);
    let table = kernel.table();
    assert!(!table.torn);
    assert_eq!(seen(&table), vec![(1, vec![9])]);
}

#[test]
fn destinations_that_never_agree_are_marked() {
    let kernel = Kernel::new(&[
        ("services", (&[1], 1)),
        ("destinations 1", (&[9, 8], 2)),
        ("destinations 1", (&[8, 9], 2)),
        ("destinations 1", (&[7, 8, 1007], 2)),
        ("services", (&[1], 1)),
    ]);
    let table = kernel.table();
    assert!(table.torn);
    assert_eq!(seen(&table), vec![(1, vec![1007, 8])]);
}

#[test]
fn a_dump_that_the_kernel_calls_interrupted_is_read_again() {
    let mut asked = 0;
    let mut destinations = Vec::new();
    let is_steady = read_destinations(&service_of(1).id, &mut destinations, &mut |_| {
        asked += 1;
        Ok(Extent {
            datagrams: 0,
            is_interrupted: true,
        })
    });
    // Two that agree, even on nothing.
    assert!(is_steady.unwrap());
    assert_eq!(asked, 2);
}

#[test]
fn an_error_in_the_middle_is_an_error() {
    let mut asked = 0;
    let table = table(&mut |query| {
        asked += 1;
        match query {
            Query::Services(services) => {
                *services = vec![service_of(1)];
                Ok(Extent::default())
            }
            Query::Service(..) | Query::Destinations(..) => {
                Err(NetlinkError::NotPermitted { request: "read" })
            }
        }
    });
    assert!(matches!(table, Err(NetlinkError::NotPermitted { .. })));
    assert_eq!(asked, 2);
}

#[test]
fn one_service_is_read_without_the_others() {
    let kernel = Kernel::new(&[
        ("service 1", (&[1], 1)),
        ("destinations 1", (&[9], 1)),
        ("service 1", (&[1], 1)),
    ]);
    let table = kernel.one(1).unwrap();
    assert!(!table.torn);
    assert_eq!(seen(&table), vec![(1, vec![9])]);
}

#[test]
fn a_service_that_is_not_there_is_none() {
    assert_eq!(Kernel::new(&[("service 1", (&[], 0))]).one(1), None);
    let went = Kernel::new(&[
        ("service 1", (&[1], 1)),
        ("destinations 1", (&[], 0)),
        ("service 1", (&[], 0)),
    ]);
    assert_eq!(went.one(1), None);
}

#[test]
fn one_service_that_changes_is_read_again_and_marked_in_the_end() {
    let kernel = Kernel::new(&[
        ("service 1", (&[1], 1)),
        ("destinations 1", (&[9], 1)),
        ("service 1", (&[1001], 1)),
        ("destinations 1", (&[8], 1)),
        ("service 1", (&[1001], 1)),
    ]);
    let table = kernel.one(1).unwrap();
    assert!(!table.torn);
    assert_eq!(seen(&table), vec![(1001, vec![8])]);

    let kernel = Kernel::new(&[
        ("service 1", (&[1], 1)),
        ("destinations 1", (&[9], 1)),
        ("service 1", (&[1001], 1)),
        ("destinations 1", (&[8], 1)),
        ("service 1", (&[1], 1)),
        ("destinations 1", (&[7], 1)),
        ("service 1", (&[1001], 1)),
    ]);
    let table = kernel.one(1).unwrap();
    assert!(table.torn);
    assert_eq!(seen(&table), vec![(1, vec![7])]);
}
