//! What a guest told: lines of JSON among whatever else it printed. `tests/src/bench.rs` is their
//! writer.
//!
//! A measurement is `{"case": …, "subject": …, "measure": …, "values": […]}`, a value for each run;
//! what it was measured with is `{"version": …}`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::qemu::Clock;

/// All that one guest told.
#[derive(Debug)]
pub(crate) struct Measurements {
    /// The lines as they came.
    pub(crate) lines: Vec<Value>,
    clock: Clock,
}

impl Measurements {
    pub(crate) fn parse(output: &str, clock: Clock) -> Result<Self> {
        let lines = output.lines().map(str::trim);
        let lines = lines
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).context("the guest printed a torn line"))
            .collect::<Result<_>>()?;
        Ok(Self { lines, clock })
    }

    /// What the kernel and the programs say that they are.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &str> {
        let versions = self.lines.iter().map(|line| line["version"].as_str());
        versions.flatten()
    }

    /// All instructions that a program took.
    pub(crate) fn total(&self, case: &str, subject: &str) -> Result<f64> {
        Ok(self.median(case, subject, "total_ns")? / self.instruction_ns()?)
    }

    /// The instructions that a program took in user mode. That time is a sample, so that all runs
    /// together say more than the one in the middle.
    pub(crate) fn user(&self, case: &str, subject: &str) -> Result<f64> {
        let values = self.values(case, subject, "user_ns")?;
        let mean_ns = float(values.iter().sum()) / float(values.len() as u64);
        Ok(mean_ns / self.instruction_ns()?)
    }

    /// The peak of a program's memory.
    pub(crate) fn peak_bytes(&self, case: &str, subject: &str) -> Result<f64> {
        self.median(case, subject, "peak_bytes")
    }

    /// The subjects of a case, in the order in which they were told.
    pub(crate) fn subjects(&self, case: &str) -> Vec<&str> {
        let lines = self.lines.iter().filter(|line| line["case"] == case);
        let mut subjects: Vec<_> = lines.filter_map(|line| line["subject"].as_str()).collect();
        subjects.dedup();
        subjects
    }

    fn instruction_ns(&self) -> Result<f64> {
        let shift = self.clock.instruction_shift();
        let shift = shift.context("the clock of this section counts no instructions")?;
        Ok(float(1 << shift))
    }

    /// The middle one of all runs, or the mean of the two in the middle.
    pub(crate) fn median(&self, case: &str, subject: &str, measure: &str) -> Result<f64> {
        let values = self.values(case, subject, measure)?;
        let last = values.len() - 1;
        let middle = [values[last / 2], values[last.div_ceil(2)]].map(float);
        Ok(middle.iter().sum::<f64>() / 2.0)
    }

    /// What each run took, in order of size; of one run at least.
    fn values(&self, case: &str, subject: &str, measure: &str) -> Result<Vec<u64>> {
        let line = self.lines.iter().find(|line| {
            line["case"] == case && line["subject"] == subject && line["measure"] == measure
        });
        let values = line.and_then(|line| line["values"].as_array());
        let mut values: Vec<_> = values
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect();
        values.sort_unstable();
        ensure!(
            !values.is_empty(),
            "the guest told no {measure} of {subject} with {case}"
        );
        Ok(values)
    }
}

/// Times and sizes of a guest are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "noise\r\n\
        {\"version\":\"Linux 6.12\"}\r\n\
        {\"case\":\"a\",\"subject\":\"s\",\"measure\":\"total_ns\",\"values\":[48,16,160]}\r\n\
        {\"case\":\"b\",\"subject\":\"s\",\"measure\":\"total_ns\",\"values\":[1,2,4,9]}\r\n\
        {\"case\":\"b\",\"subject\":\"s\",\"measure\":\"user_ns\",\"values\":[0,0,96,0]}\r\n\
        {\"case\":\"b\",\"subject\":\"s\",\"measure\":\"empty\",\"values\":[]}\r\n";

    #[test]
    fn the_middle_of_the_runs_counts() {
        let told = Measurements::parse(OUTPUT, Clock::SlowInstructions).unwrap();
        assert_eq!(told.versions().collect::<Vec<_>>(), ["Linux 6.12"]);
        let is = |left: f64, right: f64| (left - right).abs() < f64::EPSILON;
        assert!(is(told.median("a", "s", "total_ns").unwrap(), 48.0));
        assert!(is(told.total("a", "s").unwrap(), 3.0));
        assert!(is(told.median("b", "s", "total_ns").unwrap(), 3.0));
    }

    #[test]
    fn samples_of_user_time_are_taken_together() {
        let told = Measurements::parse(OUTPUT, Clock::SlowInstructions).unwrap();
        assert!((told.user("b", "s").unwrap() - 1.5).abs() < f64::EPSILON);
    }

    #[test]
    fn what_was_not_told_is_named() {
        let told = Measurements::parse(OUTPUT, Clock::SlowInstructions).unwrap();
        for measure in ["empty", "peak_bytes"] {
            let error = told.median("b", "s", measure).unwrap_err().to_string();
            assert!(error.contains(measure), "{error}");
        }
        assert!(Measurements::parse("{\"case\":", Clock::Instructions).is_err());
    }
}
