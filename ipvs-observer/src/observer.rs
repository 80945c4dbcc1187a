//! The run: starts the sources, takes a sample for each window, hands snapshots on, ends cleanly.

pub(crate) mod namespaces;
mod sink;
mod sweeps;

use std::{fs, future::pending, mem, sync::Arc};

use tokio::{
    select,
    time::{MissedTickBehavior, interval, sleep},
};

use self::{
    namespaces::{Packets, Places, Scope, all_read, all_read_or_torn, packets_between},
    sink::{Around, Command, Sink, Tick},
    sweeps::Sweeps,
};
use crate::{
    btf::{
        parse::Btf,
        resolve::{Refusal, resolve},
    },
    clock,
    config::{Measuring, Record, Top, Wanted},
    error::{RunError, one_line},
    kernel::{Capabilities, Kernel},
    model::{
        id::Netns,
        ledger::Ledger,
        sample::{Namespaces, Sample},
        snapshot::{RefusedProbe, Run},
        states::Sweep,
    },
    output::{Format, stdout::Stdout},
    probe::{Entering, LoadError, Probes, ProgramLog, Request},
    record::Recorder,
    recording::{Beginning, EventsAsked, Window},
    signals::{DumpSignal, Ending, Signals},
};

/// Shows what is observed until the end that `config` names, a signal, or the end of the reader.
pub async fn run(config: Top) -> Result<Ending, RunError> {
    let mut signals = Signals::new()?;
    let (mut observer, _) = Observer::start(&config, None)?;
    let format = Format {
        format: config.output,
        explain: config.explain,
        sort: config.sort,
        rows: config.rows,
    };
    let stdout = Stdout::start(format).map_err(|source| system("start the output", source))?;
    let sink = Sink::Stdout(stdout);
    let around = Around {
        dump: DumpSignal::NEVER,
        command: None,
    };
    observer
        .until_end(&config, sink, &mut signals, around)
        .await
}

/// Writes what is observed into files until the end that `config` names, a signal, or the end of its command.
pub async fn record(config: Record) -> Result<Ending, RunError> {
    let mut signals = Signals::new()?;
    let dump = DumpSignal::new()?;
    let asked = config.events.as_ref();
    let wanted = asked.map(|events| &events.wanted);
    let (mut observer, mut beginning) = Observer::start(&config.observed, wanted)?;
    beginning.real_servers.clone_from(&config.real_servers);
    beginning.events = asked.map(|events| EventsAsked {
        kinds: events.wanted.kinds.clone(),
        sample: events.wanted.sample,
        filters: events.filters.clone(),
    });
    let events = asked.map(|_| observer.probes.take_events()).transpose()?;
    let selection = &config.observed.selection;
    sink::keep_services(&mut beginning.namespaces, selection);
    let sink = Sink::Recorder(Recorder::start(&config, beginning, events)?);
    let around = Around {
        dump,
        command: Command::start(&config.command)?,
    };
    observer
        .until_end(&config.observed, sink, &mut signals, around)
        .await
}

/// The sources and what is remembered of them.
#[derive(Debug)]
struct Observer {
    kernel: Kernel,
    scope: Scope,
    probes: Probes,
    ledger: Ledger,
    /// IPVS's counts at the last reading.
    packets: Packets,
    sweeps: Sweeps,
}

impl Observer {
    fn start(config: &Top, events: Option<&Wanted>) -> Result<(Self, Beginning), RunError> {
        let kernel = Kernel::at("/");
        let capabilities = check_rights(&kernel, config.all_netns)?;
        let mut scope = Scope::new(&kernel, config.all_netns)?;
        if !kernel.has_btf() {
            return Err(RunError::NoBtf);
        }
        let places = scope.find(&kernel);
        let (namespaces, _) = scope.read(&kernel, &places, &Packets::new(), None)?;
        let namespaces = all_read(namespaces)?;
        let tables = namespaces.values().map(|read| &read.table);
        config
            .selection
            .check(&tables.flat_map(|table| &table.services))?;
        let mut probes = start_probes(
            &kernel,
            scope.netns(),
            &namespaces,
            &config.measuring,
            events,
        )
        .map_err(|error| refused_perf_events(error, &kernel, capabilities))?;
        let run = run_of(&probes, config.all_netns);
        tell(&run);
        let mut sweeps = Sweeps::new(&run.kernel, config.states);
        let packets = places.packets(&kernel)?;
        // Again, since the counters are live now.
        let (namespaces, _) = scope.read(&kernel, &places, &packets, probes.live())?;
        let namespaces = all_read(namespaces)?;
        let at = clock::now();
        let packets = places.packets(&kernel)?;
        // What passed while the probes were being attached was seen by some of them only.
        drop(probes.drain());
        probes.follow(&namespaces)?;
        if config.explain {
            probes.count_own_cost();
        }
        let run = Arc::new(run);
        let beginning = Beginning {
            run: Arc::clone(&run),
            at,
            namespaces: namespaces.clone(),
            real_servers: Vec::new(),
            events: None,
        };
        let is_sweeping = config.seed || sweeps.is_due(&namespaces);
        let mut observer = Self {
            kernel,
            scope,
            probes,
            ledger: Ledger::new(run, at, namespaces.clone()),
            packets,
            sweeps,
        };
        observer.adapt(&namespaces, is_sweeping);
        if config.seed {
            observer.seed(&places, &namespaces);
        }
        Ok((observer, beginning))
    }

