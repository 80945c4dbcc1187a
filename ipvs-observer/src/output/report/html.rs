//! A report as one page that needs nothing else: the JSON of the report, and a script that draws it.

use super::json;
use crate::report::{difference::Difference, summary::Summary};

const PAGE: &str = include_str!("page.html");
/// Where the data goes.
const PLACE: &str = "/*REPORT*/null";

/// The page of one recording.
pub fn page(summary: &Summary) -> String {
    with_data(json::encode(summary).trim_end())
}

/// The page of two.
pub fn comparison(difference: &Difference<'_>) -> String {
    let parts = [
        json::encode(difference.before),
        json::encode(difference.after),
        json::compare(difference),
    ];
    let [before, after, changes] = parts.each_ref().map(|part| part.trim_end());
    with_data(&format!(
        "{{\"before\":{before},\"after\":{after},\"changes\":{changes}}}"
    ))
}

fn with_data(data: &str) -> String {
    // In a script element only this sequence could end it (HTML, 13.1.2.6).
    PAGE.replacen(PLACE, &data.replace('<', "\\u003c"), 1)
}
