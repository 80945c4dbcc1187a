//! The command line as it is typed; what is meant by it is decided in `config`.

mod stream;

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub use self::stream::{StreamArguments, StreamFormat, WantedArguments};

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
    /// Events of single connections as they happen: ends, refusals, drops, changes of the table.
    Stream(Box<StreamArguments>),
    /// Writes what is measured into files: a recording (.ivo), a HdrHistogram log (.hlog), JSON lines (.ndjson).
    Record(Box<RecordArguments>),
    /// What is in a recording, or in what two of them differ.
    Report(ReportArguments),
    /// The table of services and real servers as ipvsadm prints it, and for machines; needs no eBPF.
    List(ListArguments),
    /// What this host and its kernel allow, what is missing and how to get it; loads nothing.
    Doctor(DoctorArguments),
    /// JSON schema of what a command prints with -o json.
    Schema(SchemaArguments),
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
    /// Only the services of this firewall mark, of both address families; in the text of `list` that of IPv4, as in ipvsadm.
    #[arg(short = 'f', long, value_name = "MARK", global = true)]
    pub fwmark_service: Vec<String>,
    /// With -f: only the service of IPv6.
    #[arg(short = '6', long, requires = "fwmark_service", global = true)]
    pub ipv6: bool,
    /// Only this real server: `ADDRESS[:PORT]`.
    #[arg(short = 'r', long, value_name = "SERVER", global = true)]
    pub real_server: Vec<String>,
    /// How long a window is, or how often `list` reads: 100ms, 5s, 2m; a bare number is seconds [default: 2s; `list` reads once].
    #[arg(short, long, value_name = "TIME", global = true)]
    pub interval: Option<String>,
    /// When to end; without it at SIGINT.
    #[arg(short, long, value_name = "TIME", global = true)]
    pub duration: Option<String>,
    /// The network namespace to look at: a name of `ip netns`, a path, or the number of a process (a name that is a number: its path).
    #[arg(short = 'N', long, value_name = "NETNS", global = true)]
    pub netns: Option<String>,
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

/// What `list` takes. Options of ipvsadm have their letters and names.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option that is there or not"
)]
pub struct ListArguments {
    /// Print addresses and ports as numbers.
    #[arg(short = 'n', long)]
    pub numeric: bool,
    /// Counters: connections, packets and bytes.
    #[arg(long, group = "columns")]
    pub stats: bool,
    /// Rates: connections, packets and bytes per second.
    #[arg(long, group = "columns")]
    pub rate: bool,
    /// Thresholds of the real servers.
    #[arg(long, group = "columns")]
    pub thresholds: bool,
    /// Persistent connections; with -c the persistence engine and its data.
    #[arg(long, group = "columns")]
    pub persistent_conn: bool,
    /// How packets to real servers are tunnelled.
    #[arg(long, group = "columns")]
    pub tun_info: bool,
    /// Figures with all their digits.
    #[arg(long)]
    pub exact: bool,
    /// In order of addresses and ports, as without this option.
    #[arg(long, conflicts_with = "nosort")]
    pub sort: bool,
    /// In the order in which the kernel has them.
    #[arg(long)]
    pub nosort: bool,
    /// The connections instead of the table.
    #[arg(short = 'c', long, group = "subject", conflicts_with_all = ["stats", "rate", "thresholds", "tun_info", "exact", "sort", "nosort", "live", "changes"])]
    pub connection: bool,
    /// The timeouts of connections instead of the table.
    #[arg(long, group = "subject", conflicts_with_all = ["columns", "exact", "sort", "nosort", "live", "changes"])]
    pub timeout: bool,
    /// The synchronisation daemons instead of the table.
    #[arg(long, group = "subject", conflicts_with_all = ["columns", "exact", "sort", "nosort", "live", "changes"])]
    pub daemon: bool,
    /// The commands that make this table, for `ipvsadm -R`.
    #[arg(short = 'S', long, group = "subject", conflicts_with_all = ["columns", "exact", "nosort", "live", "changes"])]
    pub save: bool,
    /// Counters as they stand, instead of the copies that the kernel makes every 2 s; takes what `top` takes.
    #[arg(long)]
    pub live: bool,
    /// Only what has changed since the reading before: services and servers added, removed, edited.
    #[arg(long, conflicts_with_all = ["columns", "exact", "sort", "nosort", "live"])]
    pub changes: bool,
    /// Format of what is printed [default: text].
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        conflicts_with = "subject"
    )]
    pub output: Option<ListFormat>,
    /// With -o influx: also what Telegraf does not have.
    #[arg(long, requires = "output")]
    pub extra_fields: bool,
    /// With -o netdata: the interval in seconds, which Netdata passes to its plugins.
    #[arg(
        value_name = "SECONDS",
        requires = "output",
        conflicts_with = "interval"
    )]
    pub update_every: Option<String>,
}

/// A format of `list`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    #[default]
    Text,
    /// One object for each reading.
    Json,
    /// Line protocol with the measurements of Telegraf's ipvs input.
    Influx,
    /// The families of `node_exporter` in `OpenMetrics` 1.0.
    Openmetrics,
    /// The same in the older text that `promtool` and the textfile collector take.
    Prometheus,
    /// The protocol of Netdata's plugins.
    Netdata,
}

/// What `schema` takes.
#[derive(Debug, Args)]
pub struct SchemaArguments {
    /// The command whose output is described.
    #[arg(value_enum)]
    pub of: SchemaOf,
}

/// A command with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// `top -o json`.
    Top,
    /// `top --explain -o json`.
    Explain,
    /// `list -o json`.
    List,
    /// `list --changes -o json`.
    Changes,
    /// `doctor -o json`.
    Doctor,
    /// `stream`.
    Stream,
    /// `report` of one recording.
    Report,
    /// `report` of two.
    Comparison,
}

