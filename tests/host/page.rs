//! The page of `report --html` in a real browser, without a network: what is drawn, sorted and filtered.

use std::{env, fs, path::Path, process::Command, time::Duration};

use ipvs_observer::{
    cli::{ReportFormat, ReportTable},
    config::{Moment, Report, Span},
    model::filter::Selection,
    output::report::html,
    report::{difference::Difference, summary, summary::Summary},
};
use serde_json::Value;

const RECORDING: &str = "data/recording/run.ivo";
/// It renders a file and ends; it asks nobody for anything by itself.
const BROWSER: [&str; 10] = [
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--dump-dom",
];
/// Comes before the scripts of the page.
const LISTEN: &str = r#"<script>
const errors = [];
addEventListener("error", event => errors.push(event.message || "a resource"), true);
console.error = console.warn = (...words) => errors.push(words.join(" "));
</script>"#;
/// Comes after them: does what people do, and leaves what it saw in the place of the page.
const LOOK: &str = r##"<script>
addEventListener("load", () => {
  const column = (table, at) => [...document.querySelectorAll(`#${table} tr`)].slice(1).map(row => row.cells[at].textContent);
  const click = (table, at) => document.querySelector(`#${table} tr`).cells[at].click();
  const number = what => document.querySelectorAll(what).length;
  const seen = { drawn: ["#heat rect", "#heat-before rect", "#curve polyline", "#rates polyline"].map(number) };
  click("table", 1);
  seen.ascending = column("table", 1);
  click("table", 1);
  seen.descending = column("table", 1);
  $("filter").value = "10.1.0.2";
  $("filter").dispatchEvent(new Event("input"));
  seen.filtered = column("table", 1);
  $("filter").value = "";
  $("filter").dispatchEvent(new Event("input"));
  if (report.connection_events && !before) {
    click("slowest", 5);
    seen.slowest = column("slowest", 5);
    click("slowest", 5);
    seen.quickest = column("slowest", 5);
    seen.waited = report.connection_events.slowest.map(slow => time(slow.waited_ns));
  }
  $("measure").value = "duration";
  $("measure").onchange();
  $("theme").click();
  seen.theme = document.documentElement.dataset.theme;
  seen.requests = performance.getEntriesByType("resource").map(entry => entry.name);
  seen.errors = errors;
  document.body.textContent = "SEEN" + JSON.stringify(seen) + "SEEN";
});
</script>"##;

fn folder(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn summed(from: Option<u64>, to: Option<u64>) -> Summary {
    let moment = |seconds| Moment::Offset(Duration::from_secs(seconds));
    let config = Report {
        file: folder(RECORDING),
        after: None,
        output: ReportFormat::Text,
        table: ReportTable::Latency,
        span: Span {
            from: from.map(moment),
            to: to.map(moment),
        },
        selection: Selection::default(),
        fail_on: Vec::new(),
        html: None,
    };
    summary(&config.file, &config).expect("the recording can be read")
}

/// What is seen of a page.
#[track_caller]
fn seen(name: &str, page: &str) -> Value {
    let folder = env::temp_dir().join(format!("ipvs-observer-page-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("it can be made");
    let page = page.replacen("<style>", &format!("{LISTEN}<style>"), 1);
    let page = page.replacen("</html>", &format!("{LOOK}</html>"), 1);
    let file = folder.join("page.html");
    fs::write(&file, page).expect("it can be written");
    let (program, flags) = BROWSER.split_first().expect("it has a name");
    let browser = Command::new(program)
        .args(flags)
        .arg(format!("--user-data-dir={}", folder.join("data").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser runs: type apt-get install chromium");
    fs::remove_dir_all(&folder).expect("it can be removed");
    let text = String::from_utf8_lossy(&browser.stdout);
    let complaints = String::from_utf8_lossy(&browser.stderr);
    assert!(text.contains("SEEN"), "{text} {complaints}");
    let found = text.split("SEEN").nth(1).unwrap_or_default();
    let seen: Value = serde_json::from_str(found).expect("it is JSON");
    assert_eq!(seen["errors"], Value::Array(Vec::new()), "{seen}");
    assert_eq!(seen["requests"], Value::Array(Vec::new()), "{seen}");
    assert!(
        seen["theme"] == "dark" || seen["theme"] == "light",
        "{seen}"
    );
    seen
}

#[track_caller]
fn assert_sorted_and_filtered(seen: &Value) {
    let servers = ["", "10.1.0.0:8443", "10.1.0.1:8443", "10.1.0.2:8443"];
    assert_eq!(seen["ascending"], Value::from(servers.to_vec()));
    let descending: Vec<&str> = servers.into_iter().rev().collect();
    assert_eq!(seen["descending"], Value::from(descending));
    assert_eq!(seen["filtered"], Value::from(vec!["10.1.0.2:8443"]));
}

fn drawn(seen: &Value) -> Vec<u64> {
    let numbers = seen["drawn"].as_array().expect("it is a list").iter();
    numbers.map(|one| one.as_u64().expect("a number")).collect()
}

#[test]
fn the_page_of_a_recording_is_drawn_sorted_and_filtered() {
    let seen = seen("one", &html::page(&summed(None, None)));
    assert_sorted_and_filtered(&seen);
    let [heat, heat_before, curves, rates] = drawn(&seen)[..] else {
        panic!("{seen}");
    };
    assert!(heat > 12, "{seen}");
    assert_eq!((heat_before, curves, rates), (0, 4, 3));
    assert_eq!(seen["slowest"], seen["waited"]);
    let waited = seen["waited"].as_array().expect("it is a list");
    assert_eq!(waited.len(), 20);
    let quickest: Vec<&Value> = waited.iter().rev().collect();
    let first = seen["quickest"].as_array().expect("it is a list");
    assert_eq!(first.iter().collect::<Vec<_>>(), quickest);
}

#[test]
fn the_page_of_two_recordings_shows_both() {
    let (before, after) = (summed(None, Some(6)), summed(Some(6), None));
    let page = html::comparison(&Difference::new(&before, &after));
    let seen = seen("two", &page);
    assert_sorted_and_filtered(&seen);
    let [heat, heat_before, curves, rates] = drawn(&seen)[..] else {
        panic!("{seen}");
    };
    assert!(heat > 6 && heat_before > 6, "{seen}");
    assert_eq!((curves, rates), (8, 6));
}
