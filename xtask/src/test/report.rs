//! What has passed and failed so far, told as it comes, and the one line that ends it all.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

use crate::{libtest::Results, step};

/// The sum of all steps and tests.
#[derive(Default)]
pub(super) struct Report {
    results: Results,
}

impl Report {
    /// Does something that passes or fails as a whole, and tells which.
    pub(super) fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        let result = step::step(name, work);
        if let Err(error) = &result {
            self.fail(name, error);
        }
        result.is_ok()
    }

    /// Adds tests that were counted one by one.
    pub(super) fn suite(&mut self, name: &str, result: Result<Results>) {
        match result {
            Ok(mut results) => {
                for failure in &mut results.failures {
                    *failure = format!("{failure} ({name})");
                }
                step::say(&format!(
                    "{name}: {} passed, {} failed",
                    results.passed, results.failed
                ));
                self.results += results;
            }
            Err(error) => self.fail(name, &error),
        }
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        step::say(&format!("error: {error:#}"));
        self.results.failed += 1;
        self.results.failures.push(name.to_owned());
    }

    /// Names again what has failed and prints the line that says how many.
    pub(super) fn finish(self) -> Result<ExitCode> {
        let Results {
            passed,
            failed,
            ignored: _,
            failures,
        } = self.results;
        for failure in failures {
            step::say(&format!("failed: {failure}"));
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{passed} passed, {failed} failed").context("cannot write to stdout")?;
        Ok(if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
