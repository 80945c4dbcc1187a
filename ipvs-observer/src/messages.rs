//! The agent's messages, one line each on standard error.

use std::io::{self, Write as _};

use log::{LevelFilter, Log, Metadata, Record};

/// Writes what `log` is told.
#[derive(Debug)]
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            say(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Sends messages up to `level` to standard error.
pub fn start(level: LevelFilter) {
    // It fails only where a logger is set already, which then stays.
    drop(log::set_logger(&Stderr));
    log::set_max_level(level);
}

/// Writes one line; there is nobody to tell if that fails.
pub fn say(line: &str) {
    drop(writeln!(io::stderr(), "ipvs-observer: {line}"));
}
