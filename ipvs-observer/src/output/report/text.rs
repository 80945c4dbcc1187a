//! A report for people.

use std::fmt::Write as _;

use ipvs_observer_common::{Event, Measure};

use super::{QUANTILES, events, measures};
use crate::{
    model::{activity::Activity, condition::Condition, latency::Percentiles},
    output::{
        object::time,
        text::number::{count, duration_ns, short},
    },
    report::{
        difference::{Broken, Change, Difference, FIGURES, Row},
        summary::{ServiceSummary, Step, Summary},
    },
};

/// Lines of a time line.
const LINES: usize = 12;
/// Measures of a time line.
const SHOWN: [Measure; 3] = [Measure::Connect, Measure::FirstByte, Measure::Duration];

/// What the programs count of their own records, which says nothing of a director.
const OWN: [Event; 2] = [Event::RecordMade, Event::RecordEnded];

/// A recording.
pub fn encode(summary: &Summary) -> String {
    let mut text = head(summary);
    let mut percentiles = Percentiles::new();
    for service in &summary.services {
        text.push('\n');
        line(&mut text, &service.name());
        rows(
            &mut text,
            summary,
            service,
            &service.activity,
            &mut percentiles,
        );
        for (id, activity) in &service.servers {
            line(&mut text, &format!("  -> {id}"));
            rows(&mut text, summary, service, activity, &mut percentiles);
        }
        time_line(&mut text, service, &mut percentiles);
    }
    if let Some(told) = &summary.events {
        events::text(summary, told, &mut text);
    }
    text
}

fn head(summary: &Summary) -> String {
    let mut text = String::new();
    if let Some(run) = &summary.run {
        line(
            &mut text,
            &format!(
                "{}  Linux {}  {} to {}  {} windows",
                run.host,
                run.kernel,
                time(summary.from),
                time(summary.to),
                summary.windows,
            ),
        );
    }
    let packets = summary.health.packets.map_or_else(String::new, |packets| {
        let seen = summary.health.coverage_percent();
        let seen = seen.map_or_else(String::new, |seen| format!("probes saw {seen:.2} % of "));
        format!("{seen}{packets} packets   ")
    });
    let losses = summary
        .health
        .losses()
        .map(|(loss, count)| format!("{} {count}", loss.name()));
    let losses: Vec<_> = losses.collect();
    let missed = match summary.missed_windows {
        0 => String::new(),
        missed => format!("   windows not recorded {missed}"),
    };
    let lost = summary.health.lost();
    line(
        &mut text,
        format!("{packets}lost {lost} {}{missed}", losses.join(", ")).trim_end(),
    );
    text
}

fn rows(
    text: &mut String,
    summary: &Summary,
    service: &ServiceSummary,
    activity: &Activity,
    percentiles: &mut Percentiles,
) {
    let seconds = summary.measured.as_secs_f64();
    let mut outcomes: Vec<String> = Vec::new();
    if let Some(rate) = activity.scheduled_per_s(seconds) {
        outcomes.push(format!("{} connections/s", short(rate)));
    }
    for event in Event::ALL {
        let number = activity.counters.get(event);
        if number > 0 && !OWN.contains(&event) {
            outcomes.push(format!("{} {number}", event.name()));
        }
    }
    line(text, &format!("     {}", outcomes.join(", ")));
    let shown: Vec<Measure> = measures(summary, service, activity).collect();
    if shown.is_empty() {
        return;
    }
    let titles = QUANTILES.map(|(.., title)| format!("{title:>8}")).concat();
    line(
        text,
        &format!(
            "     {:<10}{:>9}{:>8}{titles}{:>8}",
            "LATENCY", "COUNT", "MEAN", "MAX"
        ),
    );
    for measure in shown {
        let latency = activity.latency(measure);
        let values = percentiles.at(latency, QUANTILES.map(|(quantile, ..)| quantile));
        let values = values.into_iter().flatten().map(Some);
        let values = [latency.mean_ns()]
            .into_iter()
            .chain(values)
            .chain([latency.max_ns()]);
        let values = values.map(|value| value.map_or_else(|| "-".to_owned(), duration_ns));
        let values = columns(values, 8);
        line(
            text,
            &format!(
                "     {:<10}{:>9}{values}",
                measure.name(),
                count(latency.count())
            ),
        );
    }
}

