//! A report as one page that needs nothing else: the JSON of the report, and a script that draws it.

use super::json;
use crate::report::summary::Summary;

const PAGE: &str = include_str!("page.html");
/// Where the data goes.
const PLACE: &str = "/*REPORT*/null";

/// The page.
pub fn page(summary: &Summary) -> String {
    // In a script element only this sequence could end it (HTML, 13.1.2.6).
    let data = json::encode(summary).replace('<', "\\u003c");
    PAGE.replacen(PLACE, data.trim_end(), 1)
}
