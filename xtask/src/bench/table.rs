//! The section of the table: listing it, against ipvsadm, `node_exporter` and the floor.

use anyhow::Result;

use super::{
    Section,
    figure::{Budget, Figure, Unit},
    measurements::Measurements,
};
use crate::{peers::Peers, qemu::Clock};

pub(super) const SECTION: Section = Section {
    name: "table",
    title: "The table",
    about: "Tables of services × real servers of each, listed to `/dev/null`. The floor asks for \
            the same over netlink and looks at nothing. node_exporter is a process that stays; its \
            figure is one scrape with the collector of IPVS alone. All counters are 0, and the \
            kernel's estimator rests. The last figures are what a table takes of which there is five \
            times as much, beside five times the smaller one; the kernel's own part grows by more \
            than that.",
    kernels: &["6.12"],
    peers: Peers::get,
    clock: Clock::SlowInstructions,
    load: &["ip_vs", "ip_vs_rr"],
    figures,
};

const OURS: &str = "list --stats";
const IPVSADM: &str = "ipvsadm -Ln --stats";
const EXPORTER: &str = "node_exporter";
const FLOOR: &str = "floor";

const SIZES: [&str; 3] = ["100 x 5", "1000 x 5", PROMISED];
/// The table that the budgets are stated for.
const PROMISED: &str = "10000 x 5";
const MAX_TOTAL: f64 = 0.40;
const MAX_USER: f64 = 0.25;
const MAX_PEAK_BYTES: f64 = 64.0 * 1024.0 * 1024.0;

const SMALL: &str = "10000 x 2";
const LARGE: &str = "50000 x 2";
/// How many times `SMALL` is in `LARGE`.
const FACTOR: f64 = 5.0;
/// How much more than the floor's the growth may be: the kernel's own walk is not linear, since a dump of services counts
/// from the start again with each datagram.
const MAX_GROWTH_BESIDE_FLOOR: f64 = 1.10;

fn figures(told: &Measurements) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for case in SIZES {
        figures.extend(of_size(told, case)?);
    }
    let growth =
        |subject| Ok::<_, anyhow::Error>(told.total(LARGE, subject)? / told.total(SMALL, subject)?);
    figures.push(Figure {
        name: format!("{OURS}, {LARGE} beside {FACTOR} × {SMALL}, total"),
        unit: Unit::Times,
        ours: growth(OURS)? / FACTOR,
        peer: None,
        floor: Some(growth(FLOOR)? / FACTOR),
        budget: None,
    });
    figures.push(Figure {
        name: format!("{OURS}, the same growth beside the floor's"),
        unit: Unit::Times,
        ours: growth(OURS)? / growth(FLOOR)?,
        peer: None,
        floor: None,
        budget: Some(Budget::AtMost(MAX_GROWTH_BESIDE_FLOOR)),
    });
    Ok(figures)
}

fn of_size(told: &Measurements, case: &str) -> Result<[Figure; 4]> {
    let promise = |budget| (case == PROMISED).then_some(budget);
    Ok([
        Figure {
            name: format!("{OURS}, {case}, total"),
            unit: Unit::Instructions,
            ours: told.total(case, OURS)?,
            peer: Some((IPVSADM, told.total(case, IPVSADM)?)),
            floor: Some(told.total(case, FLOOR)?),
            budget: promise(Budget::OfPeer(MAX_TOTAL)),
        },
        Figure {
            name: format!("{OURS}, {case}, beside a scrape"),
            unit: Unit::Instructions,
            ours: told.total(case, OURS)?,
            peer: Some((EXPORTER, told.total(case, EXPORTER)?)),
            floor: None,
            budget: None,
        },
        Figure {
            name: format!("{OURS}, {case}, user"),
            unit: Unit::Instructions,
            ours: told.user(case, OURS)?,
            peer: Some((IPVSADM, told.user(case, IPVSADM)?)),
            floor: Some(told.user(case, FLOOR)?),
            budget: promise(Budget::OfPeer(MAX_USER)),
        },
        Figure {
            name: format!("{OURS}, {case}, peak memory"),
            unit: Unit::Bytes,
            ours: told.peak_bytes(case, OURS)?,
            peer: Some((IPVSADM, told.peak_bytes(case, IPVSADM)?)),
            floor: Some(told.peak_bytes(case, FLOOR)?),
            budget: promise(Budget::AtMost(MAX_PEAK_BYTES)),
        },
    ])
}
