//! What `top` shall do.

use std::{path::PathBuf, time::Duration};

use ipvs_observer_common::Measure;

use super::{
    ConfigError, DEFAULT_INTERVAL, File,
    measure::{DEFAULT_CONNECTIONS, DEFAULT_MEMORY_BYTES, bytes, measures},
    selection, time, window,
};
use crate::{
    cli::{CommonArguments, MeasuringArguments, OutputFormat, SortColumn, TopArguments},
    model::filter::Selection,
};

const DEFAULT_ROWS: usize = 20;
/// How long an explanation looks.
const EXPLANATION: Duration = Duration::from_secs(10);
/// What an explanation is made of.
const EXPLAINED: [Measure; 7] = [
    Measure::Schedule,
    Measure::Connect,
    Measure::Client,
    Measure::Handshake,
    Measure::FirstByte,
    Measure::Xmit,
    Measure::Hook,
];

/// A checked configuration of `top`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Nominal length of a window.
    pub interval: Duration,
    /// Length of the run; `None` is until a signal.
    pub duration: Option<Duration>,
    /// Whether the run ends with the first window.
    pub once: bool,
    /// Whether all network namespaces are observed.
    pub all_netns: bool,
    /// Whether one screen tells where time goes, and nothing else.
    pub explain: bool,
    /// What is shown.
    pub selection: Selection,
    /// How it is printed.
    pub output: OutputFormat,
    /// Order of real servers.
    pub sort: SortColumn,
    /// How many real servers a text block shows; `None` is all.
    pub rows: Option<usize>,
    /// Whether all connections are looked at at the start.
    pub seed: bool,
    /// Whether all connections are looked at in each window.
    pub states: bool,
    /// What is measured.
    pub measuring: Measuring,
    /// Created once the probes are attached.
    pub ready_file: Option<PathBuf>,
    /// The recording that is shown instead of this host.
    pub replay: Option<PathBuf>,
}

/// What the programs shall measure, and with how much memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measuring {
    /// The latencies.
    pub measures: Vec<Measure>,
    /// Bytes that the maps may take.
    pub memory_bytes: u64,
    /// Connections followed at the same time.
    pub connections: u32,
}

impl Measuring {
    pub(super) fn resolve(typed: &MeasuringArguments, file: &File) -> Result<Self, ConfigError> {
        let list = typed.measure.as_ref().or(file.measure.as_ref());
        let memory = typed.max_memory.as_ref().or(file.max_memory.as_ref());
        let connections = typed.max_connections.or(file.max_connections);
        if connections == Some(0) {
            return Err(ConfigError::Zero("--max-connections"));
        }
        Ok(Self {
            measures: measures(list.map(String::as_str))?,
            memory_bytes: memory.map_or(Ok(DEFAULT_MEMORY_BYTES), |text| bytes(text))?,
            connections: connections.unwrap_or(DEFAULT_CONNECTIONS),
        })
    }
}

impl Measuring {
    /// Adds `measures` to those that are measured.
    pub(super) fn also(&mut self, measures: &[Measure]) {
        let all = Measure::ALL.into_iter();
        let chosen =
            all.filter(|measure| measures.contains(measure) || self.measures.contains(measure));
        self.measures = chosen.collect();
    }
}

impl Top {
    pub(super) fn resolve(
        top: &TopArguments,
        common: &CommonArguments,
        file: &File,
    ) -> Result<Self, ConfigError> {
        let rows = top.rows.or(file.rows).unwrap_or(DEFAULT_ROWS);
        let observed = Self::observed(top.all_netns, common, file)?;
        let (mut interval, mut duration) = (observed.interval, observed.duration);
        let mut measuring = Measuring::resolve(&top.measuring, file)?;
        if top.explain {
            if observed.selection.services.len() != 1 {
                return Err(ConfigError::Explain);
            }
            let length = duration.unwrap_or(EXPLANATION);
            duration = Some(length);
            // The one window is the whole run.
            interval = length.saturating_mul(2);
            measuring.also(&EXPLAINED);
        }
        Ok(Self {
            interval,
            duration,
            once: top.once,
            explain: top.explain,
            output: top.output.or(file.output).unwrap_or_default(),
            sort: top.sort.or(file.sort).unwrap_or_default(),
            rows: (rows > 0).then_some(rows),
            seed: top.seed,
            states: top.states,
            measuring,
            ready_file: top.ready_file.clone(),
            replay: top.replay.clone(),
            ..observed
        })
    }

    /// What every command says that observes: when, where and of whom; else as little as there can be.
    pub(super) fn observed(
        all_netns: bool,
        common: &CommonArguments,
        file: &File,
    ) -> Result<Self, ConfigError> {
        if all_netns && common.netns.is_some() {
            return Err(ConfigError::Conflict("--all-netns", "--netns"));
        }
        let interval = common.interval.as_ref().or(file.interval.as_ref());
        let duration = common.duration.as_ref().or(file.duration.as_ref());
        Ok(Self {
            interval: interval.map_or(Ok(DEFAULT_INTERVAL), |text| window(text))?,
            duration: duration.map(|text| time("duration", text)).transpose()?,
            once: false,
            all_netns,
            explain: false,
            selection: selection(common)?,
            output: OutputFormat::default(),
            sort: SortColumn::default(),
            rows: None,
            seed: false,
            states: false,
            measuring: Measuring {
                measures: Vec::new(),
                memory_bytes: DEFAULT_MEMORY_BYTES,
                connections: DEFAULT_CONNECTIONS,
            },
            ready_file: None,
            replay: None,
        })
    }
}
