//! The names of the columns of a recording, by which a reader finds those that it knows.
//!
//! A column that a file does not have reads as 0, so that files of an earlier program can be read; one that the reader does
//! not know is passed over, so that those of a later one can be, too. A name whose values would change in meaning is to be
//! replaced by another name.

use ipvs_observer_common::{Event, Loss, Measure, STAGES, TCP_STATE_NAMES};

use super::columns::Coding;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Plain(Plain),
    Event(Event),
    Loss(Loss),
    /// Connections in a TCP state, by its number.
    State(usize),
    /// What a stage of a single connection took.
    Stage(Measure),
    Histogram(Measure, Part),
    /// What the buckets of a histogram leave open of a number, where they leave about two to this power open.
    Open(Number, usize),
}

macro_rules! plain {
    ($($name:ident = $text:literal $coding:ident,)+) => {
        /// A column that there is once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Plain { $($name,)+ }

        impl Plain {
            const ALL: &[Self] = &[$(Self::$name,)+];

            const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            const fn coding(self) -> Coding {
                match self { $(Self::$name => Coding::$coding,)+ }
            }
        }
    };
}

plain! {
    Wall = "time.wall" Previous,
    Monotonic = "time.monotonic" Previous,
    IsFinal = "window.final" Plain,
    Missed = "window.missed" Previous,
    TableTook = "table.took" Previous,
    HasPackets = "window.has_packets" Previous,
    Packets = "window.packets" Plain,
    Transitions = "window.transitions" Plain,
    HasCost = "cost.has" Previous,
    CostRuns = "cost.runs" Previous,
    CostTime = "cost.time" Previous,
    Namespaces = "netns.number" Previous,
    Netns = "netns" Previous,
    Text = "text" Previous,
    TextLength = "text.length" Previous,
    HasText = "text.has" Previous,
    Settings = "settings.number" Previous,
    HasTableSize = "connection_table.has" Previous,
    TableSize = "connection_table.size" Previous,
    IsTorn = "table.torn" Previous,
    Services = "services.number" Previous,
    Servers = "servers.number" Previous,
    IdKind = "id.kind" Previous,
    Protocol = "id.protocol" Previous,
    Family = "address.family" Previous,
    AddressHigh = "address.high" Previous,
    AddressLow = "address.low" Previous,
    Port = "port" Previous,
    Mark = "id.mark" Previous,
    Flags = "service.flags" Previous,
    Timeout = "service.timeout" Previous,
    NetmaskKind = "service.netmask_kind" Previous,
    Netmask = "service.netmask" Previous,
    Method = "server.method" Previous,
    Weight = "server.weight" Previous,
    Active = "server.active" Previous,
    Inactive = "server.inactive" Previous,
    Persistent = "server.persistent" Previous,
    HasThresholds = "server.has_thresholds" Previous,
    Upper = "server.upper" Previous,
    Lower = "server.lower" Previous,
    TunnelKind = "tunnel.kind" Previous,
    TunnelType = "tunnel.type" Previous,
    TunnelPort = "tunnel.port" Previous,
    TunnelFlags = "tunnel.flags" Previous,
    HasOption = "option.has" Previous,
    HasStats = "stats.has" Previous,
    Connections = "traffic.connections" Previous,
    InPackets = "traffic.in_packets" Previous,
    OutPackets = "traffic.out_packets" Previous,
    InBytes = "traffic.in_bytes" Previous,
    OutBytes = "traffic.out_bytes" Previous,
    ReadAt = "traffic.read_at" Within,
    Seen = "seen.number" Previous,
    Place = "seen.place" Within,
    Probes = "probes.number" Previous,
    ProbeMissed = "probe.missed" Previous,
    ProbeRecursion = "probe.recursion_misses" Previous,
    Memory = "memory" Previous,
    HasSweep = "sweep.has" Previous,
    SweepTook = "sweep.took" Plain,
    StatesOther = "state.other" Plain,
    StatesUnseen = "state.begun_unseen" Plain,
    StatesUnanswered = "state.unanswered" Plain,
    StatesOldest = "state.oldest" Plain,
    Grouping = "histogram.grouping_bits" Plain,
    IsShifted = "histogram.shifted" Plain,
    ToldEvents = "told.number" Plain,
    ToldTexts = "told.kinds" Plain,
    ToldWheres = "told.wheres" Plain,
    ToldNetns = "told.netns" Plain,
    ToldHas = "told.has" Plain,
    ToldProtocol = "told.protocol" Plain,
    ToldMethod = "told.method" Plain,
    ToldKind = "told.kind" Plain,
    ToldWhere = "told.where" Plain,
    ToldAt = "told.at" Within,
    ToldCpu = "told.cpu" Plain,
    ToldTook = "told.took" Plain,
    ToldAge = "told.age" Plain,
    ToldFlags = "told.flags" Plain,
    ToldClientKind = "told.client.family" Plain,
    ToldClientHigh = "told.client.high" Plain,
    ToldClientLow = "told.client.low" Plain,
    ToldClientPort = "told.client.port" Plain,
    ToldPackets = "told.packets" Plain,
    ToldReplies = "told.replies" Plain,
    ToldBytes = "told.bytes" Plain,
    ToldReplyBytes = "told.reply_bytes" Plain,
    ToldSyns = "told.syn_repeated" Plain,
    ToldHistory = "told.states" Plain,
    ToldStages = "told.stages" Plain,
    ToldLosses = "told.lost.number" Plain,
    ToldLostCpu = "told.lost.cpu" Plain,
    ToldLost = "told.lost" Plain,
    ToldUnwritten = "told.unwritten" Plain,
    ToldFiltered = "told.filtered" Plain,
    ToldSampled = "told.outside_of_sample" Plain,
    ToldUntraced = "told.untraced" Plain,
}

