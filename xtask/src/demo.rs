//! `cargo xtask demo`: the product on a terminal, from nothing.

use std::{io, process::ExitCode, time::Duration};

use anyhow::{Result, bail};

use crate::{
    build, host,
    kernel::KernelChoice,
    qemu::{self, Clock, Machine},
    step, toolchain,
};

/// `top` prints a screen every few seconds.
const SILENCE: Duration = Duration::from_mins(1);

/// Reads a duration by the agent's rule and gives the text, which is the agent's to read.
pub(crate) fn duration(text: &str) -> Result<String> {
    let seconds = text
        .parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = seconds.or_else(|| humantime::parse_duration(text).ok());
    if duration.is_none_or(|duration| duration.is_zero()) {
        bail!("give a time like 20s, 2m or a number of seconds");
    }
    Ok(text.to_owned())
}

pub(crate) fn run(duration: &str, choice: &KernelChoice) -> Result<ExitCode> {
    host::check_space()?;
    qemu::set_up()?;
    toolchain::set_up()?;
    let kernel = choice.get()?;
    let binaries = build::lab()?;
    let machine = Machine {
        clock: Clock::Wall { cpus: 2 },
        silence: Some(SILENCE),
        deadline: None,
        peers: None,
        load: Vec::new(),
        command: ["/bin/lab", "demo", "--duration", duration]
            .map(str::to_owned)
            .to_vec(),
    };
    step::say(&format!(
        "booting Linux {} as a director with two services and four real servers; \
         one server's application answers 20 ms late (see first_byte), \
         another's link is 10 ms longer (see connect too)",
        kernel.name
    ));
    let ended = step::step("the demo", || {
        qemu::boot(&kernel, &binaries, &machine, io::stdout())
    })?;
    if ended.status == 0 {
        step::say("on a director of your own: cargo xtask run -- top");
    }
    Ok(ExitCode::from(ended.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_the_agents() {
        for text in ["20s", "2m", "1m 30s", "7", "0.5"] {
            assert_eq!(duration(text).unwrap(), text);
        }
        for text in ["nonsense", "", "0", "0s", "-1", "inf", "20 parsecs"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
