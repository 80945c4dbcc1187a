//! What `stream` shall do.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use ipvs_observer_common::{Ending, EventKind, Measure, PATTERNS, STAGES, protocol_bit};

use super::{ConfigError, File, Measuring, measure::bytes, selection, time, window};
use crate::{
    cli::{CommonArguments, StreamArguments, StreamFormat, WantedArguments},
    model::{filter::Selection, id::Protocol},
};

/// How often the table is looked at for changes and for new servers.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_LATENCY: Duration = Duration::from_millis(50);
/// Room for more than 30 000 events.
const DEFAULT_BUFFER_BYTES: u64 = 8 << 20;
/// The kernel's ring buffers have 2^27 pages and less; more than this is a mistyped unit.
const LARGEST_BUFFER_BYTES: u64 = 1 << 30;
const SMALLEST_BUFFER_BYTES: u64 = 1 << 16;

/// The name of what the agent tells, not the programs.
const CONFIG: &str = "config";
const DEFAULT_EVENTS: [EventKind; 4] = [
    EventKind::Closed,
    EventKind::Refused,
    EventKind::Unanswered,
    EventKind::Dropped,
];

/// A checked configuration of `stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// How often the table is read.
    pub interval: Duration,
    /// Length of the run; `None` is until a signal.
    pub duration: Option<Duration>,
    /// Events after which the run ends.
    pub limit: Option<u64>,
    /// Whether all network namespaces are observed.
    pub all_netns: bool,
    /// How events are printed.
    pub output: StreamFormat,
    /// The longest time that an event waits for others.
    pub latency: Duration,
    /// What the programs send.
    pub wanted: Wanted,
    /// What is measured.
    pub measuring: Measuring,
    /// Created once the probes are attached.
    pub ready_file: Option<PathBuf>,
}

/// Which events the programs send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Their kinds.
    pub kinds: Vec<EventKind>,
    /// Whether changes of the table are told too.
    pub config: bool,
    /// Of these services and servers.
    pub selection: Selection,
    /// Of these clients; none is all.
    pub clients: Vec<ClientNetwork>,
    /// By [`protocol_bit`]; 0 is all.
    pub protocols: u32,
    /// Of connections of which one of these stages took so long; none is all.
    pub slower_than: Vec<(Measure, Duration)>,
    /// With these ends; none is all.
    pub endings: Vec<Ending>,
    /// One of so many connections.
    pub sample: u32,
    /// Whether the kernel stack is wanted of what can have one.
    pub stacks: bool,
    /// Bytes of the ring buffer, a power of two.
    pub buffer_bytes: u32,
}

/// A prefix of client addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNetwork {
    /// The address as it was written.
    pub address: IpAddr,
    /// Bits that count.
    pub bits: u8,
}

impl Stream {
    pub(super) fn resolve(
        stream: &StreamArguments,
        common: &CommonArguments,
        file: &File,
    ) -> Result<Self, ConfigError> {
        if stream.all_netns && common.netns.is_some() {
            return Err(ConfigError::Conflict("--all-netns", "--netns"));
        }
        if stream.limit == Some(0) {
            return Err(ConfigError::Zero("--limit"));
        }
        let interval = common.interval.as_ref().or(file.interval.as_ref());
        let duration = common.duration.as_ref().or(file.duration.as_ref());
        let (kinds, config) = events(stream.events.as_deref())?;
        let mut measuring = Measuring::resolve(&stream.measuring, file)?;
        let wanted = Wanted::resolve((kinds, config), &stream.wanted, common, &mut measuring)?;
        if stream.stack && !wanted.can_have_stacks() {
            return Err(ConfigError::Stack);
        }
        Ok(Self {
            interval: interval.map_or(Ok(DEFAULT_INTERVAL), |text| window(text))?,
            duration: duration.map(|text| time("duration", text)).transpose()?,
            limit: stream.limit,
            all_netns: stream.all_netns,
            output: stream.output.unwrap_or_default(),
            latency: stream
                .latency
                .as_ref()
                .map_or(Ok(DEFAULT_LATENCY), |text| time("--latency", text))?,
            wanted: Wanted {
                stacks: stream.stack,
                ..wanted
            },
            measuring,
            ready_file: stream.ready_file.clone(),
        })
    }
}

