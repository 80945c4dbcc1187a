//! Ours and `ipvsadm` side by side in one namespace.
//!
//! All that differs is collected and told at once, with the form in which it does. What is known
//! to be different on purpose is the caller's matter.

use std::{fmt::Write as _, ops::Range};

use ipvs_observer_tests::{
    agent::BINARY,
    ipvsadm_text::{Order, unsigned_marks},
    netns::Netns,
    peers::{self, IPVSADM},
    wait,
};

/// Where the time of a connection stands in its line: minutes and seconds.
const EXPIRY: Range<usize> = 4..9;

/// Differences found so far.
#[must_use]
pub(crate) struct Comparison<'a> {
    netns: &'a Netns,
    forms: u32,
    differences: String,
}

impl<'a> Comparison<'a> {
    pub(crate) fn new(netns: &'a Netns) -> Self {
        Self {
            netns,
            forms: 0,
            differences: String::new(),
        }
    }

    /// Compares what ours prints with what `ipvsadm` prints before and after it alike, put right.
    pub(crate) fn check(
        &mut self,
        theirs: &[&str],
        ours: &[&str],
        put_right: impl Fn(&str) -> String,
    ) {
        let (printed, found) = side_by_side(self.netns, theirs, ours);
        self.found(theirs, ours, &put_right(&printed), &found);
    }

    /// Compares what was printed already.
    pub(crate) fn found(&mut self, theirs: &[&str], ours: &[&str], expected: &str, found: &str) {
        self.forms += 1;
        if expected == found {
            return;
        }
        let (theirs, ours) = (theirs.join(" "), ours.join(" "));
        let difference = difference(expected, found);
        let written = writeln!(
            self.differences,
            "--- ipvsadm {theirs}\n+++ ipvs-observer {ours}\n{difference}"
        );
        written.expect("a String takes everything");
    }

    /// Fails with all differences.
    #[track_caller]
    pub(crate) fn finish(self) {
        let Self {
            forms, differences, ..
        } = self;
        assert!(forms > 0, "nothing was compared");
        assert!(differences.is_empty(), "of {forms} forms:\n{differences}");
    }
}

/// What `ipvsadm` prints, before and after what ours prints meanwhile.
#[track_caller]
pub(crate) fn side_by_side(netns: &Netns, theirs: &[&str], ours: &[&str]) -> (String, String) {
    meanwhile(|| ipvsadm(netns, theirs), || observer(netns, ours))
}

/// What the first prints, alike before and after what the second prints. The times of connections
/// run on: those of the second stand in both, unless they are not between those of the first.
#[track_caller]
pub(crate) fn meanwhile(
    first: impl Fn() -> String,
    second: impl Fn() -> String,
) -> (String, String) {
    let mut before = first();
    wait::until("the same to be printed twice", wait::PATIENCE, || {
        let found = second();
        let after = first();
        let expected = is_same(&before, &after).then(|| between(&before, &found, &after));
        before = after;
        Ok(expected.map(|expected| (expected, found)))
    })
    .expect("the table is at rest")
}

/// Whether nothing but the time of connections has gone on. One that others depend on is given
/// more when its own is over.
fn is_same(before: &str, after: &str) -> bool {
    let [before, after] = [before, after].map(lines);
    let mut pairs = before.iter().zip(&after);
    before.len() == after.len()
        && pairs.all(|(before, after)| {
            (before.start, before.end) == (after.start, after.end) && after.time <= before.time
        })
}

/// What was printed before, with the times of `found` that are no later and not earlier than after.
fn between(before: &str, found: &str, after: &str) -> String {
    let [before, found, after] = [before, found, after].map(lines);
    let lines = before.iter().enumerate().map(|(index, line)| {
        let times = [&after, &found].map(|lines| lines.get(index).and_then(|line| line.time));
        let time = match times {
            [after, found] if after <= found && found <= line.time => found,
            _ => line.time,
        };
        [line.start, time.unwrap_or_default(), line.end].concat()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A line, in a list of connections around the time that each has left: `04:58`, whose order is
/// that of its text.
struct Line<'a> {
    start: &'a str,
    time: Option<&'a str>,
    end: &'a str,
}

fn lines(list: &str) -> Vec<Line<'_>> {
    let is_of_connections = list.starts_with("IPVS connection entries\n");
    let lines = list.split('\n').map(|line| {
        let time = line
            .get(EXPIRY)
            .filter(|time| is_of_connections && time.as_bytes().get(2) == Some(&b':'));
        match time {
            Some(_) => Line {
                start: &line[..EXPIRY.start],
                time,
                end: &line[EXPIRY.end..],
            },
            None => Line {
                start: line,
                time,
                end: "",
            },
        }
    });
    lines.collect()
}

/// What `ipvsadm` prints, which has to succeed.
#[track_caller]
pub(crate) fn ipvsadm(netns: &Netns, arguments: &[&str]) -> String {
    peers::output(netns, IPVSADM, arguments, "").expect("ipvsadm prints it")
}

/// What ours prints, which has to succeed and say nothing else.
#[track_caller]
pub(crate) fn observer(netns: &Netns, arguments: &[&str]) -> String {
    peers::output(netns, BINARY, arguments, "").expect("ours prints it")
}

/// What `ipvsadm` prints of a table with the marks and the order that are right.
pub(crate) fn put_right(order: &Order, form: &str) -> String {
    let ordered = order.apply(form).expect("all forms have the same lines");
    unsigned_marks(&ordered)
}

/// The lines from the first to the last that is not the same, from both.
fn difference(expected: &str, found: &str) -> String {
    let [expected, found] = [expected, found].map(|text| text.split('\n').collect::<Vec<_>>());
    let alike = |(a, b): &(&&str, &&str)| a == b;
    let first = expected.iter().zip(&found).take_while(alike).count();
    let [expected, found] = [&expected[first..], &found[first..]];
    let pairs = expected.iter().rev().zip(found.iter().rev());
    let last = pairs.take_while(alike).count();
    let marked = |sign, lines: &[&str]| {
        let lines = lines[..lines.len() - last].iter();
        let lines = lines.map(|line| format!("{sign}{line:?}\n"));
        lines.collect::<Vec<_>>().concat()
    };
    format!(
        "@ line {}\n{}{}",
        first + 1,
        marked('-', expected),
        marked('+', found)
    )
}
