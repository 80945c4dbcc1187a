//! What `doctor` shall look at.

use super::{ConfigError, File, Measuring, selection};
use crate::{
    cli::{CommonArguments, DoctorArguments, OutputFormat},
    model::filter::Selection,
};

/// A checked configuration of `doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// What would be measured.
    pub measuring: Measuring,
    /// How the report is printed.
    pub output: OutputFormat,
}

impl Doctor {
    pub(super) fn resolve(
        doctor: &DoctorArguments,
        common: &CommonArguments,
        file: &File,
    ) -> Result<Self, ConfigError> {
        let unused = [
            (
                "a service or real server",
                selection(common)? != Selection::default(),
            ),
            ("--interval", common.interval.is_some()),
            ("--duration", common.duration.is_some()),
        ];
        if let Some((option, _)) = unused.into_iter().find(|(_, is_given)| *is_given) {
            return Err(ConfigError::Conflict("doctor", option));
        }
        Ok(Self {
            measuring: Measuring::resolve(&doctor.measuring, file)?,
            output: doctor.output.or(file.output).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use ipvs_observer_common::Measure;

    use super::Doctor;
    use crate::{
        cli::{Arguments, OutputFormat},
        config::{ConfigError, Job, resolve},
    };

    fn doctor(line: &str) -> Result<Doctor, ConfigError> {
        let words = format!("ipvs-observer doctor {line}");
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        match resolve(arguments)? {
            (Job::Doctor(doctor), _) => Ok(doctor),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_takes_what_top_measures_with() {
        let doctor = doctor("-o json --measure connect --max-memory 1M --max-connections 7 -N x");
        let doctor = doctor.unwrap();
        assert_eq!(doctor.output, OutputFormat::Json);
        assert_eq!(doctor.measuring.measures, [Measure::Connect]);
        assert_eq!(
            (doctor.measuring.memory_bytes, doctor.measuring.connections),
            (1 << 20, 7)
        );
    }

    #[test]
    fn what_it_would_not_heed_is_refused() {
        for line in ["-t 192.0.2.1:80", "-r 10.0.0.1", "-i 1s", "-d 5s"] {
            assert!(
                matches!(doctor(line), Err(ConfigError::Conflict("doctor", _))),
                "{line}"
            );
        }
    }
}