impl Wanted {
    /// Events of these kinds, and changes of the table if so; what is slow by some stage takes that stage to be measured.
    pub(super) fn resolve(
        (kinds, config): (Vec<EventKind>, bool),
        wanted: &WantedArguments,
        common: &CommonArguments,
        measuring: &mut Measuring,
    ) -> Result<Self, ConfigError> {
        let slower_than = slower_than(&wanted.slower_than)?;
        if kinds.contains(&EventKind::Slow) && slower_than.is_empty() {
            return Err(ConfigError::Slow);
        }
        let stages: Vec<_> = slower_than.iter().map(|&(stage, _)| stage).collect();
        measuring.also(&stages);
        let selection = selection(common)?;
        let clients: Result<Vec<_>, _> = wanted.client.iter().map(|text| network(text)).collect();
        let clients = clients?;
        for (option, count) in [
            ("--client", clients.len()),
            ("-t, -u, --sctp-service and -f", selection.services.len()),
            ("-r", selection.servers.len()),
        ] {
            if count > PATTERNS {
                return Err(ConfigError::Many(option, PATTERNS));
            }
        }
        Ok(Self {
            kinds,
            config,
            selection,
            clients,
            protocols: protocols(wanted.protocol.as_deref())?,
            slower_than,
            endings: endings(wanted.outcome.as_deref())?,
            sample: sample(wanted.sample.as_deref())?,
            stacks: false,
            buffer_bytes: buffer(wanted.buffer.as_deref())?,
        })
    }
}

impl Wanted {
    /// Whether anything is told that the director does to a packet while it has it in hand.
    fn can_have_stacks(&self) -> bool {
        let mut slow = self.slower_than.iter();
        self.kinds.contains(&EventKind::Dropped)
            || (self.kinds.contains(&EventKind::Slow)
                && slow.any(|&(stage, _)| stage == Measure::Schedule))
    }
}

