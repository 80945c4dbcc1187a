//! The results that Rust's test harness prints, summed over any number of test binaries.

use std::ops::AddAssign;

/// Tests that ran or were ignored, and the names of those that failed. A program that ends before its tests do
/// counts as one failure, under the name of the last test that it began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    pub(crate) failures: Vec<String>,
}

impl Results {
    /// Reads everything that test binaries printed.
    pub(crate) fn parse(output: &str) -> Self {
        let mut results = Self::default();
        // The harness prints two lists under this heading, first what the tests printed and then
        // their names; the names are what lies between the last heading and the result.
        let mut names = None;
        let mut begun = None;
        for line in output.lines() {
            if line.starts_with("running ") {
                results.end_without_result(begun.take());
            } else if line == "failures:" {
                names = Some(Vec::new());
            } else if let Some(counts) = line.strip_prefix("test result: ") {
                results.passed += count(counts, " passed");
                results.failed += count(counts, " failed");
                results.ignored += count(counts, " ignored");
                results.failures.extend(names.take().unwrap_or_default());
                begun = None;
            } else if let Some(name) = test_name(line) {
                begun = Some(name);
            } else if let (Some(names), Some(name)) = (&mut names, line.strip_prefix("    ")) {
                names.push(name.to_owned());
            }
        }
        results.end_without_result(begun);
        results
    }

    fn end_without_result(&mut self, begun: Option<&str>) {
        if let Some(name) = begun {
            self.failed += 1;
            self.failures
                .push(format!("{name}: the test program ended in it or after it"));
        }
    }
}

/// The name in a line about one test, which the harness ends only when the test has ended.
fn test_name(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some(name)
}

impl AddAssign for Results {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend(other.failures);
    }
}

fn count(counts: &str, what: &str) -> u64 {
    counts
        .split(['.', ';'])
        .find_map(|part| part.strip_suffix(what))
        .and_then(|number| number.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "
running 3 tests
test counts::a ... ok
test counts::b ... FAILED
test timed::c ... FAILED

failures:

---- counts::b stdout ----
thread 'counts::b' panicked at tests/vm/counts.rs:1:1:
assertion failed
    and an indented line

failures:
    counts::b
    timed::c

test result: FAILED. 1 passed; 2 failed; 3 ignored; 0 measured; 4 filtered out; finished in 0.01s
";

    #[test]
    fn failures_are_counted_and_named() {
        let results = Results::parse(FAILED);
        assert_eq!((results.passed, results.failed, results.ignored), (1, 2, 3));
        assert_eq!(results.failures, ["counts::b", "timed::c"]);
    }

    #[test]
    fn results_of_several_binaries_add_up() {
        let passed =
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; finished in 1s\n";
        let mut results = Results::parse(&[passed, passed, FAILED].concat());
        assert_eq!((results.passed, results.failed), (25, 2));
        results += Results::parse(passed);
        assert_eq!((results.passed, results.failures.len()), (37, 2));
    }

    #[test]
    fn a_program_that_ends_midway_fails_in_the_last_test_begun() {
        let aborted = "running 2 tests\ntest counts::a ... ok\ntest counts::b ... ";
        let results = Results::parse(&[aborted, "\n", FAILED, aborted].concat());
        assert_eq!((results.passed, results.failed), (1, 4));
        let ends = |index: usize| results.failures[index].starts_with("counts::b: ");
        assert!(ends(0) && ends(3), "{:?}", results.failures);
    }

    #[test]
    fn no_result_is_no_test() {
        assert_eq!(Results::parse("Segmentation fault"), Results::default());
    }
}
