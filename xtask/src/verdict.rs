//! How a guest ended, read from its console: with the status of the command, or not at all.
//!
//! A guest that dies says nothing about the tests that ran in it, so it must never look like one
//! of them failing, and neither may a test's success hide that the kernel was ill.

use std::{fmt, time::Duration};

use crate::step;

/// What init prints last; `tests/src/guest/init.rs` writes it.
const MARKER: &str = "lab: exit status ";
/// What init prints when it cannot do its own part.
const INIT_FAILED: &str = "lab: failed: ";
/// What the kernel prints when it or a CPU of it is lost, or when it finds itself in a state that
/// it must not be in. The bracket ends the time stamp: other messages have the word inside.
const SIGNS_OF_DEATH: &[&str] = &[
    "Kernel panic",
    "Oops",
    "soft lockup",
    "BUG:",
    "] WARNING: ",
    "] rcu: INFO: ",
    INIT_FAILED,
];

/// The end of a guest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command ended with this status.
    Status(u8),
    /// The guest died; the line that shows it.
    Died(String),
    /// The guest printed nothing for so long.
    Hung(Duration),
    /// The guest printed and printed, and had not ended after so long.
    Late(Duration),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the command ended with status {status}"),
            Self::Died(line) => write!(f, "the guest died, not the command in it, of: {line}"),
            Self::Hung(silence) => write!(
                f,
                "the guest hung, or the command in it: nothing came on either serial line for {}",
                step::seconds(*silence)
            ),
            Self::Late(deadline) => write!(
                f,
                "the command in the guest does not come to its end: it ran for {}",
                step::seconds(*deadline)
            ),
        }
    }
}

/// Reads the console so far; None while nothing is decided.
pub(crate) fn verdict(console: &str) -> Option<Verdict> {
    let sign = console
        .lines()
        .find(|line| SIGNS_OF_DEATH.iter().any(|sign| line.contains(sign)));
    if let Some(line) = sign {
        return Some(Verdict::Died(line.trim().to_owned()));
    }
    console
        .lines()
        .filter_map(|line| line.split_once(MARKER))
        .find_map(|(_, status)| status.trim().parse().ok())
        .map(Verdict::Status)
}

/// The end of a console, for a person.
pub(crate) fn tail(console: &str) -> String {
    const LINES: usize = 40;
    let lines = console.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// The last line that says anything, where a command's output stopped.
pub(crate) fn last_line(output: &str) -> &str {
    let lines = output.lines().map(str::trim);
    lines
        .rev()
        .find(|line| !line.is_empty())
        .unwrap_or("(there is none)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_carries_the_status() {
        let console = "[    2.1] something\r\nlab: exit status 101\r\n";
        assert_eq!(verdict(console), Some(Verdict::Status(101)));
        assert_eq!(verdict("lab: exit status "), None);
        assert_eq!(verdict("[    1.0] booting\n"), None);
    }

    #[test]
    fn an_ill_kernel_is_no_verdict_on_the_command() {
        for line in [
            "[   12.5] Oops: 0000 [#1] PREEMPT SMP",
            "[   12.5] Kernel panic - not syncing: Attempted to kill init!",
            "[   12.5] watchdog: BUG: soft lockup - CPU#1 stuck for 22s!",
            "[   12.5] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 f+0x1/0x2",
            "[   12.5] rcu: INFO: rcu_sched self-detected stall on CPU",
            "lab: failed: cannot mount /proc",
        ] {
            let console = format!("{line}\nlab: exit status 0\n");
            assert_eq!(verdict(&console), Some(Verdict::Died(line.to_owned())));
        }
    }

    #[test]
    fn a_message_about_a_warning_is_none() {
        let console = "[    0.1] Spectre V2 : WARNING: eBPF\n[    0.2] rcu: Hierarchical RCU\n";
        assert_eq!(verdict(console), None);
    }

    #[test]
    fn the_last_line_is_where_output_stopped() {
        assert_eq!(last_line("test a ... ok\ntest b ... "), "test b ...");
        assert_eq!(last_line("test a ... ok\r\n\r\n"), "test a ... ok");
        assert_eq!(last_line(""), "(there is none)");
    }

    #[test]
    fn the_tail_is_the_end() {
        let console = (0..100)
            .map(|n| format!("{n}\n"))
            .collect::<Vec<_>>()
            .concat();
        assert!(tail(&console).starts_with("60\n") && tail(&console).ends_with("99"));
        assert_eq!(tail("one"), "one");
    }
}
