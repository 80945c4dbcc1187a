//! What `stream` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::MeasuringArguments;

/// What `stream` takes.
#[derive(Debug, Args)]
pub struct StreamArguments {
    /// Format of what is printed [default: json].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<StreamFormat>,
    /// Events to print, separated by commas, or `all`: opened, established, slow, closed, refused, unanswered, dropped,
    /// config [default: closed,refused,unanswered,dropped,config].
    #[arg(long, value_name = "LIST")]
    pub events: Option<String>,
    /// End after so many events.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u64>,
    /// Which of them.
    #[command(flatten)]
    pub wanted: WantedArguments,
    /// With the kernel stack of each dropped packet, and of each `schedule` that is slow.
    #[arg(long)]
    pub stack: bool,
    /// How long an event may wait for others before it is printed [default: 50ms].
    #[arg(long, value_name = "TIME")]
    pub latency: Option<String>,
    /// Observe all network namespaces of this host.
    #[arg(long)]
    pub all_netns: bool,
    /// What is measured.
    #[command(flatten)]
    pub measuring: MeasuringArguments,
    /// Created once the probes are attached, so that a test can wait for it.
    #[arg(long, hide = true, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// What every command takes that has the programs send events.
#[derive(Debug, Args)]
pub struct WantedArguments {
    /// Only events of clients of this prefix, as `192.0.2.0/24` or `2001:db8::/32`; can be given several times.
    #[arg(long, value_name = "PREFIX")]
    pub client: Vec<String>,
    /// Only events of these protocols, separated by commas: tcp, udp, sctp.
    #[arg(long, value_name = "LIST")]
    pub protocol: Option<String>,
    /// Only events of connections of which a stage took at least so long, as connect=5ms; several, separated by commas,
    /// are any of them.
    #[arg(long, value_name = "STAGE=TIME")]
    pub slower_than: Vec<String>,
    /// Only these ends, separated by commas: finished, `reset_by_client`, `reset_by_server`, expired, refused, unanswered.
    #[arg(long, value_name = "LIST")]
    pub outcome: Option<String>,
    /// Events of one connection of so many, chosen by a hash of the client's address, port and protocol, as 1/100.
    #[arg(long, value_name = "1/N")]
    pub sample: Option<String>,
    /// Kernel memory for events that wait to be read; a power of two is made of it [default: 8M].
    #[arg(long, value_name = "SIZE")]
    pub buffer: Option<String>,
}

/// A format of `stream`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StreamFormat {
    /// One object in a line.
    #[default]
    Json,
    /// One aligned line for people.
    Text,
}
