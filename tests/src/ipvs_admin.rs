//! Sets up and changes the IPVS table of the calling thread's network namespace, as an
//! administrator's tool would.
//!
//! The agent never writes to IPVS, so the writing half of the protocol is used here and
//! nowhere else; the format of the messages is the agent's `ipvs::wire`.

pub mod bulk;

use std::io;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_observer::{
    ipvs::{
        netlink::Ipvs,
        table::{Thresholds, TunnelKind},
        wire::{
            self, Attribute, Attributes, Body, DestinationAttribute, IP_VS_SVC_F_PERSISTENT,
            IPVS_CMD_DEL_DEST, IPVS_CMD_DEL_SERVICE, IPVS_CMD_FLUSH, IPVS_CMD_NEW_DEST,
            IPVS_CMD_NEW_SERVICE, IPVS_CMD_SET_DEST, IPVS_CMD_ZERO, Request, ServiceAttribute,
            destination_identity, service_identity,
        },
    },
    model::id::{AddressFamily, DestinationId, ForwardingMethod, ServiceId},
};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_generic::GenlMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// Adds a service without destinations.
pub fn add_service(service: &ServiceId, scheduler: &str) -> Result<()> {
    let attributes = full_service(service, scheduler, None);
    execute(IPVS_CMD_NEW_SERVICE, vec![Attribute::Service(attributes)])
        .with_context(|| format!("cannot add service {service} with scheduler {scheduler}"))
}

/// Adds a service whose clients stay with their real server for `timeout_s`.
pub fn add_persistent_service(service: &ServiceId, scheduler: &str, timeout_s: u32) -> Result<()> {
    let attributes = full_service(service, scheduler, Some(timeout_s));
    execute(IPVS_CMD_NEW_SERVICE, vec![Attribute::Service(attributes)])
        .with_context(|| format!("cannot add persistent service {service}"))
}

/// Removes a service with all its destinations.
pub fn delete_service(service: &ServiceId) -> Result<()> {
    let attributes = vec![Attribute::Service(service_identity(service))];
    execute(IPVS_CMD_DEL_SERVICE, attributes)
        .with_context(|| format!("cannot delete service {service}"))
}

/// Zeroes all counters.
pub fn zero() -> Result<()> {
    execute(IPVS_CMD_ZERO, Vec::new()).context("cannot zero the counters")
}

/// Adds a real server to a service.
pub fn add_destination(
    service: &ServiceId,
    destination: &DestinationId,
    method: ForwardingMethod,
    weight: u32,
) -> Result<()> {
    let attributes = full_destination(service, destination, method, weight);
    execute(IPVS_CMD_NEW_DEST, attributes)
        .with_context(|| format!("cannot add {destination} to service {service}"))
}

/// Changes the weight of a real server, and nothing else about it.
pub fn set_weight(service: &ServiceId, destination: &DestinationId, weight: u32) -> Result<()> {
    // The request replaces all that can be set, so the rest is read first.
    let table = Ipvs::open()?.service(service, &mut |_, _| None)?;
    let current = table
        .with_context(|| format!("there is no service {service}"))?
        .services
        .into_iter()
        .flat_map(|service| service.destinations)
        .find(|current| current.id == *destination)
        .with_context(|| format!("service {service} has no destination {destination}"))?;
    ensure!(
        current.thresholds.unwrap_or_default() == Thresholds::default(),
        "{destination} has thresholds, which setting the weight would drop"
    );
    ensure!(
        current
            .tunnel
            .is_none_or(|tunnel| tunnel.kind == TunnelKind::IpIp),
        "{destination} has a tunnel, which setting the weight would drop"
    );
    let attributes = full_destination(service, destination, current.method, weight);
    execute(IPVS_CMD_SET_DEST, attributes)
        .with_context(|| format!("cannot set the weight of {destination} of service {service}"))
}

