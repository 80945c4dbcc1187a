//! Changes as JSON: `old` and `new` have names and values of the listing's objects.

use std::{io, net::IpAddr};

use serde::Serialize;

use super::{
    super::{
        super::object::{IdentityObject, Pairs, time},
        json::{FlagsObject, NetmaskObject, TunnelObject, seconds},
    },
    kind, whose,
};
use crate::{
    ipvs::table::{Destination, Service},
    model::{
        changes::{Change, DestinationField, Difference, ServiceField},
        listing::{Listing, Source},
    },
};

/// Writes an object for each change that `listing` shows: of an edited entry it has what is not as it was, of another one
/// all that is set.
pub fn json(changes: &[Change<'_>], listing: &Listing, out: &mut impl io::Write) -> io::Result<()> {
    for change in changes {
        serde_json::to_writer(&mut *out, &ChangeObject::of(change, listing))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct ChangeObject<'a> {
    host: &'a str,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<&'a str>,
    change: &'static str,
    service: String,
    #[serde(flatten)]
    identity: IdentityObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<EndpointObject>,
    #[serde(flatten)]
    settings: SidesObject<'a>,
}

/// What was set, and what is.
#[derive(Serialize)]
pub(in crate::output) struct SidesObject<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<SettingsObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<SettingsObject<'a>>,
}

impl<'a> SidesObject<'a> {
    pub(in crate::output) fn of(change: &Change<'a>, source: Source) -> Self {
        let (old, new) = match change {
            Change::Service(difference) => sides(difference, &ServiceField::ALL, |field, it| {
                service_value(field, it, source)
            }),
            Change::Destination { difference, .. } => {
                sides(difference, &DestinationField::ALL, server_value)
            }
        };
        Self { old, new }
    }
}

#[derive(Serialize)]
struct EndpointObject {
    address: IpAddr,
    port: u16,
}

type SettingsObject<'a> = Pairs<&'static str, ValueObject<'a>>;

#[derive(Serialize)]
#[serde(untagged)]
enum ValueObject<'a> {
    Integer(u64),
    Name(&'a str),
    Method(String),
    Flags(FlagsObject),
    Netmask(NetmaskObject),
    Tunnel(TunnelObject),
}

impl<'a> ChangeObject<'a> {
    fn of(change: &Change<'a>, listing: &'a Listing) -> Self {
        let (service, server) = whose(change);
        Self {
            host: &listing.host,
            time: time(listing.at),
            netns: listing.netns.as_deref(),
            change: kind(change),
            service: service.to_string(),
            identity: IdentityObject::of(&service),
            server: server.map(|id| EndpointObject {
                address: id.address,
                port: id.port,
            }),
            settings: SidesObject::of(change, listing.source),
        }
    }
}

/// What is said of the entry as it was and as it is.
fn sides<'a, T, F: Copy>(
    difference: &Difference<'a, T, F>,
    all: &[F],
    value: impl Fn(F, &'a T) -> Option<(&'static str, ValueObject<'a>)>,
) -> (Option<SettingsObject<'a>>, Option<SettingsObject<'a>>) {
    let side = |it, fields: &[F]| {
        let values = fields.iter().filter_map(|&field| value(field, it));
        Some(Pairs(values.collect()))
    };
    match difference {
        Difference::Added(new) => (None, side(new, all)),
        Difference::Removed(old) => (side(old, all), None),
        Difference::Edited { old, new, fields } => (side(old, fields), side(new, fields)),
    }
}

fn service_value(
    field: ServiceField,
    service: &Service,
    source: Source,
) -> Option<(&'static str, ValueObject<'_>)> {
    Some(match field {
        ServiceField::Scheduler => ("scheduler", ValueObject::Name(&service.scheduler)),
        ServiceField::Flags => (
            "flags",
            ValueObject::Flags(FlagsObject::of(service, source)),
        ),
        ServiceField::Timeout => (
            "timeout_ns",
            ValueObject::Integer(seconds(service.timeout_s?)),
        ),
        ServiceField::Netmask => (
            "netmask",
            ValueObject::Netmask(NetmaskObject::of(service.netmask?)),
        ),
        ServiceField::Engine => ("engine", ValueObject::Name(service.engine.as_deref()?)),
    })
}

fn server_value(
    field: DestinationField,
    server: &Destination,
) -> Option<(&'static str, ValueObject<'_>)> {
    let integer = |value: u32| ValueObject::Integer(value.into());
    Some(match field {
        DestinationField::Method => ("method", ValueObject::Method(server.method.to_string())),
        DestinationField::Weight => ("weight", integer(server.weight)),
        DestinationField::UpperThreshold => ("upper_threshold", integer(server.thresholds?.upper)),
        DestinationField::LowerThreshold => ("lower_threshold", integer(server.thresholds?.lower)),
        DestinationField::Tunnel => (
            "tunnel",
            ValueObject::Tunnel(TunnelObject::of(server.wrapping()?)),
        ),
    })
}