/// A part of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// How many buckets are not empty.
    Buckets,
    /// Index of the first of them.
    First,
    /// Indices from each to the next, less one: in the middle of the buckets,
    Gap,
    /// next to those at both ends,
    NearGap,
    /// and at both ends, where values lie further apart.
    EndGap,
    /// Values of each, less one.
    Count,
    /// Buckets from each value of a histogram that is known already to that of this, both in their order.
    Shift,
    /// Nanoseconds by which the sum differs from what other histograms say.
    Sum,
    /// Nanoseconds by which the smallest value differs from what the sum says.
    Min,
    /// Nanoseconds by which the largest value differs from what the sum says.
    Max,
}

/// A number beside the buckets of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// Nanoseconds by which the sum differs from that of the buckets' midpoints.
    Sum,
    /// Nanoseconds from the lower bound of the lowest bucket to the smallest value.
    Min,
    /// Nanoseconds from the largest value to the upper bound of the highest bucket.
    Max,
}

impl Number {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Sum, "sum"), (Self::Min, "min"), (Self::Max, "max")];
}

/// Powers of two of what can be open.
pub(super) const POWERS: usize = 65;

impl Part {
    const ALL: [(Self, &'static str); 10] = [
        (Self::Buckets, "buckets"),
        (Self::First, "first"),
        (Self::Gap, "gap"),
        (Self::NearGap, "near_gap"),
        (Self::EndGap, "end_gap"),
        (Self::Count, "count"),
        (Self::Shift, "shift"),
        (Self::Sum, "known_sum"),
        (Self::Min, "known_min"),
        (Self::Max, "known_max"),
    ];
}

const EVENTS: usize = Plain::ALL.len();
const LOSSES: usize = EVENTS + Event::ALL.len();
const STATES: usize = LOSSES + Loss::ALL.len();
const STAGE_TIMES: usize = STATES + TCP_STATE_NAMES.len();
const HISTOGRAMS: usize = STAGE_TIMES + STAGES;
/// How many columns there are.
pub(super) const COLUMNS: usize = OPEN + Number::ALL.len() * POWERS;
const OPEN: usize = HISTOGRAMS + Measure::ALL.len() * Part::ALL.len();

impl Column {
    /// Its place in [`all`].
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Plain(plain) => plain as usize,
            Self::Event(event) => EVENTS + event as usize,
            Self::Loss(loss) => LOSSES + loss as usize,
            Self::State(state) => STATES + state,
            Self::Stage(measure) => STAGE_TIMES + measure as usize,
            Self::Histogram(measure, part) => {
                HISTOGRAMS + measure as usize * Part::ALL.len() + part as usize
            }
            Self::Open(number, power) => OPEN + number as usize * POWERS + power,
        }
    }

    pub(super) const fn coding(self) -> Coding {
        match self {
            Self::Plain(plain) => plain.coding(),
            Self::Event(_)
            | Self::Loss(_)
            | Self::State(_)
            | Self::Stage(_)
            | Self::Histogram(..)
            | Self::Open(..) => Coding::Plain,
        }
    }

    /// How many of the lowest planes hold nothing that could be learnt.
    pub(super) fn even_planes(self) -> u8 {
        let bits = match self {
            // A value lies anywhere in its bucket.
            Self::Open(Number::Min | Number::Max, power) => power,
            // A sum lies about its middle.
            Self::Open(Number::Sum, power) => power.saturating_sub(2),
            Self::Plain(_)
            | Self::Event(_)
            | Self::Loss(_)
            | Self::State(_)
            | Self::Stage(_)
            | Self::Histogram(..) => 0,
        };
        u8::try_from(bits / 8).unwrap_or_default()
    }

    /// What a file calls it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Plain(plain) => plain.name().to_owned(),
            Self::Event(event) => format!("event.{}", event.name()),
            Self::Loss(loss) => format!("loss.{}", loss.name()),
            Self::State(state) => format!("state.tcp.{}", TCP_STATE_NAMES[state]),
            Self::Stage(measure) => format!("told.stage.{}", measure.name()),
            Self::Histogram(measure, part) => {
                format!("latency.{}.{}", measure.name(), Part::ALL[part as usize].1)
            }
            Self::Open(number, power) => {
                format!("open.{}.{power}", Number::ALL[number as usize].1)
            }
        }
    }
}

