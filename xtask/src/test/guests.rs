//! The matrix of suites and kernels, and its guests, of which two run side by side.
//!
//! A guest's time is its own: what is timed counts instructions, and nothing else is timed. So
//! another guest, or anything that slows this machine, changes no result.

use std::{
    io::{self, Write as _},
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{judge, report::Report};
use crate::{
    build::{self, Binaries},
    kernel::{Kernel, KernelChoice},
    libtest::Results,
    modules,
    peers::Peers,
    qemu::{self, Clock, Machine},
    step,
};

const KERNELS: &[&str] = &["5.10", "6.1", "6.12", "6.18", "7.2"];
/// The last series whose modules have no BTF.
const REFUSED: &str = "5.10";
/// All suites, the longest first: so none is left to run alone at the end.
const SUITES: &[Suite] = &[
    // What needs two CPUs at once and times nothing.
    Suite {
        module: "counts::",
        clock: Clock::Wall { cpus: 2 },
        has_peers: false,
        on: On::Observed,
    },
    // What needs exact time.
    Suite {
        module: "timed::",
        clock: Clock::Instructions,
        has_peers: false,
        on: On::Observed,
    },
    // What compares with the programs of others.
    Suite {
        module: "peers::",
        clock: Clock::Wall { cpus: 2 },
        has_peers: true,
        on: On::Observed,
    },
    // What is the same on all of them.
    Suite {
        module: "once::",
        clock: Clock::Wall { cpus: 2 },
        has_peers: false,
        on: On::Last,
    },
    // What is left on a kernel that cannot be observed.
    Suite {
        module: "refusal::",
        clock: Clock::Wall { cpus: 2 },
        has_peers: false,
        on: On::Refused,
    },
];
/// Guests at a time. Each keeps one CPU of this machine busy and may fill 2 GB of its memory.
const GUESTS: usize = 2;
/// The longest test takes a third of this on a slow machine.
const SILENCE: Duration = Duration::from_mins(12);
/// The longest suite takes half of this on a slow machine.
const DEADLINE: Duration = Duration::from_mins(40);

/// The tests of one module of the VM's tests, and the machine that they need.
struct Suite {
    module: &'static str,
    clock: Clock,
    /// Without them the suite cannot run.
    has_peers: bool,
    on: On,
}

/// The kernels that a suite is for.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Observed,
    /// The last of those that are observed: of all, the newest.
    Last,
    Refused,
}

/// What the VMs are made of that comes from elsewhere.
#[derive(Default)]
pub(super) struct Fetched {
    kernels: Vec<Kernel>,
    peers: Option<Peers>,
}

/// One suite on one kernel.
struct Job<'a> {
    suite: &'static Suite,
    kernel: &'a Kernel,
}

/// The kernels to test on and the peers; what cannot be had fails, and the rest is still used.
pub(super) fn fetch(report: &mut Report, wanted: &[String]) -> Fetched {
    let all = KERNELS.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut fetched = Fetched::default();
    for name in if wanted.is_empty() { &all } else { wanted } {
        report.step(&format!("kernel {name}"), || {
            let kernel = KernelChoice::new(name.clone(), None)?.get()?;
            fetched.kernels.push(kernel);
            Ok(())
        });
    }
    if jobs(&fetched.kernels).any(|job| job.suite.has_peers) {
        report.step("peers", || {
            fetched.peers = Some(Peers::get()?);
            Ok(())
        });
    }
    fetched
}

