//! What is told of a change.

use serde_json::{Value, json};

use super::{json as encode_json, text};
use crate::{
    ipvs::table::{Netmask, Service, Thresholds},
    model::{
        changes::{Change, Known},
        id::{DestinationId, ForwardingMethod},
        listing::Listing,
    },
    output::list::fixture::{least, listing},
};

type Encode = fn(&[Change<'_>], &Listing, &mut Vec<u8>) -> std::io::Result<()>;

fn told(old: &Listing, new: &Listing, encode: Encode) -> String {
    let known = Known::new(old.table.clone());
    let mut out = Vec::new();
    encode(&known.changes(&new.table), new, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn objects(old: &Listing, new: &Listing) -> Vec<Value> {
    let text = told(old, new, encode_json);
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The first two services of the fixture, set otherwise in everything that can be set.
fn edited() -> Listing {
    let mut listing = listing();
    let services = &mut listing.table.services;
    services.truncate(3);
    let [web, persistent, tunnels] = services.as_mut_slice() else {
        panic!("three services");
    };
    edit(web);
    "rr".clone_into(&mut persistent.scheduler);
    persistent.flags = 0x2 | 0x4 | 0x20 | 0x100;
    tunnels.destinations[0].tunnel.as_mut().unwrap().port = 6081;
    tunnels.destinations[1].method = ForwardingMethod::DirectRoute;
    listing
}

fn edit(service: &mut Service) {
    service.flags = 0x3;
    service.timeout_s = Some(360);
    service.netmask = Some(Netmask::Ipv4([255, 255, 0, 0].into()));
    service.engine = Some("sip".to_owned());
    let server = &mut service.destinations[0];
    server.method = ForwardingMethod::Local;
    server.weight = 0;
    server.thresholds = Some(Thresholds {
        upper: 100,
        lower: 80,
    });
    service.destinations[1].id = DestinationId {
        address: "10.1.0.4".parse().unwrap(),
        port: 80,
    };
}

fn before() -> Listing {
    let mut listing = listing();
    listing.table.services.truncate(3);
    listing
}

#[test]
fn a_line_tells_who_changed_and_how() {
    assert_eq!(
        told(&before(), &edited(), text),
        "\
2027-01-15T08:00:00.123Z  edited   TCP 192.0.2.10:80                     flags none -> persistent, timeout 0s -> 360s, netmask 255.255.255.255 -> 255.255.0.0, engine none -> sip
2027-01-15T08:00:00.123Z  removed  TCP 192.0.2.10:80 -> 10.1.0.3:8080    method Masq, weight 3
2027-01-15T08:00:00.123Z  edited   TCP 192.0.2.10:80 -> 10.1.0.2:8080    method Masq -> Local, weight 1 -> 0, upper threshold 0 -> 100, lower threshold 0 -> 80
2027-01-15T08:00:00.123Z  added    TCP 192.0.2.10:80 -> 10.1.0.4:80      method Masq, weight 3
2027-01-15T08:00:00.123Z  edited   TCP 192.0.2.10:443                    scheduler wrr -> rr, flags persistent -> ops,flag-3,0x100
2027-01-15T08:00:00.123Z  edited   TCP 192.0.2.10:8443 -> 10.1.0.2:8443  tunnel gue:6080:r+c -> gue:6081:r+c
2027-01-15T08:00:00.123Z  edited   TCP 192.0.2.10:8443 -> 10.1.0.3:8443  method Tunnel -> Route, tunnel gre:+c -> none
"
    );
}

#[test]
fn what_comes_or_goes_is_told_with_all_that_is_set() {
    let mut none = listing();
    none.table.services.clear();
    let mut some = listing();
    let services = &mut some.table.services;
    *services = [
        services[1].clone(),
        services[6].clone(),
        services[10].clone(),
    ]
    .into();
    let lines = |kind: &str| {
        [
            format!("{kind}  TCP 192.0.2.10:443                     scheduler wrr, flags persistent, timeout 360s, netmask 255.255.255.0"),
            format!("{kind}  TCP 192.0.2.10:443 -> 10.1.0.2:443     method Route, weight 65535, upper threshold 4000000000, lower threshold 90"),
            format!("{kind}  TCP 192.0.2.10:443 -> 192.168.0.9:443  method Tunnel, weight 1, tunnel ipip"),
            format!("{kind}  UDP 192.0.2.10:5060                    scheduler rr, flags persistent, timeout 60s, netmask 255.255.255.255, engine sip"),
            format!("{kind}  UDP 192.0.2.10:5060 -> 10.1.0.2:5060   method method 6, weight 1"),
            format!("{kind}  FWM 47 IPv6                            scheduler rr"),
            format!("{kind}  FWM 47 IPv6 -> [fd00:1::2]:0           method Masq, weight 1"),
            format!("{kind}  FWM 47 IPv6 -> 10.1.0.2:0              method Tunnel, weight 1, tunnel ipip"),
        ]
        .map(|line| format!("2027-01-15T08:00:00.123Z  {line}\n"))
        .concat()
    };
    assert_eq!(told(&none, &some, text), lines("added  "));
    assert_eq!(told(&some, &none, text), lines("removed"));
}

#[test]
fn an_object_has_what_was_and_what_is() {
    let objects = objects(&before(), &edited());
    let head = json!({
        "host": "director1",
        "time": "2027-01-15T08:00:00.123456789Z",
        "service": "TCP 192.0.2.10:80",
        "protocol": "TCP",
        "address": "192.0.2.10",
        "port": 80
    });
    let with = |more: Value| {
        let mut object = head.clone();
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        object
    };
    let plain = json!({ "persistent": false, "one_packet": false, "scheduler": [], "number": 2 });
    let persistent =
        json!({ "persistent": true, "one_packet": false, "scheduler": [], "number": 3 });
    let server =
        json!({ "method": "Masq", "weight": 3, "upper_threshold": 0, "lower_threshold": 0 });
    assert_eq!(
        objects[..4],
        [
            with(json!({
                "change": "edited",
                "old": { "flags": plain, "timeout_ns": 0, "netmask": "255.255.255.255" },
                "new": {
                    "flags": persistent, "timeout_ns": 360_000_000_000_u64,
                    "netmask": "255.255.0.0", "engine": "sip"
                }
            })),
            with(json!({
                "change": "removed",
                "server": { "address": "10.1.0.3", "port": 8080 },
                "old": server
            })),
            with(json!({
                "change": "edited",
                "server": { "address": "10.1.0.2", "port": 8080 },
                "old": { "method": "Masq", "weight": 1, "upper_threshold": 0, "lower_threshold": 0 },
                "new": { "method": "Local", "weight": 0, "upper_threshold": 100, "lower_threshold": 80 }
            })),
            with(json!({
                "change": "added",
                "server": { "address": "10.1.0.4", "port": 80 },
                "new": server
            })),
        ]
    );
    assert_eq!(
        (&objects[6]["old"], &objects[6]["new"]),
        (
            &json!({
                "method": "Tunnel",
                "tunnel": { "type": "gre", "checksum": true, "remote_checksum": false, "number": 1 }
            }),
            &json!({ "method": "Route" })
        )
    );
}

#[test]
fn what_the_source_does_not_know_is_left_out() {
    let mut none = least();
    none.table.services.clear();
    none.netns = Some("blue".to_owned());
    let objects = objects(&least(), &none);
    assert_eq!(objects[0]["netns"], "blue");
    assert_eq!(
        objects[0]["old"],
        json!({ "scheduler": "rr", "flags": { "persistent": false, "one_packet": false } })
    );
    assert_eq!(objects[1]["old"], json!({ "method": "Masq", "weight": 1 }));
    assert_eq!(objects[0].get("new"), None);
}

#[test]
fn a_flag_without_a_name_is_a_number_beside_the_names() {
    let with = |flags| {
        let mut listing = listing();
        let services = &mut listing.table.services;
        *services = [services[2].clone()].into();
        services[0].flags = flags;
        listing
    };
    let flags = |old, new| {
        let line = told(&with(old), &with(new), text);
        line.trim_end().split_once("flags ").unwrap().1.to_owned()
    };
    assert_eq!(flags(0x2, 0x38), "none -> sh-fallback,sh-port,flag-3");
    assert_eq!(
        flags(0x12, 0x8000_0042),
        "sh-port -> 0x80000040",
        "2 is the kernel's own"
    );
}

#[test]
fn nothing_is_written_where_nothing_changed() {
    for encode in [text as Encode, encode_json] {
        assert_eq!(told(&listing(), &listing(), encode), "");
    }
}
