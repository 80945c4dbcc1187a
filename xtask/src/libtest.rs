//! The results that Rust's test harness prints, summed over any number of test binaries.

use std::ops::AddAssign;

/// Tests that ran, and the names of those that failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Results {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<String>,
}

impl Results {
    /// Reads everything that test binaries printed.
    pub(crate) fn parse(output: &str) -> Self {
        let mut results = Self::default();
        // The harness prints two lists under this heading, first what the tests printed and then
        // their names; the names are what lies between the last heading and the result.
        let mut names = None;
        for line in output.lines() {
            if line == "failures:" {
                names = Some(Vec::new());
            } else if let Some(counts) = line.strip_prefix("test result: ") {
                results.passed += count(counts, " passed");
                results.failed += count(counts, " failed");
                results.failures.extend(names.take().unwrap_or_default());
            } else if let (Some(names), Some(name)) = (&mut names, line.strip_prefix("    ")) {
                names.push(name.to_owned());
            }
        }
        results
    }
}

impl AddAssign for Results {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
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

test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.01s
";

    #[test]
    fn failures_are_counted_and_named() {
        let results = Results::parse(FAILED);
        assert_eq!((results.passed, results.failed), (1, 2));
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
    fn no_result_is_no_test() {
        assert_eq!(Results::parse("Segmentation fault"), Results::default());
    }
}