/// The kinds that `list` names, and whether it names changes of the table.
pub(super) fn events(list: Option<&str>) -> Result<(Vec<EventKind>, bool), ConfigError> {
    let Some(list) = list else {
        return Ok((DEFAULT_EVENTS.to_vec(), true));
    };
    let mut kinds = Vec::new();
    let mut config = false;
    for name in list.split(',').map(str::trim) {
        if name == CONFIG {
            config = true;
        } else if name == "all" {
            // What is slow is told only where somebody says what that is.
            kinds.extend(
                EventKind::ALL
                    .into_iter()
                    .filter(|&kind| kind != EventKind::Slow),
            );
            config = true;
        } else {
            let mut all = EventKind::ALL.into_iter();
            let kind = all.find(|kind| kind.name() == name);
            kinds.push(kind.ok_or_else(|| {
                ConfigError::Name(
                    "event",
                    name.to_owned(),
                    EventKind::ALL.map(EventKind::name).join(", ") + ", config, all",
                )
            })?);
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok((kinds, config))
}

fn endings(list: Option<&str>) -> Result<Vec<Ending>, ConfigError> {
    let names = list.iter().flat_map(|list| list.split(',')).map(str::trim);
    names
        .map(|name| {
            let mut all = Ending::ALL.into_iter();
            all.find(|ending| ending.name() == name).ok_or_else(|| {
                ConfigError::Name(
                    "outcome",
                    name.to_owned(),
                    Ending::ALL.map(Ending::name).join(", "),
                )
            })
        })
        .collect()
}

fn protocols(list: Option<&str>) -> Result<u32, ConfigError> {
    let mut names = list.iter().flat_map(|list| list.split(',')).map(str::trim);
    names.try_fold(0, |bits, name| {
        let protocol = match name {
            "tcp" => Protocol::TCP,
            "udp" => Protocol::UDP,
            "sctp" => Protocol::SCTP,
            _ => {
                let names = "tcp, udp, sctp".to_owned();
                return Err(ConfigError::Name("protocol", name.to_owned(), names));
            }
        };
        Ok(bits | protocol_bit(protocol.0))
    })
}

fn slower_than(texts: &[String]) -> Result<Vec<(Measure, Duration)>, ConfigError> {
    let items = texts.iter().flat_map(|text| text.split(','));
    items
        .map(|item| {
            let refused = || ConfigError::Threshold(item.to_owned());
            let (name, text) = item.split_once('=').ok_or_else(refused)?;
            let mut stages = Measure::ALL.into_iter().take(STAGES);
            let stage = stages.find(|stage| stage.name() == name.trim());
            Ok((
                stage.ok_or_else(refused)?,
                time("--slower-than", text.trim())?,
            ))
        })
        .collect()
}

fn network(text: &str) -> Result<ClientNetwork, ConfigError> {
    let refused = || ConfigError::Prefix(text.to_owned());
    let (address, bits) = text
        .split_once('/')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().map_err(|_error| refused())?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits
        .map_or(Ok(all), str::parse)
        .map_err(|_error| refused())?;
    if bits > all {
        return Err(refused());
    }
    Ok(ClientNetwork { address, bits })
}

fn sample(text: Option<&str>) -> Result<u32, ConfigError> {
    let Some(text) = text else {
        return Ok(1);
    };
    let number = text.strip_prefix("1/").and_then(|n| n.parse().ok());
    number
        .filter(|&n| n > 0)
        .ok_or_else(|| ConfigError::Sample(text.to_owned()))
}

fn buffer(text: Option<&str>) -> Result<u32, ConfigError> {
    let wanted = text.map_or(Ok(DEFAULT_BUFFER_BYTES), bytes)?;
    let bytes = wanted
        .clamp(SMALLEST_BUFFER_BYTES, LARGEST_BUFFER_BYTES)
        .next_power_of_two();
    u32::try_from(bytes).map_err(|_error| ConfigError::Size(text.unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;
    use ipvs_observer_common::{Ending, EventKind, Measure};

    use super::{ConfigError, Stream};
    use crate::{cli::Arguments, config::Job};

    fn resolve(line: &str) -> Result<Stream, ConfigError> {
        let words = format!("ipvs-observer stream {line}");
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        match crate::config::resolve(arguments)? {
            (Job::Stream(stream), _) => Ok(stream),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn ends_drops_and_changes_are_told_unless_something_else_is_asked_for() {
        let stream = resolve("").unwrap();
        assert!(stream.wanted.config);
        assert_eq!(
            stream.wanted.kinds,
            [
                EventKind::Closed,
                EventKind::Refused,
                EventKind::Unanswered,
                EventKind::Dropped
            ]
        );
        assert_eq!(
            (stream.wanted.sample, stream.wanted.buffer_bytes),
            (1, 8 << 20)
        );
        assert_eq!(stream.latency, Duration::from_millis(50));
        let stream = resolve("--events opened,closed,opened").unwrap();
        assert!(!stream.wanted.config);
        assert_eq!(stream.wanted.kinds, [EventKind::Opened, EventKind::Closed]);
        assert_eq!(resolve("--events all").unwrap().wanted.kinds.len(), 6);
    }

    #[test]
    fn every_filter_is_read() {
        let stream = resolve(
            "--client 192.0.2.0/24 --client 2001:db8::/32 --client 198.51.100.7 --protocol tcp,udp --slower-than connect=5ms,response=1s --outcome expired,reset_by_server --sample 1/100 --buffer 3M",
        )
        .unwrap();
        let wanted = stream.wanted;
        let bits: Vec<_> = wanted.clients.iter().map(|client| client.bits).collect();
        assert_eq!(bits, [24, 32, 32]);
        assert_eq!((wanted.protocols, wanted.sample), (3, 100));
        assert_eq!(
            wanted.slower_than,
            [
                (Measure::Connect, Duration::from_millis(5)),
                (Measure::Response, Duration::from_secs(1))
            ]
        );
        assert_eq!(wanted.endings, [Ending::Expired, Ending::ResetByServer]);
        assert_eq!(wanted.buffer_bytes, 4 << 20);
        assert!(stream.measuring.measures.contains(&Measure::Response));
    }

    #[test]
    fn stacks_are_of_what_is_dropped_or_slow_to_schedule() {
        assert!(!resolve("").unwrap().wanted.stacks);
        for line in ["", "--events slow --slower-than connect=1s,schedule=1ms"] {
            let stream = resolve(&format!("--stack {line}")).unwrap();
            assert!(stream.wanted.stacks, "{line}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (line, says) in [
            ("--events opend", "\"opend\" is no event"),
            ("--events slow", "--slower-than"),
            ("--outcome lost", "\"lost\" is no outcome"),
            ("--protocol icmp", "\"icmp\" is no protocol"),
            ("--slower-than xmit=1ms", "xmit=1ms"),
            ("--slower-than connect", "connect=5ms"),
            ("--client 192.0.2.0/33", "192.0.2.0/33"),
            ("--sample 2/3", "1/100"),
            ("--sample 1/0", "1/100"),
            ("--limit 0", "--limit"),
            ("--stack --events closed", "--events dropped"),
            (
                "--stack --events slow --slower-than connect=1s",
                "--slower-than schedule=",
            ),
            ("--all-netns -N blue", "--netns"),
        ] {
            let error = resolve(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
        let many = "--client 10.0.0.1 ".repeat(17);
        assert!(matches!(
            resolve(&many),
            Err(ConfigError::Many("--client", 16))
        ));
    }
}
