//! One screen that tells where the time of a service and of each of its real servers goes.

use ipvs_observer_common::Measure;

use super::{Block, number};
use crate::model::{
    activity::Activity,
    latency::Percentiles,
    snapshot::Snapshot,
    split::{Part, Split},
};

/// The lines under a service or server: what a part is called, whose mean it is, and what is measured.
const LINES: [(&str, Option<Part>, Measure); 7] = [
    ("client network", Some(Part::ClientNetwork), Measure::Client),
    ("director", Some(Part::Director), Measure::Hook),
    ("", None, Measure::Xmit),
    ("", None, Measure::Schedule),
    (
        "server network",
        Some(Part::ServerNetwork),
        Measure::Connect,
    ),
    (
        "server application",
        Some(Part::ServerApplication),
        Measure::FirstByte,
    ),
    ("both networks", None, Measure::Handshake),
];

/// The whole run as one screen.
pub(in crate::output) fn encode(snapshot: &Snapshot) -> String {
    let mut block = Block {
        text: String::new(),
        snapshot,
        percentiles: Percentiles::new(),
    };
    block.header();
    if snapshot.services.is_empty() {
        block.line(if snapshot.run.all_netns {
            "no such virtual service in any network namespace"
        } else {
            "no such virtual service in this network namespace"
        });
    } else {
        block.line(&columns(
            "PART",
            "MEASURE",
            ["COUNT", "MEAN", "P50", "P99"].map(ToOwned::to_owned),
        ));
    }
    for ((netns, id), service) in &snapshot.services {
        let title = format!("{id}{}", block.place(*netns));
        block.explain(&title, &service.row.total);
        for (id, server) in &service.destinations {
            block.explain(&format!("-> {id}"), &server.row.total);
        }
    }
    block.method();
    block.text
}

impl Block<'_> {
    fn explain(&mut self, name: &str, activity: &Activity) {
        let split = Split::of(activity);
        let verdict = match split.largest() {
            Some((part, percent)) => {
                let part = part.name().replace('_', " ");
                format!("most of it is {part} ({percent} % of the known parts)")
            }
            None => "nothing was seen".to_owned(),
        };
        self.line(&format!("{name}   {verdict}"));
        let has_return_path = activity.latency(Measure::Connect).count() > 0;
        for (title, part, measure) in LINES {
            let latency = activity.latency(measure);
            // With a return path its parts stand alone.
            if latency.count() == 0 || (measure == Measure::Handshake && has_return_path) {
                continue;
            }
            if let Some(part @ Part::ServerApplication) = part {
                let mean = split.mean_ns(part).map(number::duration_ns);
                let cells =
                    [None, mean, None, None].map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                self.line(&columns(title, "first_byte - connect", cells));
            }
            let title = match part {
                Some(Part::ServerApplication) => "",
                _ => title,
            };
            let shown = self.percentiles.of(latency);
            let duration = |value: Option<u64>| value.map(number::duration_ns);
            let cells = [
                Some(number::count(latency.count())),
                duration(latency.mean_ns()),
                duration(shown.map(|[p50, ..]| p50)),
                duration(shown.map(|[_, _, p99, _]| p99)),
            ];
            let cells = cells.map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
            self.line(&columns(title, measure.name(), cells));
        }
    }

    /// What the numbers are, and what they cost.
    fn method(&mut self) {
        for line in [
            "client and connect are one way there and back; hook, xmit and schedule are of one packet in this host",
            "the application has the mean of first_byte less that of connect: percentiles cannot be subtracted",
        ] {
            self.line(line);
        }
        let packets = self.snapshot.health.total.transitions;
        let cost = self.snapshot.own_cost;
        let per_packet = cost.and_then(|cost| Some((cost, cost.per_packet_ns(packets)?)));
        if let Some((cost, per_packet_ns)) = per_packet {
            let line = format!(
                "cost: the programs ran {} times for {packets} packets and took {} of each, besides the way into them",
                cost.runs,
                number::duration_ns(per_packet_ns)
            );
            self.line(&line);
        }
        self.line("");
    }
}

fn columns(part: &str, measure: &str, [count, mean, p50, p99]: [String; 4]) -> String {
    format!("   {part:<19} {measure:<21} {count:>8} {mean:>8} {p50:>8} {p99:>8}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ipvs_observer_common::Measure;

    use super::encode;
    use crate::{
        model::{snapshot::Run, split::OwnCost},
        output::testing::whole_run,
    };

    #[test]
    fn the_largest_part_is_named_and_the_application_is_what_the_network_leaves() {
        let mut snapshot = whole_run(2);
        let mut run = Run::clone(&snapshot.run);
        run.measures = Measure::ALL.to_vec();
        snapshot.run = Arc::new(run);
        snapshot.own_cost = Some(OwnCost {
            runs: 3 * 1198,
            run_time_ns: 1198 * 250,
        });
        let screen = encode(&snapshot);
        let line = |title: &str| {
            let mut lines = screen.lines().filter(|line| line.contains(title));
            lines.next().unwrap_or_else(|| panic!("{screen}"))
        };
        assert!(
            line("TCP 192.0.2.1:80").contains("client network (66 %"),
            "{screen}"
        );
        // 20.5 ms less 225 us.
        assert!(line("first_byte - connect").contains("20.3ms"), "{screen}");
        assert!(
            line("-> 10.0.0.2:8080").contains("nothing was seen"),
            "{screen}"
        );
        assert!(line("cost:").contains("took 250ns of each"), "{screen}");
        assert!(!screen.contains("both networks"), "{screen}");
    }
}