/// Removes a real server from a service.
pub fn delete_destination(service: &ServiceId, destination: &DestinationId) -> Result<()> {
    let attributes = vec![
        Attribute::Service(service_identity(service)),
        Attribute::Destination(destination_identity(destination)),
    ];
    execute(IPVS_CMD_DEL_DEST, attributes)
        .with_context(|| format!("cannot delete {destination} of service {service}"))
}

/// Removes all services of the network namespace.
pub fn flush() -> Result<()> {
    execute(IPVS_CMD_FLUSH, Vec::new()).context("cannot flush the IPVS table")
}

/// All that the kernel wants to know of a new service.
fn full_service(
    service: &ServiceId,
    scheduler: &str,
    timeout_s: Option<u32>,
) -> Vec<ServiceAttribute> {
    let mut attributes = service_identity(service);
    attributes.extend([
        ServiceAttribute::Scheduler(scheduler.to_owned()),
        ServiceAttribute::Flags {
            flags: timeout_s.map_or(0, |_| IP_VS_SVC_F_PERSISTENT),
            mask: u32::MAX,
        },
        ServiceAttribute::Timeout(timeout_s.unwrap_or(0)),
        ServiceAttribute::Netmask(single_client(service.family())),
    ]);
    attributes
}

/// The netmask that tells every client apart, which IPv6 gives as a prefix length.
#[expect(
    clippy::host_endian_bytes,
    reason = "the kernel reads the prefix length in host order"
)]
fn single_client(family: AddressFamily) -> [u8; 4] {
    match family {
        AddressFamily::Ipv4 => [255; 4],
        AddressFamily::Ipv6 => 128_u32.to_ne_bytes(),
    }
}

/// All that the kernel wants to know of a destination.
fn full_destination(
    service: &ServiceId,
    destination: &DestinationId,
    method: ForwardingMethod,
    weight: u32,
) -> Vec<Attribute> {
    let mut attributes = destination_identity(destination);
    attributes.extend([
        DestinationAttribute::ForwardingMethod(method),
        DestinationAttribute::Weight(weight),
        DestinationAttribute::UpperThreshold(0),
        DestinationAttribute::LowerThreshold(0),
    ]);
    vec![
        Attribute::Service(service_identity(service)),
        Attribute::Destination(attributes),
    ]
}

/// Sends one request and waits until the kernel has done it.
fn execute(command: u8, attributes: Vec<Attribute>) -> Result<()> {
    let family = Ipvs::open()?.family();
    let socket = open_socket()?;
    let mut request = request(family, command, attributes);
    request.header.flags |= NLM_F_ACK;
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket
        .send(&bytes, 0)
        .context("cannot send an IPVS request")?;

    let (answer, _sender) = socket
        .recv_from_full()
        .context("cannot receive an IPVS answer")?;
    acknowledged(&answer)
}

fn open_socket() -> Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC).context("cannot open a netlink socket")?;
    socket.bind_auto().context("cannot bind a netlink socket")?;
    socket
        .connect(&SocketAddr::new(0, 0))
        .context("cannot connect a netlink socket to the kernel")?;
    Ok(socket)
}

/// A request that the kernel answers only if it fails.
fn request(
    family: u16,
    command: u8,
    attributes: Vec<Attribute>,
) -> NetlinkMessage<GenlMessage<Request<Attributes>>> {
    let mut payload = GenlMessage::from_payload(Request {
        command,
        content: Attributes(attributes),
    });
    payload.set_resolved_family_id(family);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(payload));
    request.finalize();
    request
}

fn acknowledged(answer: &[u8]) -> Result<()> {
    let answer = wire::messages(answer).next().context("IPVS sent nothing")?;
    let body = answer.context("cannot decode an IPVS answer")?.body;
    let Body::Error(code) = body else {
        bail!("expected an acknowledgement from IPVS, got {body:?}");
    };
    if code != 0 {
        let reason = io::Error::from_raw_os_error(code.saturating_neg());
        return Err(reason).context("the kernel refused");
    }
    Ok(())
}
