//! The run: starts the sources, takes a sample for each window, hands snapshots on, ends cleanly.

mod sweeps;

use std::{fs, future::pending, mem, sync::Arc};

use tokio::{
    select,
    time::{MissedTickBehavior, interval, sleep},
};

use self::sweeps::Sweeps;
use crate::{
    btf::{
        parse::Btf,
        resolve::{Refusal, resolve},
    },
    clock,
    config::{Measuring, Top},
    error::{RunError, one_line},
    ipvs::{
        netlink::{Ipvs, NetlinkError},
        table::Table,
    },
    kernel::{Capabilities, Kernel},
    model::{
        circumstances::Circumstances,
        ledger::Ledger,
        sample::Sample,
        snapshot::{RefusedProbe, Run, Snapshot},
        states::Sweep,
    },
    output::{Format, stdout::Stdout},
    probe::{LiveCounters, LiveRequest, LoadError, Probes, ProgramLog, Request},
    signals::{Ending, Signals},
};

/// Observes until the end that `config` names, a signal, or the end of the reader.
pub async fn run(config: Top) -> Result<Ending, RunError> {
    let mut signals = Signals::new()?;
    let mut observer = Observer::start(&config)?;
    let program_log = observer.probes.take_log();
    let format = Format {
        format: config.output,
        explain: config.explain,
        sort: config.sort,
        rows: config.rows,
    };
    let stdout = Stdout::start(format).map_err(|source| system("start the output", source))?;
    if let Some(path) = &config.ready_file {
        fs::write(path, "").map_err(|source| system("create the ready file", source))?;
    }
    select! {
        ending = observer.windows(&config, stdout, &mut signals) => ending,
        () = forward(program_log) => Ok(Ending::Complete),
    }
}

/// The sources and what is remembered of them.
#[derive(Debug)]
struct Observer {
    kernel: Kernel,
    ipvs: Ipvs,
    probes: Probes,
    ledger: Ledger,
    /// IPVS's count at the last reading, if there was one.
    packets: Option<u64>,
    sweeps: Sweeps,
}

impl Observer {
    fn start(config: &Top) -> Result<Self, RunError> {
        let kernel = Kernel::at("/");
        let capabilities = kernel.capabilities()?;
        let missing = capabilities.missing();
        if !missing.is_empty() {
            return Err(RunError::NotPermitted(missing));
        }
        let mut ipvs = Ipvs::open()?;
        if !kernel.has_btf() {
            return Err(RunError::NoBtf);
        }
        let table = ipvs.table(&mut |_, _| None)?;
        config.selection.check(&table)?;
        let mut probes = start_probes(&kernel, &table, &config.measuring)
            .map_err(|error| refused_perf_events(error, &kernel, capabilities))?;
        let run = run_of(&probes);
        tell(&run);
        let mut sweeps = Sweeps::new(&run.kernel, config.states);
        // Again, since the counters are live now.
        let table = read_table(&mut ipvs, &mut probes)?;
        let at = clock::now();
        let packets = read_packets(&kernel);
        // What passed while the probes were being attached was seen by some of them only.
        drop(probes.drain());
        probes.follow(&table)?;
        if config.explain {
            probes.count_own_cost();
        }
        let is_sweeping = config.seed || sweeps.is_due(&table);
        let refusal = config.seed.then(|| sweeps.refusal(&table));
        let mut observer = Self {
            kernel,
            ipvs,
            probes,
            ledger: Ledger::new(Arc::new(run), at, table),
            packets,
            sweeps,
        };
        let circumstances = observer.circumstances();
        observer.adapt(&circumstances, is_sweeping);
        if let Some(refusal) = refusal {
            seed(&observer.kernel, &mut observer.probes, refusal);
        }
        Ok(observer)
    }

