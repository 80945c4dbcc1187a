//! The section of the stream: events from the ring buffer to lines in `/dev/null`, beside whoever drains the same buffer
//! and writes what is in it.
//!
//! A program of a few instructions fills the buffer when the kernel is asked to test it, so that nothing else takes time
//! and every event is as the agent's own programs would send it.

mod filler;

use std::fs::{File, OpenOptions};

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::{
    cli::StreamFormat, clock, model::id::Netns, output::stream::Lines, probe::Events, stream,
};

use self::filler::Filler;
pub use self::filler::{Kind, event};
use super::{tell, tell_versions};
use crate::{agent, wait};

/// Fewer than the default buffer has room for.
const EVENTS: u32 = 30_000;
const PASSES: usize = 5;
const QUICK_PASSES: usize = 2;

/// Writes all of a buffer and gives how many events that were.
type Work = fn(Filler, &mut File) -> Result<u64>;

pub(super) fn measure(is_quick: bool) -> Result<()> {
    tell_versions(&[agent::BINARY])?;
    let passes = if is_quick { QUICK_PASSES } else { PASSES };
    for kind in [Kind::Closed, Kind::Opened] {
        let subjects: [(&str, Work); 4] = [
            ("json", |filler, out| lines(StreamFormat::Json, filler, out)),
            ("text", |filler, out| lines(StreamFormat::Text, filler, out)),
            ("raw", Filler::write_raw),
            ("raw, each by itself", Filler::write_each),
        ];
        for (subject, work) in subjects {
            let taken: Result<Vec<_>> = (0..passes).map(|_| take(kind, work)).collect();
            tell(kind.name(), subject, "taken_ns", &taken?)?;
        }
        tell(kind.name(), "all", "count", &[EVENTS.into()])?;
    }
    Ok(())
}

/// What it takes to write all events of a full buffer.
fn take(kind: Kind, work: Work) -> Result<u64> {
    let mut out = OpenOptions::new()
        .write(true)
        .open("/dev/null")
        .context("cannot open /dev/null")?;
    let filler = Filler::load(kind)?;
    filler.fill(EVENTS)?;
    wait::idle_cpu()?;
    let start_ns = wait::monotonic_ns();
    let count = work(filler, &mut out)?;
    let taken_ns = wait::monotonic_ns() - start_ns;
    ensure!(count == u64::from(EVENTS), "{count} events came out");
    Ok(taken_ns)
}

fn lines(format: StreamFormat, filler: Filler, out: &mut File) -> Result<u64> {
    let (ring, counts) = filler.into_maps()?;
    let events = Events::of(ring, &counts, 1)?;
    let lines = Lines::new(format, clock::now(), Some(Netns(4_026_531_840)));
    Ok(stream::drain(events, lines, out)?)
}
