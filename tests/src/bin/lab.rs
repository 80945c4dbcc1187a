//! The one program of the VM besides the agent and the tests: process 1, modprobe, the demo, and
//! the guest's side of the benchmarks.
//! Which of them it is follows from its process number, its name and its first argument.

use std::{env, process::ExitCode};

use anyhow::{Result, bail};
use ipvs_observer_tests::{
    bench, demo,
    guest::{init, modules},
};

fn main() -> ExitCode {
    if std::process::id() == 1 {
        init::run();
        // The kernel panics when process 1 ends, and the host sees that.
        return ExitCode::FAILURE;
    }
    let words = env::args().collect::<Vec<_>>();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<()> {
    let (name, arguments) = match words {
        [name, arguments @ ..] => (name.as_str(), arguments),
        [] => ("", words),
    };
    if name.ends_with("modprobe") {
        return modules::modprobe(arguments);
    }
    match arguments {
        [command, arguments @ ..] if command == "demo" => demo::run(arguments),
        [command, arguments @ ..] if command == "bench" => bench::run(arguments),
        _ => bail!("usage: lab demo [--duration TIME] | bench SECTION"),
    }
}

#[expect(clippy::print_stderr, reason = "a program tells its errors on stderr")]
fn report(error: &anyhow::Error) {
    eprintln!("lab: {error:#}");
}
