//! Intervals as an `HdrHistogram` log, for that project's own tools: a line for each measure of each service and server.
//!
//! Values are nanoseconds, each as the midpoint of its bucket, with two significant digits; so is the maximum that a line
//! shows for people. A tag says whose values they are: `TCP:192.0.2.1:80->10.0.0.1:8080/connect`, without a server for a
//! service as a whole, `director/…` for the host, before it the network namespace where several are observed.

use std::time::Duration;

use hdrhistogram::serialization::{
    V2DeflateSerializer,
    interval_log::{IntervalLogWriterBuilder, Tag},
};
use ipvs_observer_common::Measure;

use super::object::time;
use crate::model::{
    activity::Activity,
    latency::Percentiles,
    sample::{ServerId, Timestamp},
    snapshot::{Run, Snapshot},
};

/// What makes lines of distributions.
pub struct HistogramLog {
    serializer: V2DeflateSerializer,
    percentiles: Percentiles,
}

impl HistogramLog {
    /// One for any number of intervals.
    pub fn new() -> Self {
        Self {
            serializer: V2DeflateSerializer::new(),
            percentiles: Percentiles::new(),
        }
    }

    /// What comes before the first interval.
    pub fn header(run: &Run, began: Timestamp) -> String {
        let seconds = began.wall.as_secs_f64();
        format!(
            "#[Histogram log format version 1.3]\n#[ipvs-observer {}, {} with Linux {}; values in nanoseconds]\n\
             #[BaseTime: {seconds:.3} (seconds since epoch)]\n#[StartTime: {seconds:.3} (seconds since epoch), {}]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
            env!("CARGO_PKG_VERSION"),
            run.host,
            run.kernel,
            time(began),
        )
    }

    /// The lines of one window.
    pub fn window(&mut self, snapshot: &Snapshot) -> Vec<u8> {
        let start = snapshot.elapsed.saturating_sub(snapshot.window);
        let mut lines = Vec::new();
        let run = &snapshot.run;
        let host = |measure: &Measure| measure.is_of_host();
        let of_host = run.measures.iter().copied().filter(host);
        self.add(
            &mut lines,
            "director",
            &snapshot.director.interval,
            of_host,
            start,
            snapshot.window,
        );
        for (&(netns, id), service) in &snapshot.services {
            let label = snapshot.label(netns);
            let name = |server| tag(label.as_deref(), &(netns, id, server));
            let rows = service.destinations.iter();
            let rows = rows.map(|(&id, server)| (Some(id), &server.row));
            for (server, row) in [(None, &service.row)].into_iter().chain(rows) {
                let shown = run.measures.iter().copied().filter(|one| !host(one));
                self.add(
                    &mut lines,
                    &name(server),
                    &row.interval,
                    shown,
                    start,
                    snapshot.window,
                );
            }
        }
        lines
    }

    /// Lines of `activity` for those measures that have values.
    pub fn add(
        &mut self,
        lines: &mut Vec<u8>,
        name: &str,
        activity: &Activity,
        measures: impl Iterator<Item = Measure>,
        start: Duration,
        length: Duration,
    ) {
        for measure in measures {
            let Some(histogram) = self.percentiles.histogram(activity.latency(measure)) else {
                continue;
            };
            let name = format!("{name}/{}", measure.name());
            // Writing into memory does not fail, nor does a histogram of these bounds.
            let builder = IntervalLogWriterBuilder::new();
            if let Ok(mut log) = builder.begin_log_with(lines, &mut self.serializer) {
                drop(log.write_histogram(histogram, start, length, Tag::new(&name)));
            }
        }
    }
}

impl Default for HistogramLog {
    fn default() -> Self {
        Self::new()
    }
}

/// A tag cannot have spaces or commas.
pub fn tag(label: Option<&str>, (_, service, server): &ServerId) -> String {
    let label = label.map_or_else(String::new, |label| format!("{label}/"));
    let server = server.map_or_else(String::new, |server| format!("->{server}"));
    format!("{label}{service}{server}").replace([' ', ',', '\n', '\r'], ":")
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use ipvs_observer_common::Measure;

    use super::HistogramLog;
    use crate::{
        model::latency::Percentiles,
        recording::testing::{beginning, recorded},
    };

    /// What `record` writes of three known windows, but for the line that names this program.
    const GOLDEN: &str = include_str!("../../../tests/data/hlog/run.hlog");
    /// What HdrHistogram's own tools read of it, in two languages.
    const READ: &str = include_str!("../../../tests/data/hlog/read.csv");

    fn written() -> String {
        let beginning = beginning(3);
        let mut log = HistogramLog::new();
        let mut text = HistogramLog::header(&beginning.run, beginning.at).into_bytes();
        for snapshot in recorded(3).1 {
            text.extend(log.window(&snapshot));
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_is_written_is_what_others_have_read() {
        let written = written();
        let lines = |text: &'static str| text.lines();
        let names_program = |line: &&str| line.starts_with("#[ipvs-observer");
        let expected: Vec<&str> = lines(GOLDEN).filter(|line| !names_program(line)).collect();
        let found: Vec<&str> = written
            .lines()
            .filter(|line| !names_program(line))
            .collect();
        assert_eq!(found, expected);
    }

    /// One that has exactly this rank.
    fn quantile(rank: u64, count: u64) -> f64 {
        let of = |number: u64| f64::from(u32::try_from(number).unwrap());
        (of(rank) - 0.5) / of(count)
    }

    /// Each figure is the highest value that those tools cannot tell from it, by two significant digits.
    #[test]
    fn others_read_our_figures() {
        let (_, snapshots) = recorded(3);
        let mut percentiles = Percentiles::new();
        let mut seen = 0;
        for line in READ.lines().filter(|line| !line.starts_with('#')).skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            let [reader, tag, figures @ ..] = &fields[..] else {
                panic!("{line}");
            };
            let figures: Vec<u64> = figures.iter().map(|one| one.parse().unwrap()).collect();
            let (who, measure) = tag.rsplit_once('/').unwrap();
            let measure = Measure::ALL.into_iter().find(|its| its.name() == measure);
            let mut histogram = Histogram::<u64>::new(2).unwrap();
            for snapshot in &snapshots {
                let service = snapshot.services.values().next().unwrap();
                let row = match who.split_once("->") {
                    None => &service.row,
                    Some((_, server)) => {
                        let mut servers = service.destinations.iter();
                        let its = servers.find(|(id, _)| id.to_string() == server);
                        &its.unwrap().1.row
                    }
                };
                let latency = row.interval.latency(measure.unwrap());
                histogram
                    .add(percentiles.histogram(latency).unwrap())
                    .unwrap();
            }
            let count = histogram.len();
            // Out of ten thousand, so that a rank is exact.
            let rank = |part: u64| match *reader {
                "java" => (part * count).div_ceil(10_000),
                _ => (part * count + 5_000) / 10_000,
            };
            let ours: Vec<u64> = [5_000, 9_000, 9_900, 9_990, 9_999]
                .into_iter()
                .map(|part| histogram.value_at_quantile(quantile(rank(part), count)))
                .chain([histogram.max()])
                .collect();
            assert_eq!(
                (figures[0], &figures[1..]),
                (count, &ours[..]),
                "{reader} {tag}"
            );
            seen += 1;
        }
        assert_eq!(
            seen,
            2 * 24,
            "two readers, six measures of a service and its three servers"
        );
    }
}