/// Whether the column of this index is of histograms.
pub(super) const fn is_of_histograms(index: usize) -> bool {
    index >= HISTOGRAMS || index == Plain::Grouping as usize
}

/// Every column in the order of its index.
pub(super) fn all() -> impl Iterator<Item = Column> {
    let plain = Plain::ALL.iter().copied().map(Column::Plain);
    let events = Event::ALL.into_iter().map(Column::Event);
    let losses = Loss::ALL.into_iter().map(Column::Loss);
    let states = (0..TCP_STATE_NAMES.len()).map(Column::State);
    let stages = Measure::ALL.into_iter().take(STAGES).map(Column::Stage);
    let histograms = Measure::ALL.into_iter().flat_map(|measure| {
        let parts = Part::ALL.into_iter();
        parts.map(move |(part, _)| Column::Histogram(measure, part))
    });
    let open = Number::ALL.into_iter().flat_map(|(number, _)| {
        let powers = 0..POWERS;
        powers.map(move |power| Column::Open(number, power))
    });
    plain
        .chain(events)
        .chain(losses)
        .chain(states)
        .chain(stages)
        .chain(histograms)
        .chain(open)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{COLUMNS, all};

    #[test]
    fn every_column_has_its_index_and_a_name_of_its_own() {
        let indices: Vec<usize> = all().map(super::Column::index).collect();
        assert_eq!(indices, (0..COLUMNS).collect::<Vec<_>>());
        let names: BTreeSet<String> = all().map(super::Column::name).collect();
        assert_eq!(names.len(), COLUMNS);
    }
}
