//! The lines under a real server that say which connections it has and how its drain goes.

use std::time::Duration;

use ipvs_observer_common::TCP_STATE_NAMES;

use super::{GAP, number};
use crate::model::{drain::Drain, sample::Timestamp, snapshot::DestinationRow, states::States};

/// One line, or none where there is nothing to say.
pub(super) fn line(server: &DestinationRow, now: Timestamp) -> Option<String> {
    let drain = server
        .drain
        .as_ref()
        .filter(|drain| drain.had_connections());
    let mut facts: Vec<String> = Vec::new();
    facts.extend(drain.map(|drain| progress(drain, now)));
    facts.extend(server.states.iter().flat_map(connections));
    let packets = drain.and_then(Drain::packets);
    facts.extend(packets.map(|packets| format!("packets since {}", number::count(packets))));
    (!facts.is_empty()).then(|| format!("     {}", facts.join(GAP)))
}

fn progress(drain: &Drain, now: Timestamp) -> String {
    let elapsed = now.monotonic.saturating_sub(drain.since().monotonic);
    match drain.took() {
        Some(took) => format!("drained in {}", duration(took)),
        None if !drain.is_draining() => "drained".to_owned(),
        None if drain.is_begin_seen() => format!("drains for {}", duration(elapsed)),
        None => format!("drains for more than {}", duration(elapsed)),
    }
}

fn connections(states: &States) -> Vec<String> {
    let named = TCP_STATE_NAMES.into_iter().zip(states.tcp);
    let named = named.chain([("other", states.other)]);
    let counts: Vec<_> = named
        .filter(|&(_, count)| count > 0)
        .map(|(name, count)| format!("{name} {}", number::count(count)))
        .collect();
    let age =
        |name: &str, age: Option<Duration>| age.map(|age| format!("{name} {}", duration(age)));
    let unanswered = states.unanswered.filter(|&count| count > 0);
    let mut facts = Vec::new();
    if !counts.is_empty() {
        facts.push(counts.join(" "));
    }
    facts.extend(age("oldest", states.oldest));
    facts.extend(age("oldest syn_recv", states.oldest_syn_recv));
    facts.extend(unanswered.map(|count| format!("unanswered {}", number::count(count))));
    facts
}

fn duration(duration: Duration) -> String {
    number::duration_ns(super::nanoseconds(duration))
}
