//! The section of the connections: listing few and many, against ipvsadm and the floor.

use anyhow::Result;

use super::{
    Section,
    figure::{Budget, Figure, Unit},
    measurements::Measurements,
};
use crate::{peers::Peers, qemu::Clock};

pub(super) const SECTION: Section = Section {
    name: "connections",
    title: "Connections",
    about: "TCP connections of ten services with ten real servers each, listed to `/dev/null`. The \
            floor reads `/proc/net/ip_vs_conn` into one buffer. Up to Linux 6.13 the kernel finds \
            its place in that file by counting from the start, again and again; this kernel does \
            not.",
    kernels: &["7.2"],
    peers: Peers::get,
    clock: Clock::SlowInstructions,
    load: &["ip_vs", "ip_vs_rr"],
    figures,
};

const OURS: &str = "list -c";
const IPVSADM: &str = "ipvsadm -Lnc";
const FLOOR: &str = "floor";

const FEW: &str = "1000 connections";
const MANY: &str = "100000 connections";
/// A list that streams takes the same memory for any number of connections. The kernel counts a
/// process's pages by the batch, so that runs differ; this is five bytes for each connection.
const MAX_GROWTH_BYTES: f64 = 512.0 * 1024.0;

fn figures(told: &Measurements) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for case in [FEW, MANY] {
        figures.push(Figure {
            name: format!("{OURS}, {case}, total"),
            unit: Unit::Instructions,
            ours: told.total(case, OURS)?,
            peer: Some((IPVSADM, told.total(case, IPVSADM)?)),
            floor: Some(told.total(case, FLOOR)?),
            budget: None,
        });
        figures.push(Figure {
            name: format!("{OURS}, {case}, user"),
            unit: Unit::Instructions,
            ours: told.user(case, OURS)?,
            peer: Some((IPVSADM, told.user(case, IPVSADM)?)),
            floor: Some(told.user(case, FLOOR)?),
            budget: None,
        });
    }
    let growth = |subject| {
        let few = told.peak_bytes(FEW, subject)?;
        Ok::<_, anyhow::Error>(told.peak_bytes(MANY, subject)? - few)
    };
    figures.push(Figure {
        name: format!("{OURS}, peak memory of {MANY} less that of {FEW}"),
        unit: Unit::Bytes,
        ours: growth(OURS)?,
        peer: None,
        floor: Some(growth(FLOOR)?),
        budget: Some(Budget::AtMost(MAX_GROWTH_BYTES)),
    });
    Ok(figures)
}
