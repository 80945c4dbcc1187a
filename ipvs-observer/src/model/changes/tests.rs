//! Which differences between two tables are changes.

use super::{Change, DestinationField, Difference, Known, ServiceField};
use crate::{
    ipvs::table::{
        Destination, Netmask, Service, Stats, Table, Thresholds, Traffic, Tunnel, TunnelKind,
    },
    model::id::{AddressFamily, DestinationId, ForwardingMethod, ServiceId},
};

fn service(mark: u32, servers: &[u8]) -> Service {
    Service {
        id: ServiceId::FirewallMark {
            mark,
            family: AddressFamily::Ipv4,
        },
        scheduler: "rr".to_owned(),
        flags: 0,
        timeout_s: Some(0),
        netmask: Some(Netmask::Ipv6(128)),
        engine: None,
        stats: None,
        destinations: servers.iter().copied().map(server).collect(),
    }
}

fn server(number: u8) -> Destination {
    Destination {
        id: DestinationId {
            address: [10, 0, 0, number].into(),
            port: 80,
        },
        method: ForwardingMethod::Masquerade,
        weight: 1,
        active: 0,
        inactive: 0,
        persistent: Some(0),
        thresholds: Some(Thresholds::default()),
        tunnel: Some(Tunnel {
            kind: TunnelKind::IpIp,
            port: 0,
            flags: 0,
        }),
        stats: None,
    }
}

fn table(services: Vec<Service>) -> Table {
    Table {
        services,
        torn: false,
    }
}

fn torn(services: Vec<Service>) -> Table {
    Table {
        services,
        torn: true,
    }
}

/// The changes, as `+47`, `-47/1`, `*47/1 [Weight]`.
fn told(changes: &[Change<'_>]) -> Vec<String> {
    let mark = |id: ServiceId| match id {
        ServiceId::FirewallMark { mark, .. } => mark,
        ServiceId::Address { .. } => panic!("only marks here"),
    };
    let last = |server: &Destination| server.id.address.to_string().split_off("10.0.0.".len());
    let tell = |change: &Change<'_>| match change {
        Change::Service(Difference::Added(new)) => format!("+{}", mark(new.id)),
        Change::Service(Difference::Removed(old)) => format!("-{}", mark(old.id)),
        Change::Service(Difference::Edited { new, fields, .. }) => {
            format!("*{} {fields:?}", mark(new.id))
        }
        Change::Destination {
            service,
            difference,
        } => match difference {
            Difference::Added(new) => format!("+{}/{}", mark(*service), last(new)),
            Difference::Removed(old) => format!("-{}/{}", mark(*service), last(old)),
            Difference::Edited { new, fields, .. } => {
                format!("*{}/{} {fields:?}", mark(*service), last(new))
            }
        },
    };
    changes.iter().map(tell).collect()
}

/// What each of the readings after the first tells.
fn followed<const N: usize>(first: Table, readings: [Table; N]) -> [Vec<String>; N] {
    let mut known = Known::new(first);
    readings.map(|reading| {
        let changes = told(&known.changes(&reading));
        known.update(reading);
        changes
    })
}

type Edit<T> = fn(&mut T);

const NOTHING: [&str; 0] = [];

#[test]
fn what_comes_and_goes_is_told_with_its_servers() {
    let old = table(vec![service(1, &[1, 2]), service(2, &[1]), service(3, &[])]);
    let new = table(vec![service(4, &[7]), service(1, &[3, 2]), service(3, &[])]);
    let [changes] = followed(old, [new]);
    assert_eq!(changes, ["-2", "-2/1", "+4", "+4/7", "-1/1", "+1/3"]);
}

#[test]
fn another_order_is_no_change() {
    let old = table(vec![service(1, &[1, 2]), service(2, &[])]);
    let new = table(vec![service(2, &[]), service(1, &[2, 1])]);
    assert_eq!(followed(old, [new]), [NOTHING]);
}

#[test]
fn each_field_of_a_service_is_told_alone() {
    let edits: [(Edit<Service>, ServiceField); 6] = [
        (|it| it.scheduler.push('x'), ServiceField::Scheduler),
        (|it| it.flags = 4, ServiceField::Flags),
        (|it| it.flags = 1 << 31, ServiceField::Flags),
        (|it| it.timeout_s = Some(300), ServiceField::Timeout),
        (
            |it| it.netmask = Some(Netmask::Ipv6(64)),
            ServiceField::Netmask,
        ),
        (
            |it| it.engine = Some("sip".to_owned()),
            ServiceField::Engine,
        ),
    ];
    for (edit, field) in edits {
        let mut edited = service(1, &[1]);
        edit(&mut edited);
        let [changes] = followed(table(vec![service(1, &[1])]), [table(vec![edited])]);
        assert_eq!(changes, [format!("*1 [{field:?}]")]);
    }
}

