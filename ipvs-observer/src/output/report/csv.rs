//! A report as comma-separated values (RFC 4180): a line for each measure of each service and server.

use super::{QUANTILES, measures};
use crate::{
    model::{activity::Activity, latency::Percentiles},
    report::{
        difference::{Change, Difference},
        summary::{ServiceSummary, Summary},
    },
};

/// A recording.
pub fn encode(summary: &Summary) -> String {
    let quantiles = QUANTILES.map(|(_, name, _)| name).join(",");
    let mut text =
        format!("netns,service,server,measure,count,sum_ns,min_ns,{quantiles},max_ns\r\n");
    let mut percentiles = Percentiles::new();
    for service in &summary.services {
        add(
            &mut text,
            summary,
            service,
            "",
            &service.activity,
            &mut percentiles,
        );
        for (id, activity) in &service.servers {
            add(
                &mut text,
                summary,
                service,
                &id.to_string(),
                activity,
                &mut percentiles,
            );
        }
    }
    text
}

fn add(
    text: &mut String,
    summary: &Summary,
    service: &ServiceSummary,
    server: &str,
    activity: &Activity,
    percentiles: &mut Percentiles,
) {
    for measure in measures(summary, service, activity) {
        let latency = activity.latency(measure);
        let values = percentiles.at(latency, QUANTILES.map(|(quantile, ..)| quantile));
        let figures = [
            Some(latency.count()),
            Some(latency.sum_ns()),
            latency.min_ns(),
        ];
        let values = values.map_or([None; QUANTILES.len()], |values| values.map(Some));
        let figures = figures.into_iter().chain(values).chain([latency.max_ns()]);
        let figures =
            figures.map(|figure| figure.map_or_else(String::new, |figure| figure.to_string()));
        let netns = service.netns.as_deref().unwrap_or_default();
        let fields = [
            field(netns),
            field(&service.id.to_string()),
            field(server),
            measure.name().to_owned(),
        ];
        text.push_str(
            &fields
                .into_iter()
                .chain(figures)
                .collect::<Vec<_>>()
                .join(","),
        );
        text.push_str("\r\n");
    }
}

/// Two recordings.
pub fn compare(difference: &Difference<'_>) -> String {
    let mut text =
        "netns,service,server,measure,figure,before,after,change_percent,significant\r\n"
            .to_owned();
    for row in &difference.rows {
        let server = row
            .server
            .map_or_else(String::new, |server| server.to_string());
        for (measure, changes) in &row.latencies {
            for change in changes {
                let Change {
                    name,
                    before,
                    after,
                    percent,
                    is_told,
                } = change;
                let percent = percent.map_or_else(String::new, |percent| format!("{percent:.2}"));
                let is_told = is_told.map_or_else(String::new, |told| told.to_string());
                let fields = [
                    field(row.netns.as_deref().unwrap_or_default()),
                    field(&row.service.to_string()),
                    field(&server),
                    measure.name().to_owned(),
                    (*name).to_owned(),
                    before.to_string(),
                    after.to_string(),
                    percent,
                    is_told,
                ];
                text.push_str(&fields.join(","));
                text.push_str("\r\n");
            }
        }
    }
    text
}

pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
