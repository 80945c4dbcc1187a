//! The blocks of `top --plain` as a person finds them: rows, their latencies, their order
//! and the room that they take.

use std::{collections::BTreeMap, net::SocketAddr};

use ipvs_observer_tests::{agent::Agent, services::Vip};

use crate::fixture::Balanced;

const SERVERS: u8 = 3;
const COLUMNS: usize = 120;
const MEASURES: [&str; 6] = [
    "connect",
    "first_byte",
    "client",
    "duration",
    "handshake",
    "schedule",
];
/// Columns of one measure: its name, how many values, four percentiles and the maximum.
const CELLS: usize = 7;

/// A service or a real server in a block.
#[derive(Debug, PartialEq)]
struct TextRow {
    name: String,
    /// How many values each measure has, as printed.
    counts: BTreeMap<String, String>,
}

#[cfg_attr(feature = "vm", test)]
fn a_block_of_an_ipv4_service_has_its_rows_and_latencies() {
    a_block_has_its_rows_and_latencies(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn a_block_of_an_ipv6_service_has_its_rows_and_latencies() {
    a_block_has_its_rows_and_latencies(Vip::V6);
}

fn a_block_has_its_rows_and_latencies(vip: Vip) {
    let each = 4;
    let balanced = Balanced::new(vip, SERVERS);
    let stdout = observe(&balanced, u32::from(SERVERS) * each, &[]);
    for line in &stdout {
        assert!(line.chars().count() <= COLUMNS, "too wide: {line}");
    }
    let blocks = blocks(&stdout);
    let (whole_run, windows) = blocks.split_last().expect("a block is printed");
    assert!(!windows.is_empty(), "no window but the whole run");
    let names: Vec<_> = [format!("{} rr", vip.name())]
        .into_iter()
        .chain((1..=SERVERS).map(|server| server_name(vip, server)))
        .collect();
    for window in windows {
        assert!(window[0].contains("  window "), "{}", window.join("\n"));
        assert_eq!(row_names(window), names, "{}", window.join("\n"));
    }
    assert!(
        whole_run[0].contains("  whole run "),
        "{}",
        whole_run.join("\n")
    );
    assert!(
        whole_run[1].contains("probes saw 100.00 %")
            && whole_run[1].contains("   lost 0   table read in "),
        "{}",
        whole_run[1]
    );
    let expected: Vec<_> = names
        .into_iter()
        .zip([u32::from(SERVERS) * each, each, each, each])
        .map(|(name, count)| TextRow {
            name,
            counts: MEASURES
                .map(|measure| (measure.to_owned(), count.to_string()))
                .into(),
        })
        .collect();
    assert_eq!(rows(whole_run), expected, "{}", whole_run.join("\n"));
}

#[cfg_attr(feature = "vm", test)]
fn with_n_so_many_servers_are_shown_and_the_rest_is_counted() {
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, SERVERS);
    let stdout = observe(&balanced, u32::from(SERVERS), &["-n", "1"]);
    for block in blocks(&stdout) {
        let text = block.join("\n");
        assert_eq!(
            row_names(&block),
            [format!("{} rr", vip.name()), server_name(vip, 1)],
            "{text}"
        );
        assert!(text.contains("2 more real servers"), "{text}");
    }
    let stdout = observe(&balanced, u32::from(SERVERS), &["-n", "3"]);
    for block in blocks(&stdout) {
        let text = block.join("\n");
        assert_eq!(row_names(&block).len(), 1 + usize::from(SERVERS), "{text}");
        assert!(!text.contains("more real servers"), "{text}");
    }
}

#[cfg_attr(feature = "vm", test)]
fn sorted_by_connections_the_busiest_server_comes_first() {
    let vip = Vip::V4;
    let weights = [1, 3, 2];
    let balanced = Balanced::weighted(vip, &weights);
    // Every six connections the second server gets three, the third two, the first one.
    let stdout = observe(&balanced, 12, &["--sort", "connections"]);
    let blocks = blocks(&stdout);
    let whole_run = blocks.last().expect("a block is printed");
    let shown: Vec<_> = rows(whole_run)
        .into_iter()
        .map(|row| (row.name, row.counts["connect"].clone()))
        .collect();
    let expected = [
        (format!("{} wrr", vip.name()), "12"),
        (server_name(vip, 2), "6"),
        (server_name(vip, 3), "4"),
        (server_name(vip, 1), "2"),
    ]
    .map(|(name, count)| (name, count.to_owned()));
    assert_eq!(shown, expected, "{}", whole_run.join("\n"));

    let stdout = observe(&balanced, 12, &["--sort", "connections", "-n", "1"]);
    let blocks = self::blocks(&stdout);
    let whole_run = blocks.last().expect("a block is printed");
    assert_eq!(
        row_names(whole_run)[1..],
        [server_name(vip, 2)],
        "{}",
        whole_run.join("\n")
    );
}

/// What an agent with `arguments` prints of so many sessions: some windows and, at the
/// end, the whole run.
fn observe(balanced: &Balanced, sessions: u32, arguments: &[&str]) -> Vec<String> {
    let arguments = [&["-i", "500ms"], arguments].concat();
    let agent = Agent::start_plain(balanced.lab.director(), &arguments).expect("the agent starts");
    balanced.sessions(sessions, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    agent
        .await_stdout("a window", |lines| lines.iter().any(String::is_empty))
        .expect("it is printed");
    let outcome = agent.stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    outcome.stdout
}

/// Each block ends with an empty line.
fn blocks(stdout: &[String]) -> Vec<Vec<&str>> {
    let (last, blocks) = stdout.split_last().expect("something is printed");
    assert_eq!(last, "", "the last block has no end");
    blocks
        .split(String::is_empty)
        .map(|block| block.iter().map(String::as_str).collect())
        .collect()
}

fn row_names(block: &[&str]) -> Vec<String> {
    rows(block).into_iter().map(|row| row.name).collect()
}

/// The rows after the titles, each with the lines of latencies that follow it.
fn rows(block: &[&str]) -> Vec<TextRow> {
    let mut rows: Vec<TextRow> = Vec::new();
    let is_title = |line: &&str| line.trim_start().starts_with("LATENCY");
    let titles = block.iter().position(is_title);
    for line in &block[titles.expect("a block has titles") + 1..] {
        if line.starts_with("     ") {
            let row = rows.last_mut().expect("latencies belong to a row");
            let cells: Vec<_> = line.split_whitespace().collect();
            assert_eq!(cells.len() % CELLS, 0, "not whole measures: {line}");
            for cell in cells.chunks(CELLS) {
                row.counts.insert(cell[0].to_owned(), cell[1].to_owned());
            }
        } else if line.starts_with("TCP ") || line.starts_with("  -> ") {
            let name = line.trim_start().split("  ").next().unwrap_or_default();
            rows.push(TextRow {
                name: name.to_owned(),
                counts: BTreeMap::new(),
            });
        }
    }
    rows
}

fn server_name(vip: Vip, server: u8) -> String {
    let address = SocketAddr::new(vip.server_address(server), vip.address().port());
    format!("-> {address}")
}
