//! The demo shows what it promises: its first block has a late and a far real server, and
//! each stands out where it should.

use std::{collections::BTreeMap, process::Command};

/// The lab's program, which is process 1 of the guest too.
const LAB: &str = "/init";
/// The least that an injected delay shows, and the most that its absence does.
const LATE_MS: f64 = 15.0;
const FAR_MS: f64 = 8.0;
const PROMPT_MS: f64 = 8.0;
const NEAR_MS: f64 = 5.0;
/// Columns of one measure: its name, how many values, four percentiles and the maximum.
const CELLS: usize = 7;

#[cfg_attr(feature = "vm", test)]
fn the_first_block_of_the_demo_tells_the_late_server_from_the_far_one() {
    let output = Command::new(LAB)
        .args(["demo", "--duration", "6s"])
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("it is text");
    let (block, _more) = text.split_once("\n\n").expect("a block is printed");
    let services = block
        .lines()
        .filter(|line| line.starts_with("TCP "))
        .count();
    assert_eq!(services, 2, "{block}");
    let servers = medians_ms(block);
    let names: Vec<_> = servers.keys().map(String::as_str).collect();
    let expected = [
        "10.2.1.2:80",
        "10.2.2.2:80",
        "[fd00:2:3::2]:80",
        "[fd00:2:4::2]:80",
    ];
    assert_eq!(names, expected, "{block}");
    for (server, medians) in &servers {
        let [connect, first_byte] = ["connect", "first_byte"].map(|measure| medians[measure]);
        let is_far = server == "[fd00:2:4::2]:80";
        let is_late = server == "10.2.2.2:80";
        let connects = if is_far {
            connect >= FAR_MS
        } else {
            connect < NEAR_MS
        };
        let responds = if is_late {
            first_byte >= LATE_MS
        } else if is_far {
            first_byte >= FAR_MS
        } else {
            first_byte < PROMPT_MS
        };
        assert!(connects && responds, "{server}: {block}");
    }
}

/// The median of every measure, by real server.
fn medians_ms(block: &str) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut servers: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    let mut current = None;
    for line in block.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["->", server, ..] => current = Some(server.to_owned()),
            ["TCP", ..] => current = None,
            _ => {
                let Some(server) = &current else { continue };
                for cells in words.as_chunks::<CELLS>().0 {
                    let medians = servers.entry(server.clone()).or_default();
                    medians.insert(cells[0].to_owned(), milliseconds(cells[2]));
                }
            }
        }
    }
    servers
}

/// A time as people read it; one that is not there is within no limit.
fn milliseconds(text: &str) -> f64 {
    let units = [("ns", 1e-6), ("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    units
        .into_iter()
        .find_map(|(unit, factor)| {
            let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
            Some(number * factor)
        })
        .unwrap_or(f64::NAN)
}