    async fn windows(
        &mut self,
        config: &Top,
        mut stdout: Stdout,
        signals: &mut Signals,
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
                ended = stdout.ended() => return ended.map(|()| Ending::Complete).map_err(|source| system("write to stdout", source)),
                _ = ticks.tick() => config.once,
            };
            let snapshot = self.window(config, is_final, stdout.missed())?;
            let health = &snapshot.health;
            let took = health.table_took + health.sweep_took.unwrap_or_default();
            if took * 2 > config.interval {
                // Counters are to differ by the traffic, not by the reading.
                ticks.reset_after(took);
            }
            stdout.send(Arc::new(snapshot));
            if is_final {
                break;
            }
        }
        select! {
            () = signals.any() => Ok(Ending::Interrupted),
            written = stdout.finish() => {
                written.map(|()| Ending::Complete).map_err(|source| system("write to stdout", source))
            }
        }
    }

    fn window(&mut self, config: &Top, is_final: bool, missed: u64) -> Result<Snapshot, RunError> {
        let at = clock::now();
        let packets = read_packets(&self.kernel);
        let before = mem::replace(&mut self.packets, packets);
        let readings = self.probes.drain();
        let began = clock::now().monotonic;
        let table = self.table()?;
        let took = clock::now().monotonic.saturating_sub(began);
        if !table.torn {
            self.probes.follow(&table)?;
        }
        let circumstances = self.circumstances();
        let is_sweeping = self.sweeps.is_due(&table);
        self.adapt(&circumstances, is_sweeping);
        let sweep = if is_sweeping { self.sweep() } else { None };
        let sample = Sample {
            at,
            readings,
            table,
            table_took: took,
            packets: packets
                .zip(before)
                .and_then(|(now, before)| now.checked_sub(before)),
            own_cost: self.probes.own_cost(),
            sweep,
            circumstances,
        };
        let mut snapshot = self.ledger.advance(sample, is_final, missed);
        snapshot.select(&config.selection);
        Ok(snapshot)
    }

    /// Attaches and detaches what is seldom asked for; what is refused only now is not counted from now on.
    fn adapt(&mut self, circumstances: &Circumstances, is_sweeping: bool) {
        let refused = self.probes.adapt(circumstances, is_sweeping);
        if refused.is_empty() {
            return;
        }
        tell_refused(refused);
        self.ledger.go_on_as(Arc::new(run_of(&self.probes)));
    }

    /// All connections by server; `None` if they cannot be looked at.
    fn sweep(&mut self) -> Option<Sweep> {
        let kernel = &self.kernel;
        let began = clock::now().monotonic;
        let found = self.probes.sweep(began, || kernel.show_connections())?;
        let servers = found
            .inspect_err(|error| log::warn!("connections are not shown: {}", one_line(error)))
            .ok()?;
        Some(Sweep {
            took: clock::now().monotonic.saturating_sub(began),
            servers,
        })
    }

    /// What cannot be read is not known to bite.
    fn circumstances(&mut self) -> Circumstances {
        let info = self.ipvs.info();
        let settings = self.kernel.settings();
        Circumstances {
            settings: settings.unwrap_or_default(),
            connection_table_size: info.ok().map(|info| info.connection_table_size),
        }
    }

    /// The table; one that cannot be read this time is one of which every entry may be missing.
    fn table(&mut self) -> Result<Table, RunError> {
        match read_table(&mut self.ipvs, &mut self.probes) {
            Err(error @ (NetlinkError::NotLoaded | NetlinkError::NotPermitted { .. })) => {
                Err(error.into())
            }
            Err(error) => {
                log::warn!("{}", one_line(&error));
                Ok(Table {
                    torn: true,
                    ..Table::default()
                })
            }
            Ok(table) => Ok(table),
        }
    }
}

/// Makes the connections known that are older than the probes; without it each is known from its next packet on.
fn seed(kernel: &Kernel, probes: &mut Probes, refusal: Option<String>) {
    let reason = match refusal {
        Some(reason) => reason,
        None => match probes.seed(|| kernel.show_connections()) {
            Some(Ok(())) => return,
            Some(Err(error)) => one_line(&error),
            None => "ip_vs_conn_seq_show is not probed".to_owned(),
        },
    };
    log::warn!("--seed is left out: {reason}");
}

/// The table, with live counters where the probes give them.
fn read_table(ipvs: &mut Ipvs, probes: &mut Probes) -> Result<Table, NetlinkError> {
    ipvs.table(&mut LiveCounters::reader(probes.live()))
}

/// Coverage is a comfort, not a condition: without the counts it is not known.
fn read_packets(kernel: &Kernel) -> Option<u64> {
    kernel
        .packets()
        .inspect_err(|error| log::info!("probe coverage is not known: {error}"))
        .ok()
}

fn start_probes(kernel: &Kernel, table: &Table, measuring: &Measuring) -> Result<Probes, RunError> {
    let images = kernel.btf()?;
    let btf = Btf::parse(&images.base, images.ip_vs.as_deref())?;
    let resolved = resolve(&btf);
    let is_known = |outcome: &Result<(), Refusal>| !matches!(outcome, Err(Refusal::NoFunction(_)));
    if images.ip_vs.is_none() && !resolved.functions.values().any(is_known) {
        return Err(RunError::NoModuleBtf);
    }
    let netns = kernel.network_namespace()?;
    let configured: usize = table
        .services
        .iter()
        .map(|service| 1 + service.destinations.len())
        .sum();
    let request = Request {
        // The kernel's inode numbers of namespaces are `unsigned int`.
        netns: u32::try_from(netns).unwrap_or_default(),
        measures: measuring.measures.clone(),
        memory_bytes: measuring.memory_bytes,
        connections: measuring.connections,
        configured,
        live: LiveRequest::of(kernel)?,
        with_log: log::max_level() >= log::LevelFilter::Debug,
    };
    Ok(Probes::start(&resolved, &request)?)
}

/// A kernel that gives perf events to nobody else refuses every probe, each in the same way.
fn refused_perf_events(error: RunError, kernel: &Kernel, capabilities: Capabilities) -> RunError {
    if !matches!(error, RunError::Load(LoadError::NothingAttached(_))) {
        return error;
    }
    let missing = capabilities.missing_for_perf_events(kernel.perf_event_paranoid());
    missing.map_or(error, |missing| RunError::NotPermitted(vec![missing]))
}

/// What is measured on this host.
fn run_of(probes: &Probes) -> Run {
    let uname = rustix::system::uname();
    Run {
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        measures: probes.measures(),
        events: probes.events(),
        refused_probes: probes.refused(),
        no_live: probes.no_live(),
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
