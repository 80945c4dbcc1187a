//! Where a listing comes from: netlink, or without the privilege `/proc/net/ip_vs`; the programs that read live
//! counters; the text files and sysctls.

use super::warning::Warning;
use crate::{
    btf::{parse::Btf, resolve::resolve},
    clock,
    config::{List, Subject},
    error::{RunError, one_line},
    ipvs::{
        netlink::{Ipvs, NetlinkError},
        procfs::table::MarkService,
        table::{Info, Table},
    },
    kernel::Kernel,
    model::{
        filter::Selection,
        listing::{Listing, Source},
    },
    probe::{LiveCounters, LiveProbes},
};

/// What was opened for one run.
pub(super) struct Sources {
    kernel: Kernel,
    /// Absent where the kernel refuses the family to this process.
    ipvs: Option<Ipvs>,
    live: Option<LiveProbes>,
    host: String,
    release: String,
    netns: Option<String>,
    /// Whether what was asked for has been there. What goes later is a change of the table, and no mistake.
    is_checked: bool,
    left_out: Warning,
}

impl Sources {
    pub(super) fn open(config: &List, netns: Option<String>) -> Result<Self, RunError> {
        let kernel = Kernel::at("/");
        let ipvs = open_netlink(config.subject)?;
        let live = if config.live {
            start_live(&kernel)
                .inspect_err(|error| {
                    log::warn!(
                        "no live counters, so these are copies that the kernel makes every 2 s: {}",
                        one_line(error)
                    );
                })
                .ok()
        } else {
            None
        };
        let uname = rustix::system::uname();
        Ok(Self {
            kernel,
            ipvs,
            live,
            host: uname.nodename().to_string_lossy().into_owned(),
            release: uname.release().to_string_lossy().into_owned(),
            netns,
            is_checked: false,
            left_out: Warning::default(),
        })
    }

    /// Whether counters are read live.
    pub(super) const fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// The table with what its first line says of it, and what stands around it as far as `subject` shows it.
    pub(super) fn listing(
        &mut self,
        subject: Subject,
        selection: &Selection,
    ) -> Result<Listing, RunError> {
        let at = clock::now();
        let (source, info, table) = self.table(selection)?;
        let mut listing = Listing {
            at,
            took: clock::now().monotonic.saturating_sub(at.monotonic),
            host: self.host.clone(),
            kernel: self.release.clone(),
            netns: self.netns.clone(),
            source,
            info,
            table,
            timeouts: None,
            daemons: None,
            totals: None,
            copied_totals: None,
            settings: Vec::new(),
            connections: None,
        };
        match subject {
            Subject::Json => {
                self.add_state(&mut listing)?;
                self.add_totals(&mut listing);
            }
            Subject::Metrics(_) => self.add_totals(&mut listing),
            Subject::Table { .. }
            | Subject::Save
            | Subject::Timeouts
            | Subject::Daemons
            | Subject::Connections { .. }
            | Subject::Influx { .. }
            | Subject::Netdata
            | Subject::Changes { .. } => {}
        }
        Ok(listing)
    }

    fn table(&mut self, selection: &Selection) -> Result<(Source, Info, Table), RunError> {
        let (source, info, mut table) = self.read(selection)?;
        if !self.is_checked {
            selection.check(&table.services.iter())?;
            self.is_checked = true;
        }
        selection.retain(&mut table);
        Ok((source, info, table))
    }

    /// All that is selected, and maybe more.
    fn read(&mut self, selection: &Selection) -> Result<(Source, Info, Table), RunError> {
        let Some(ipvs) = &mut self.ipvs else {
            let read = self.kernel.ipvs_table()?;
            self.left_out.tell(left_out(&read.marks));
            return Ok((Source::Procfs, read.info, read.table));
        };
        let counters = self.live.as_mut().map(LiveProbes::counters);
        let mut live = LiveCounters::reader(counters);
        let info = ipvs.info()?;
        let table = match &selection.services[..] {
            // The kernel need not tell of the others.
            [filter] if let Some(id) = filter.identity() => {
                ipvs.service(&id, &mut live)?.unwrap_or_default()
            }
            _ => ipvs.table(&mut live)?,
        };
        Ok((Source::Netlink, info, table))
    }

    fn add_state(&mut self, listing: &mut Listing) -> Result<(), RunError> {
        if let Some(ipvs) = &mut self.ipvs {
            listing.timeouts = Some(ipvs.timeouts()?);
            listing.daemons = Some(ipvs.daemons()?);
        }
        Ok(())
    }

    /// What cannot be read is not known, and the rest is shown.
    fn add_totals(&self, listing: &mut Listing) {
        let kernel = &self.kernel;
        listing.totals = known(kernel.stats_per_cpu()).map(|stats| stats.live());
        listing.copied_totals = known(kernel.stats()).map(|stats| stats.traffic);
        listing.settings = known(kernel.settings()).unwrap_or_default();
        listing.connections = known(kernel.status())
            .flatten()
            .and_then(|status| status.connections())
            .map(u64::from);
    }
}

/// A mark names a service of each family, and the file does not always tell which is meant.
fn left_out(marks: &[MarkService]) -> Option<String> {
    let marks: Vec<_> = marks
        .iter()
        .map(|service| service.mark.to_string())
        .collect();
    (!marks.is_empty()).then(|| {
        format!(
            "left out are services of the firewall marks {}, whose address family /proc/net/ip_vs does not say",
            marks.join(", ")
        )
    })
}

fn known<T, E: std::error::Error>(read: Result<T, E>) -> Option<T> {
    read.inspect_err(|error| log::info!("{error}")).ok()
}

/// The family, or `None` where it is refused and `subject` can do without.
fn open_netlink(subject: Subject) -> Result<Option<Ipvs>, RunError> {
    let mut ipvs = Ipvs::open()?;
    match ipvs.info() {
        Ok(_) => Ok(Some(ipvs)),
        Err(error @ NetlinkError::NotPermitted { .. }) if subject.needs_netlink() => {
            Err(error.into())
        }
        Err(NetlinkError::NotPermitted { .. }) => {
            log::warn!(
                "without CAP_NET_ADMIN the table is that of /proc/net/ip_vs, which has no counters, thresholds and tunnels"
            );
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn start_live(kernel: &Kernel) -> Result<LiveProbes, RunError> {
    let missing = kernel.capabilities()?.missing();
    if !missing.is_empty() {
        return Err(RunError::NotPermitted(missing));
    }
    if !kernel.has_btf() {
        return Err(RunError::NoBtf);
    }
    let images = kernel.btf()?;
    let btf = Btf::parse(&images.base, images.ip_vs.as_deref())?;
    Ok(LiveProbes::start(&resolve(&btf), kernel.process()?)?)
}
