//! The command line as it is typed; what is meant by it is decided in `config`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Shows live, per virtual service and real server, what a Linux IPVS director does to traffic.
#[derive(Debug, Parser)]
#[command(name = "ipvs-observer", version, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command takes.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Live table of services and real servers with the percentiles of their latencies.
    Top(TopArguments),
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct CommonArguments {
    /// Only this TCP service: `ADDRESS[:PORT]`, as `192.0.2.1:80` or `[2001:db8::1]:80`, with `*` for any port.
    #[arg(short = 't', long, value_name = "SERVICE", global = true)]
    pub tcp_service: Vec<String>,
    /// Only this UDP service.
    #[arg(short = 'u', long, value_name = "SERVICE", global = true)]
    pub udp_service: Vec<String>,
    /// Only this SCTP service.
    #[arg(long, value_name = "SERVICE", global = true)]
    pub sctp_service: Vec<String>,
    /// Only the services of this firewall mark, of both address families.
    #[arg(short = 'f', long, value_name = "MARK", global = true)]
    pub fwmark_service: Vec<String>,
    /// With -f: only the service of IPv6.
    #[arg(short = '6', long, requires = "fwmark_service", global = true)]
    pub ipv6: bool,
    /// Only this real server: `ADDRESS[:PORT]`.
    #[arg(short = 'r', long, value_name = "SERVER", global = true)]
    pub real_server: Vec<String>,
    /// How long a window is: 100ms, 5s, 2m; a bare number is seconds [default: 2s].
    #[arg(short, long, value_name = "TIME", global = true)]
    pub interval: Option<String>,
    /// When to end; without it at SIGINT.
    #[arg(short, long, value_name = "TIME", global = true)]
    pub duration: Option<String>,
    /// Format of what is printed [default: text].
    #[arg(short, long, value_enum, value_name = "FORMAT", global = true)]
    pub output: Option<OutputFormat>,
    /// A TOML file with defaults for interval, duration, output, rows and sort.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Say more on stderr: -v what the agent does, -vv also what the programs in the kernel say.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say nothing on stderr but errors.
    #[arg(short, long, conflicts_with = "verbose", global = true)]
    pub quiet: bool,
}

/// What `top` takes.
#[derive(Debug, Args)]
pub struct TopArguments {
    /// Print one block for each window, also on a terminal.
    #[arg(long)]
    pub plain: bool,
    /// Print one window and end.
    #[arg(long)]
    pub once: bool,
    /// Order of the real servers, the largest first; a measure stands for its 99th percentile [default: name].
    #[arg(long, value_enum, value_name = "COLUMN")]
    pub sort: Option<SortColumn>,
    /// How many real servers a block shows; 0 for all [default: 20].
    #[arg(short = 'n', long, value_name = "ROWS")]
    pub rows: Option<usize>,
    /// Created once the probes are attached, so that a test can wait for it.
    #[arg(long, hide = true, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// A format of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One object for each window.
    Json,
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum SortColumn {
    /// Address and port, the smallest first.
    #[default]
    Name,
    /// Connections per second.
    Connections,
    /// Packets per second, in both directions.
    Packets,
    /// Bytes per second, in both directions.
    Bytes,
    /// Active connections.
    Active,
    /// Inactive connections.
    Inactive,
    /// Refused connections.
    Refused,
    /// Dropped packets.
    Dropped,
    /// What scheduling takes.
    Schedule,
    /// From SYN to SYN-ACK.
    Connect,
    /// From SYN-ACK to the client's ACK.
    Client,
    /// The whole handshake.
    Handshake,
    /// From request to response.
    FirstByte,
    /// From first to last packet.
    Duration,
}