/// What `top` takes.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option that is there or not"
)]
pub struct TopArguments {
    /// Format of what is printed [default: text].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<OutputFormat>,
    /// Print one block for each window, also on a terminal.
    #[arg(long)]
    pub plain: bool,
    /// Tell where the time of one service and each of its real servers goes; ends after 10 s or what -d says, and takes -t, -u, --sctp-service or -f.
    #[arg(long, conflicts_with_all = ["once", "sort", "rows"])]
    pub explain: bool,
    /// Show a recording (.ivo) instead of this host, window by window, as fast as it can be read.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["explain", "once", "all_netns", "seed", "states"])]
    pub replay: Option<PathBuf>,
    /// Print one window and end.
    #[arg(long)]
    pub once: bool,
    /// Observe all network namespaces of this host, those that come and go included, and label each row by its own.
    #[arg(long)]
    pub all_netns: bool,
    /// Order of the real servers, the largest first; a measure stands for its 99th percentile [default: name].
    #[arg(long, value_enum, value_name = "COLUMN")]
    pub sort: Option<SortColumn>,
    /// How many real servers a block shows; 0 for all [default: 20].
    #[arg(short = 'n', long, value_name = "ROWS")]
    pub rows: Option<usize>,
    /// Look at all connections at the start, so that those made before are known at once; before Linux 6.14 only if there
    /// are at most 20000.
    #[arg(long)]
    pub seed: bool,
    /// Look at all connections in each window, and show those of each real server by state; without it only while a
    /// server drains. Before Linux 6.14 only if there are at most 20000.
    #[arg(long)]
    pub states: bool,
    /// What is measured.
    #[command(flatten)]
    pub measuring: MeasuringArguments,
    /// Created once the probes are attached, so that a test can wait for it.
    #[arg(long, hide = true, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// What `record` takes.
#[derive(Debug, Args)]
pub struct RecordArguments {
    /// Files to write, of one process and with the same windows; the kind is in the name: .ivo, .hlog or .ndjson.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Keep only the last so much of a recording (5m): SIGUSR1, --dump-when and the end write it out.
    #[arg(long, value_name = "TIME")]
    pub ring: Option<String>,
    /// With --ring: write it out when this becomes true of a service, as 'connect.p99 > 50ms' or 'refused > 10'.
    #[arg(long, value_name = "CONDITION", requires = "ring")]
    pub dump_when: Option<String>,
    /// Keep events of single connections in the recording too, of these kinds, separated by commas, as in stream
    /// [default: closed,refused,unanswered,dropped].
    #[arg(long, value_name = "KINDS", num_args = 0..=1, require_equals = true, default_missing_value = "closed,refused,unanswered,dropped")]
    pub events: Option<String>,
    /// Which of them.
    #[command(flatten)]
    pub wanted: WantedArguments,
    /// Observe all network namespaces of this host.
    #[arg(long)]
    pub all_netns: bool,
    /// Look at all connections at the start, as in top.
    #[arg(long)]
    pub seed: bool,
    /// Look at all connections in each window, as in top.
    #[arg(long)]
    pub states: bool,
    /// What is measured.
    #[command(flatten)]
    pub measuring: MeasuringArguments,
    /// Created once the probes are attached, so that a test can wait for it.
    #[arg(long, hide = true, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// A command to record around: it is started once the probes are attached, and the recording ends with it.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What `report` takes.
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// A recording (.ivo), or one from before and one from after a change.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Format of what is printed [default: text].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<ReportFormat>,
    /// With -o csv: which table [default: latency]; connections and clients are of recordings with --events.
    #[arg(long, value_enum, value_name = "TABLE")]
    pub table: Option<ReportTable>,
    /// Only windows from then on: a time since the beginning (90s, 5m) or of the clock (2026-11-20T12:47:00Z).
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Only windows until then.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Exit with status 1 if this is so of a service, as 'connect.p99 > 50ms'; of two recordings 'connect.p99 > +10%'.
    #[arg(long, value_name = "CONDITION")]
    pub fail_on: Vec<String>,
    /// Write a page for a browser, with heat maps and curves, that needs no network.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A format of `report`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// One object.
    Json,
    /// A line for each measure of each service and server.
    Csv,
    /// A HdrHistogram log, one line for each measure of each service and server.
    Hlog,
}

/// A table of `report -o csv`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportTable {
    /// Percentiles of each measure of each service and server.
    #[default]
    Latency,
    /// The connections whose clients waited for longest.
    Connections,
    /// The clients with the most connections, refusals and repeated SYNs.
    Clients,
}

/// What `doctor` takes.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Format of what is printed [default: text].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<OutputFormat>,
    /// What would be measured.
    #[command(flatten)]
    pub measuring: MeasuringArguments,
}

/// What every command takes that measures.
#[derive(Debug, Args)]
pub struct MeasuringArguments {
    /// Latencies to measure: names, `default` or `all`; with `+` or `-` before a name, beside or without the default ones.
    #[arg(long, value_name = "LIST", allow_hyphen_values = true)]
    pub measure: Option<String>,
    /// Kernel memory that the maps may take, such as 512M [default: 256M].
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<String>,
    /// Connections to follow at the same time; half-open ones make room for others [default: 524288].
    #[arg(long, value_name = "NUMBER")]
    pub max_connections: Option<u32>,
}

/// A format of `top`.
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
    /// From each request to its response.
    Response,
    /// From first to last packet.
    Duration,
    /// What forwarding takes.
    Xmit,
    /// What the whole hook takes.
    Hook,
}
