//! The section of the cost: what a packet and a connection take more while they are observed,
//! beside empty probes and bpftrace.

use anyhow::Result;

use super::{
    Section,
    figure::{Budget, Figure, Unit},
    measurements::Measurements,
};
use crate::{peers::Peers, qemu::Clock};

pub(super) const SECTION: Section = Section {
    name: "cost",
    title: "The cost of being observed",
    about: "",
    kernels: &["6.1", "6.12", "6.18", "7.2"],
    peers: Peers::tracer,
    clock: Clock::Instructions,
    load: &["ip_vs", "ip_vs_rr", "veth", "sch_netem"],
    figures,
};

fn figures(told: &Measurements) -> Result<Vec<Figure>> {
    let _ = (told, Budget::AtMost(0.0), Unit::FewInstructions);
    Ok(Vec::new())
}
