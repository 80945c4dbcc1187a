//! Ours and `ipvsadm` side by side in one namespace.
//!
//! All that differs is collected and told at once, with the form in which it does. What is known
//! to be different on purpose is the caller's matter.

use std::fmt::Write as _;

use ipvs_observer_tests::{
    agent::BINARY,
    ipvsadm_text::{Order, unsigned_marks},
    netns::Netns,
    peers::{self, IPVSADM},
    wait,
};

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

/// What the first prints, alike before and after what the second prints.
#[track_caller]
pub(crate) fn meanwhile(
    first: impl Fn() -> String,
    second: impl Fn() -> String,
) -> (String, String) {
    let mut before = first();
    wait::until("the same to be printed twice", wait::PATIENCE, || {
        let found = second();
        let after = first();
        let is_same = after == before;
        before = after;
        Ok(is_same.then(|| (before.clone(), found)))
    })
    .expect("the table is at rest")
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