/// At most [`LINES`] steps, each of as many of the summary's.
fn time_line(text: &mut String, service: &ServiceSummary, percentiles: &mut Percentiles) {
    let measures = SHOWN
        .into_iter()
        .filter(|&one| service.activity.latency(one).count() > 0);
    let measures: Vec<Measure> = measures.collect();
    let titles = measures.iter().map(|one| format!("{} P99", one.name()));
    let titles = columns(titles, 16);
    line(
        text,
        &format!(
            "     {:<30}{:>8}{:>9}{:>9}{titles}",
            "UNTIL", "CONN/S", "REFUSED", "DROPPED"
        ),
    );
    let each = service.steps.len().div_ceil(LINES).max(1);
    for steps in service.steps.chunks(each) {
        let Some(step) = merged(steps) else { continue };
        let rate = step.activity.scheduled_per_s(step.length.as_secs_f64());
        let rate = rate.map_or_else(|| "-".to_owned(), short);
        let p99 = measures.iter().map(|&measure| {
            let value = percentiles.at(step.activity.latency(measure), [0.99]);
            value.map_or_else(|| "-".to_owned(), |[value]| duration_ns(value))
        });
        let p99 = columns(p99, 16);
        let (refused, dropped) = (
            step.activity.counters.get(Event::Refused),
            step.activity.dropped(),
        );
        line(
            text,
            &format!(
                "     {:<30}{rate:>8}{refused:>9}{dropped:>9}{p99}",
                time(step.at)
            ),
        );
    }
}

fn merged(steps: &[Step]) -> Option<Step> {
    let (first, rest) = steps.split_first()?;
    let mut merged = first.clone();
    for step in rest {
        merged.at = step.at;
        merged.length += step.length;
        merged.activity.merge(&step.activity);
    }
    Some(merged)
}

/// Two recordings.
pub fn compare(difference: &Difference<'_>) -> String {
    let mut text = format!(
        "before {}after  {}",
        head(difference.before),
        head(difference.after)
    );
    line(
        &mut text,
        "* is more than resolution and sample size can make (95 % intervals that do not meet)",
    );
    for row in &difference.rows {
        text.push('\n');
        line(&mut text, &row.name());
        compare_row(&mut text, row);
    }
    for (name, is_new) in &difference.lonely {
        line(
            &mut text,
            &format!("only {}: {name}", if *is_new { "after" } else { "before" }),
        );
    }
    text
}

fn compare_row(text: &mut String, row: &Row) {
    let events = row.events.iter();
    let events = events.filter(|(event, ..)| !OWN.contains(event));
    let events = events.map(|(event, before, after)| {
        format!("{} {} -> {}/s", event.name(), short(*before), short(*after))
    });
    line(
        text,
        &format!("     {}", events.collect::<Vec<_>>().join(", ")),
    );
    let titles = columns(FIGURES.iter().map(|(.., title)| (*title).to_owned()), 9);
    line(text, &format!("     {:<17}{titles}", "LATENCY"));
    for (measure, changes) in &row.latencies {
        let values = |of: fn(&Change) -> u64| -> String {
            let values = changes.iter().map(|change| match change.name {
                "count" => count(of(change)),
                _ => duration_ns(of(change)),
            });
            columns(values, 9)
        };
        let change = changes.iter().map(|change| {
            let mark = if change.is_told == Some(true) {
                "*"
            } else {
                ""
            };
            let percent = change
                .percent
                .map_or_else(|| "-".to_owned(), |one| format!("{one:+.1}%"));
            format!("{:>9}", format!("{percent}{mark}"))
        });
        let change: String = change.collect();
        line(
            text,
            &format!(
                "     {:<10} before{}",
                measure.name(),
                values(|change| change.before)
            ),
        );
        line(
            text,
            &format!("     {:<10} after {}", "", values(|change| change.after)),
        );
        line(text, &format!("     {:<10} change{change}", ""));
    }
}

/// Why a comparison fails, or would if it could be told.
pub fn broken(condition: &Condition, broken: &Broken) -> String {
    let Broken {
        name,
        percent,
        is_told,
    } = broken;
    let doubt = if *is_told {
        ""
    } else {
        ", which resolution and sample size cannot tell from no change: not counted"
    };
    format!("{name}: {condition}, it changed by {percent:+.1} %{doubt}")
}

/// Each to the right of a column so wide.
fn columns(cells: impl Iterator<Item = String>, width: usize) -> String {
    let cells = cells.map(|cell| format!("{cell:>width$}"));
    cells.collect::<Vec<_>>().concat()
}

fn line(text: &mut String, line: &str) {
    // Writing into memory does not fail.
    writeln!(text, "{}", line.trim_end()).unwrap_or_default();
}
