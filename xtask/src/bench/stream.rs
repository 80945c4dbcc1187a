//! The section of the stream: an event from the ring buffer to its line, beside draining the same buffer.

use anyhow::Result;

use super::{
    Section,
    figure::{Budget, Figure, Unit},
    measurements::Measurements,
};
use crate::{peers::Peers, qemu::Clock};

pub(super) const SECTION: Section = Section {
    name: "stream",
    title: "The stream",
    about: "Instructions for one event of 240 bytes, from the ring buffer to a line in `/dev/null`, \
            on one CPU; 30 000 wait there in the default buffer, put there by a program that the \
            kernel runs with `BPF_PROG_TEST_RUN`. *Closed* is the end of a TCP connection with all \
            its times, sums and states, a line of some 700 bytes; *opened* its beginning, of some \
            400. The peer drains the same buffer and writes each record as it is, when it comes; \
            the floor collects 64 KiB before it writes, as `stream` does. 500 000 events/s are \
            2 000 ns for each.",
    kernels: &["7.2"],
    peers: Peers::get,
    clock: Clock::Instructions,
    load: &["ip_vs"],
    figures,
};

const CASES: [&str; 2] = ["closed", "opened"];
const RAW: &str = "raw";
const RAW_EACH: &str = "raw, each by itself";
const MAX_OF_RAW: f64 = 3.0;

fn figures(told: &Measurements) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for case in CASES {
        let count = told.median(case, "all", "count")?;
        let event =
            |subject| Ok::<_, anyhow::Error>(told.median(case, subject, "taken_ns")? / count);
        for (subject, budget) in [("json", Some(Budget::OfPeer(MAX_OF_RAW))), ("text", None)] {
            figures.push(Figure {
                name: format!("{case}, {subject}"),
                unit: Unit::FewInstructions,
                ours: event(subject)?,
                peer: Some(("raw records", event(RAW_EACH)?)),
                floor: Some(event(RAW)?),
                budget,
            });
        }
    }
    Ok(figures)
}