#[test]
fn each_field_of_a_server_is_told_alone() {
    let edits: [(Edit<Destination>, DestinationField); 4] = [
        (
            |it| it.method = ForwardingMethod::Local,
            DestinationField::Method,
        ),
        (|it| it.weight = 0, DestinationField::Weight),
        (
            |it| it.thresholds = Some(Thresholds { upper: 9, lower: 0 }),
            DestinationField::UpperThreshold,
        ),
        (
            |it| it.thresholds = Some(Thresholds { upper: 0, lower: 9 }),
            DestinationField::LowerThreshold,
        ),
    ];
    for (edit, field) in edits {
        let mut edited = service(1, &[1, 2]);
        edit(&mut edited.destinations[1]);
        let [changes] = followed(table(vec![service(1, &[1, 2])]), [table(vec![edited])]);
        assert_eq!(changes, [format!("*1/2 [{field:?}]")]);
    }
}

#[test]
fn a_tunnel_is_told_only_of_a_server_that_is_behind_one() {
    let with = |method, flags| {
        let mut service = service(1, &[1]);
        service.destinations[0].method = method;
        service.destinations[0].tunnel.as_mut().unwrap().flags = flags;
        table(vec![service])
    };
    let (masquerade, tunnel) = (ForwardingMethod::Masquerade, ForwardingMethod::Tunnel);
    let changes = followed(
        with(masquerade, 0),
        [with(masquerade, 1), with(tunnel, 1), with(tunnel, 2)],
    );
    assert_eq!(
        changes,
        [&NOTHING[..], &["*1/1 [Method, Tunnel]"], &["*1/1 [Tunnel]"]]
    );
}

#[test]
fn several_fields_are_one_edit_that_has_both_sides() {
    let old = table(vec![service(1, &[1])]);
    let mut edited = service(1, &[1]);
    edited.destinations[0].weight = 0;
    edited.destinations[0].method = ForwardingMethod::DirectRoute;
    let new = table(vec![edited]);
    let known = Known::new(old);
    let changes = known.changes(&new);
    let [Change::Destination { difference, .. }] = changes.as_slice() else {
        panic!("not one change: {changes:?}");
    };
    assert_eq!(
        *difference,
        Difference::Edited {
            old: &server(1),
            new: &new.services[0].destinations[0],
            fields: vec![DestinationField::Method, DestinationField::Weight],
        }
    );
}

#[test]
fn counters_connections_and_what_one_side_does_not_know_are_no_changes() {
    let mut other = service(1, &[1]);
    other.flags = 0x2;
    other.stats = Some(Stats {
        traffic: Traffic {
            connections: 7,
            ..Traffic::default()
        },
        ..Stats::default()
    });
    (other.timeout_s, other.netmask) = (None, None);
    let other_server = &mut other.destinations[0];
    (other_server.active, other_server.inactive) = (3, 4);
    (
        other_server.persistent,
        other_server.thresholds,
        other_server.tunnel,
    ) = (None, None, None);
    other_server.stats = other.stats;
    let [there, back] = followed(
        table(vec![service(1, &[1])]),
        [table(vec![other]), table(vec![service(1, &[1])])],
    );
    assert_eq!([there, back], [NOTHING, NOTHING]);
}

#[test]
fn what_a_torn_table_lacks_is_neither_gone_nor_new_when_it_is_seen_again() {
    let whole = || table(vec![service(1, &[1, 2]), service(2, &[1])]);
    let changes = followed(
        whole(),
        [
            torn(vec![service(1, &[2])]),
            torn(vec![]),
            whole(),
            table(vec![]),
        ],
    );
    let gone = ["-1", "-1/1", "-1/2", "-2", "-2/1"];
    assert_eq!(changes, [&NOTHING[..], &NOTHING, &NOTHING, &gone]);
}

#[test]
fn what_a_torn_table_shows_is_told_and_what_left_meanwhile_is_told_by_the_next_whole_one() {
    let mut edited = service(1, &[1, 3]);
    edited.destinations[0].weight = 0;
    let changes = followed(
        table(vec![service(1, &[1, 2])]),
        [
            torn(vec![edited.clone(), service(2, &[])]),
            table(vec![edited]),
        ],
    );
    assert_eq!(
        changes,
        [&["*1/1 [Weight]", "+1/3", "+2"][..], &["-2", "-1/2"]]
    );
}

#[test]
fn what_comes_after_a_torn_table_is_new_if_a_whole_one_was_before() {
    let changes = followed(
        table(vec![service(1, &[])]),
        [torn(vec![]), table(vec![service(1, &[2]), service(3, &[])])],
    );
    assert_eq!(changes, [&NOTHING[..], &["+1/2", "+3"]]);
}

#[test]
fn after_a_first_table_that_is_torn_nothing_is_new_until_a_whole_one() {
    let changes = followed(
        torn(vec![service(1, &[1])]),
        [
            torn(vec![service(2, &[])]),
            table(vec![service(1, &[1, 2]), service(2, &[]), service(3, &[])]),
            table(vec![
                service(4, &[]),
                service(1, &[1, 2]),
                service(2, &[]),
                service(3, &[]),
            ]),
        ],
    );
    assert_eq!(changes, [&NOTHING[..], &NOTHING, &["+4"]]);
}