    /// Windows into `sink` and messages of the programs to stderr.
    async fn until_end(
        &mut self,
        config: &Top,
        sink: Sink,
        signals: &mut Signals,
        around: Around,
    ) -> Result<Ending, RunError> {
        let program_log = self.probes.take_log();
        if let Some(path) = &config.ready_file {
            fs::write(path, "").map_err(|source| system("create the ready file", source))?;
        }
        select! {
            ending = self.windows(config, sink, signals, around) => ending,
            () = forward(program_log) => Ok(Ending::Complete),
        }
    }

    async fn windows(
        &mut self,
        config: &Top,
        mut sink: Sink,
        signals: &mut Signals,
        mut around: Around,
    ) -> Result<Ending, RunError> {
        let mut ticks = interval(config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // The first one is now, when there is nothing to show yet.
        ticks.tick().await;
        let end = config.duration.map(|duration| sleep(duration));
        let mut end = Box::pin(async {
            match end {
                Some(end) => end.await,
                None => pending().await,
            }
        });
        loop {
            let is_final = select! {
                biased;
                () = signals.any() => true,
                () = &mut end => true,
                () = Command::ended(&mut around.command) => true,
                ended = sink.ended() => return ended.map(|()| Ending::Complete),
                () = around.dump.come() => {
                    sink.dump();
                    continue;
                }
                _ = ticks.tick() => config.once,
            };
            let tick = self.window(config, is_final, &sink)?;
            let health = &tick.snapshot.health;
            let took = health.table_took + health.sweep_took.unwrap_or_default();
            if took * 2 > config.interval {
                // Counters are to differ by the traffic, not by the reading.
                ticks.reset_after(took);
            }
            sink.send(tick);
            if is_final {
                break;
            }
        }
        select! {
            () = signals.any() => Ok(Ending::Interrupted),
            written = sink.finish() => written.map(|()| Ending::Complete),
        }
    }

    fn window(&mut self, config: &Top, is_final: bool, sink: &Sink) -> Result<Tick, RunError> {
        let places = self.scope.find(&self.kernel);
        let at = clock::now();
        let packets = places.packets(&self.kernel)?;
        let readings = self.probes.drain();
        let live = self.probes.live();
        let (namespaces, table_took) = self.scope.read(&self.kernel, &places, &packets, live)?;
        let namespaces = all_read_or_torn(namespaces, self.ledger.namespaces())?;
        self.probes.follow(&namespaces)?;
        let is_sweeping = self.sweeps.is_due(&namespaces);
        self.adapt(&namespaces, is_sweeping);
        let sweep = if is_sweeping {
            self.sweep(&places, &namespaces)
        } else {
            None
        };
        let before = mem::replace(&mut self.packets, packets);
        let seen = readings.servers.keys().map(|&(netns, ..)| netns);
        let sample = Sample {
            at,
            packets: packets_between(&before, &self.packets, seen),
            readings,
            namespaces,
            table_took,
            own_cost: self.probes.own_cost(),
            sweep,
        };
        let missed_windows = sink.missed();
        let window = sink.keeps_windows().then(|| {
            let mut sample = sample.clone();
            sink::keep_services(&mut sample.namespaces, &config.selection);
            let servers = &mut sample.readings.servers;
            servers.retain(|(_, service, _), _| config.selection.has_service(service));
            Window {
                sample,
                is_final,
                missed_windows,
            }
        });
        let mut snapshot = self.ledger.advance(sample, is_final, missed_windows);
        snapshot.select(&config.selection);
        Ok(Tick { window, snapshot })
    }

    /// Attaches and detaches what is seldom asked for; what is refused only now is not counted from now on.
    fn adapt(&mut self, namespaces: &Namespaces, is_sweeping: bool) {
        let refused = self.probes.adapt(namespaces, is_sweeping);
        if refused.is_empty() {
            return;
        }
        tell_refused(refused);
        let is_all = self.scope.netns().is_none();
        self.ledger.go_on_as(Arc::new(run_of(&self.probes, is_all)));
    }

    /// All connections by server; `None` if they cannot be looked at.
    fn sweep(&mut self, places: &Places, namespaces: &Namespaces) -> Option<Sweep> {
        let kernel = &self.kernel;
        let began = clock::now().monotonic;
        let found = self.probes.sweep(began, |entering| {
            places.show_connections(kernel, namespaces, entering)
        })?;
        let servers = found
            .inspect_err(|error| log::warn!("connections are not shown: {}", one_line(error)))
            .ok()?;
        Some(Sweep {
            took: clock::now().monotonic.saturating_sub(began),
            servers,
        })
    }

    /// Makes the connections known that are older than the probes; without it each is known from its next packet on.
    fn seed(&mut self, places: &Places, namespaces: &Namespaces) {
        let kernel = &self.kernel;
        let show = |entering: Entering<'_>| places.show_connections(kernel, namespaces, entering);
        let reason = match self.sweeps.refusal(namespaces) {
            Some(reason) => reason,
            None => match self.probes.seed(show) {
                Some(Ok(())) => return,
                Some(Err(error)) => one_line(&error),
                None => "ip_vs_conn_seq_show is not probed".to_owned(),
            },
        };
        log::warn!("--seed is left out: {reason}");
    }
}

/// What the process may do; an error if that is not enough.
pub(crate) fn check_rights(kernel: &Kernel, all_netns: bool) -> Result<Capabilities, RunError> {
    let capabilities = kernel.capabilities()?;
    let mut missing = capabilities.missing();
    if all_netns {
        missing.extend(capabilities.missing_for_all_namespaces());
    }
    if missing.is_empty() {
        Ok(capabilities)
    } else {
        Err(RunError::NotPermitted(missing))
    }
}

pub(crate) fn start_probes(
    kernel: &Kernel,
    netns: Option<Netns>,
    namespaces: &Namespaces,
    measuring: &Measuring,
    stream: Option<&Wanted>,
) -> Result<Probes, RunError> {
    let images = kernel.btf()?;
    let btf = Btf::parse(&images.base, images.ip_vs.as_deref())?;
    let resolved = resolve(&btf);
    let is_known = |outcome: &Result<(), Refusal>| !matches!(outcome, Err(Refusal::NoFunction(_)));
    if images.ip_vs.is_none() && !resolved.functions.values().any(is_known) {
        return Err(RunError::NoModuleBtf);
    }
    let services = namespaces.values().flat_map(|read| &read.table.services);
    let configured: usize = services.map(|service| 1 + service.destinations.len()).sum();
    let request = Request {
        netns,
        measures: measuring.measures.clone(),
        memory_bytes: measuring.memory_bytes,
        connections: measuring.connections,
        configured,
        stream: stream.cloned(),
        process: kernel.process()?,
        with_log: log::max_level() >= log::LevelFilter::Debug,
    };
    Ok(Probes::start(&resolved, &request)?)
}

/// A kernel that gives perf events to nobody else refuses every probe, each in the same way.
pub(crate) fn refused_perf_events(
    error: RunError,
    kernel: &Kernel,
    capabilities: Capabilities,
) -> RunError {
    if !matches!(error, RunError::Load(LoadError::NothingAttached(_))) {
        return error;
    }
    let missing = capabilities.missing_for_perf_events(kernel.perf_event_paranoid());
    missing.map_or(error, |missing| RunError::NotPermitted(vec![missing]))
}

/// What is measured on this host.
fn run_of(probes: &Probes, all_netns: bool) -> Run {
    let uname = rustix::system::uname();
    Run {
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        measures: probes.measures(),
        events: probes.events(),
        refused_probes: probes.refused(),
        no_live: probes.no_live(),
        all_netns,
    }
}

/// Says what will be measured and what will not.
fn tell(run: &Run) {
    let measures: Vec<_> = run.measures.iter().map(|measure| measure.name()).collect();
    log::info!("measuring {}", measures.join(", "));
    tell_refused(&run.refused_probes);
    // The table goes on without, so this is not a complaint.
    if let Some(reason) = &run.no_live {
        log::info!("counters are the kernel's copies: {reason}");
    }
}

fn tell_refused(refused_probes: &[RefusedProbe]) {
    for refused in refused_probes {
        log::warn!("{} is not probed: {}", refused.function, refused.reason);
    }
}

/// Passes the programs' messages on; without any this never ends.
async fn forward(program_log: Option<ProgramLog>) {
    if let Some(mut program_log) = program_log {
        let error = program_log.forward().await;
        log::warn!("messages of the programs are not shown any more: {error}");
    }
    pending::<()>().await;
}

const fn system(doing: &'static str, source: std::io::Error) -> RunError {
    RunError::System { doing, source }
}