/// Runs every suite on each of its kernels.
pub(super) fn run(report: &mut Report, fetched: &Fetched) {
    let mut binaries = None;
    report.step("build for the VMs", || {
        binaries = Some(build::lab_with_tests()?);
        Ok(())
    });
    let Some(binaries) = binaries else {
        return;
    };
    report.step("the list of the VMs' tests", || {
        every_test_has_a_suite(&binaries)
    });
    let queue = Mutex::new(jobs(&fetched.kernels));
    let report = Mutex::new(report);
    let work = || {
        while let Some(job) = next(&queue) {
            let name = job.name();
            let mut printed = Vec::new();
            let result = step::step(&name, || {
                job.run(&binaries, fetched.peers.as_ref(), &mut printed)
            });
            // While it is held, what others have to say does not come between.
            let mut report = lock(&report);
            show(&name, &printed);
            report.suite(&name, result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..GUESTS {
            scope.spawn(work);
        }
    });
}

fn jobs(kernels: &[Kernel]) -> impl Iterator<Item = Job<'_>> {
    let last = kernels.iter().rfind(|kernel| !is_refused(&kernel.name));
    let last = last.map(|kernel| kernel.name.as_str());
    let on = move |suite: &'static Suite| {
        let is_meant = move |kernel: &&Kernel| match suite.on {
            On::Observed => !is_refused(&kernel.name),
            On::Last => last == Some(&kernel.name),
            On::Refused => is_refused(&kernel.name),
        };
        let kernels = kernels.iter().filter(is_meant);
        kernels.map(move |kernel| Job { suite, kernel })
    };
    SUITES.iter().flat_map(on)
}

/// Whether a kernel of this version prefix is one that cannot be observed.
fn is_refused(version: &str) -> bool {
    let rest = version.strip_prefix(REFUSED);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn next<'a>(queue: &Mutex<impl Iterator<Item = Job<'a>>>) -> Option<Job<'a>> {
    lock(queue).next()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A test that no suite asks for would never run.
fn every_test_has_a_suite(binaries: &Binaries) -> Result<()> {
    let tests = binaries.vm_tests.as_deref().map(Path::as_os_str);
    let tests = tests.context("the tests for a VM are not built")?;
    let list = step::output(Command::new(tests).args(["--list", "--format", "terse"]))?;
    let lost = lost(&list);
    ensure!(
        lost.is_empty(),
        "no suite runs {}: each test must be in a module of SUITES",
        lost.join(", ")
    );
    Ok(())
}

fn lost(list: &str) -> Vec<&str> {
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    let is_lost = |name: &&str| !SUITES.iter().any(|suite| name.starts_with(suite.module));
    names.filter(is_lost).collect()
}

/// What a suite printed, in one piece.
fn show(name: &str, printed: &[u8]) {
    step::say(&format!("{name} printed:"));
    // Nobody is left to be told when stdout is closed.
    drop(io::stdout().lock().write_all(printed));
}

impl Job<'_> {
    fn name(&self) -> String {
        format!("{} on {}", self.suite.module, self.kernel.name)
    }

    fn run(
        &self,
        binaries: &Binaries,
        peers: Option<&Peers>,
        printed: &mut Vec<u8>,
    ) -> Result<Results> {
        let peers = if self.suite.has_peers {
            Some(peers.context("the peers could not be fetched, see above")?)
        } else {
            None
        };
        let machine = Machine {
            clock: self.suite.clock,
            silence: Some(SILENCE),
            deadline: Some(DEADLINE),
            peers: peers.cloned(),
            load: modules::LAB.iter().map(ToString::to_string).collect(),
            command: ["/bin/vm-tests", "--test-threads=1", self.suite.module]
                .map(str::to_owned)
                .to_vec(),
        };
        let ended = qemu::boot(self.kernel, binaries, &machine, printed)?;
        judge(Results::parse(&ended.output), ended.status == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str) -> Kernel {
        Kernel {
            name: name.to_owned(),
            image: "vmlinuz".into(),
            modules: "modules".into(),
        }
    }

    #[test]
    fn a_kernel_has_either_all_suites_or_that_of_the_refused_and_the_last_has_what_runs_once() {
        let kernels = ["5.10", "6.1", "5.10.262", "5.100"].map(kernel);
        let names = jobs(&kernels).map(|job| job.name()).collect::<Vec<_>>();
        assert_eq!(
            names,
            [
                "counts:: on 6.1",
                "counts:: on 5.100",
                "timed:: on 6.1",
                "timed:: on 5.100",
                "peers:: on 6.1",
                "peers:: on 5.100",
                "once:: on 5.100",
                "refusal:: on 5.10",
                "refusal:: on 5.10.262"
            ]
        );
    }

    #[test]
    fn a_test_in_no_suite_is_lost() {
        let list = "counts::a::b: test\ntimed::c: test\nfixture::counts::d: test\n";
        assert_eq!(lost(list), ["fixture::counts::d"]);
    }
}
