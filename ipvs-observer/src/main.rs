//! Parses the command line, runs what it asks for and chooses the exit status.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser as _, error::ErrorKind};
use ipvs_observer::{
    cli::{Arguments, SchemaOf},
    config::{self, Job},
    doctor,
    error::{RunError, one_line},
    kernel::Kernel,
    list, messages, observer,
    output::schema,
    report::{self, Verdict},
    signals::Ending,
    stream,
};

/// What a shell says of a process that SIGINT killed.
const INTERRUPTED: u8 = 130;
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match run(arguments) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            messages::say(&one_line(&error));
            error.exit_code()
        }
    }
}

/// Gives the exit status.
fn run(arguments: Arguments) -> Result<u8, RunError> {
    let (job, surroundings) = config::resolve(arguments)?;
    messages::start(surroundings.verbosity);
    // Before anything is opened and any thread is started.
    if let Some(netns) = &surroundings.netns {
        Kernel::at("/").enter_network_namespace(netns)?;
    }
    let netns = surroundings.netns;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| RunError::System {
            doing: "start the runtime",
            source,
        })?;
    let ending = match job {
        Job::Report(config) => {
            return report::run(&config).map(|verdict| u8::from(verdict == Verdict::Failed));
        }
        Job::Top(config) if config.replay.is_some() => {
            let path = config.replay.clone().unwrap_or_default();
            report::replay(&path, &config)?;
            Ending::Complete
        }
        Job::Top(top) => runtime.block_on(observer::run(top))?,
        Job::Stream(config) => runtime.block_on(stream::run(config))?,
        Job::Record(record) => runtime.block_on(observer::record(*record))?,
        Job::List(list) => runtime.block_on(list::run(list, netns))?,
        Job::Doctor(doctor) => return doctor::run(&doctor, netns),
        Job::Schema(of) => print_schema(of)?,
    };
    Ok(match ending {
        Ending::Complete => 0,
        Ending::Interrupted => INTERRUPTED,
    })
}

fn print_schema(of: SchemaOf) -> Result<Ending, RunError> {
    let mut out = io::stdout().lock();
    match schema::encode(of, &mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(RunError::System {
            doing: "write to stdout",
            source: error,
        }),
        _ => Ok(Ending::Complete),
    }
}

/// Help goes to standard output; a mistake is one line that says where the help is.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // A closed pipe is a quiet end.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        messages::say(
            "say what to do, as `ipvs-observer top`; `ipvs-observer --help` lists the commands",
        );
        return ExitCode::from(USAGE);
    }
    let text = error.to_string();
    let mistake = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"));
    let mistake: Vec<_> = mistake.filter(|line| !line.is_empty()).collect();
    let mistake = mistake.join(" ");
    let mistake = mistake
        .trim_start_matches("error: ")
        .replace(" For more information, try '--help'.", "");
    messages::say(&format!(
        "{mistake}; `ipvs-observer --help` explains the options"
    ));
    ExitCode::from(USAGE)
}
