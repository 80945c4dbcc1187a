//! `cargo xtask test`: everything that decides whether a change is good, ended by one line that
//! says so. A step that fails counts as one failure, and the others still run.

use std::{
    io::{self, Read as _, Write as _},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    build::{self, Binaries},
    host,
    kernel::{Kernel, KernelChoice},
    libtest::{self, Results},
    modules,
    peers::Peers,
    qemu::{self, Clock, Machine},
    step,
    toolchain::{self, TARGET},
};

const KERNELS: &[&str] = &["6.1", "6.12", "7.2"];
/// The tests of a VM, by their modules: what needs two CPUs at once and times nothing, what needs
/// exact time, and what compares with the programs of others.
const VM_SUITES: &[VmSuite] = &[
    VmSuite {
        module: "counts::",
        clock: Clock::Wall { cpus: 2 },
        has_peers: false,
    },
    VmSuite {
        module: "timed::",
        clock: Clock::Instructions,
        has_peers: false,
    },
    VmSuite {
        module: "peers::",
        clock: Clock::Wall { cpus: 2 },
        has_peers: true,
    },
];
/// The longest test takes a quarter of this on a slow machine.
const SILENCE: Duration = Duration::from_mins(3);

/// The tests of one module of the VM's tests, and the machine that they need.
struct VmSuite {
    module: &'static str,
    clock: Clock,
    /// Without them the suite cannot run.
    has_peers: bool,
}

/// What the VMs are made of that comes from elsewhere.
#[derive(Default)]
struct Fetched {
    kernels: Vec<Kernel>,
    peers: Option<Peers>,
}

pub(crate) fn run(host_only: bool, kernels: &[String]) -> Result<ExitCode> {
    let mut report = Report::default();
    if report.step("set-up", || set_up(host_only)) {
        // Whatever needs the network comes first: nobody waits for tests to learn that it is not
        // there.
        let fetched = if host_only {
            Fetched::default()
        } else {
            fetch(&mut report, kernels)
        };
        report.step("formatting", formatting);
        report.step("clippy", clippy);
        report.step("clippy of the eBPF programs", clippy_ebpf);
        report.suite("unit and host tests", host_tests);
        if !host_only {
            virtual_machines(&mut report, &fetched);
        }
    }
    report.finish()
}

fn set_up(host_only: bool) -> Result<()> {
    host::check_space()?;
    if !host_only {
        qemu::set_up()?;
    }
    toolchain::set_up()
}

/// The kernels to test on and the peers; what cannot be had fails, and the rest is still used.
fn fetch(report: &mut Report, wanted: &[String]) -> Fetched {
    let all = KERNELS.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut fetched = Fetched::default();
    for name in if wanted.is_empty() { &all } else { wanted } {
        report.step(&format!("kernel {name}"), || {
            let kernel = KernelChoice::new(name.clone(), None)?.get()?;
            fetched.kernels.push(kernel);
            Ok(())
        });
    }
    report.step("peers", || {
        fetched.peers = Some(Peers::get()?);
        Ok(())
    });
    fetched
}

fn formatting() -> Result<()> {
    step::run(toolchain::cargo().args(["fmt", "--all", "--check"])).context("type: cargo fmt --all")
}

fn clippy() -> Result<()> {
    let mut clippy = toolchain::cargo();
    clippy.args(["clippy", "--all-targets", "--target", TARGET, "--workspace"]);
    clippy.args([
        "--exclude",
        "ipvs-observer-ebpf",
        "--features",
        "ipvs-observer-tests/vm",
    ]);
    step::run(clippy.args(["--", "-D", "warnings"]))
}

fn clippy_ebpf() -> Result<()> {
    let mut clippy = toolchain::nightly_cargo();
    clippy.args(["clippy", "--package", "ipvs-observer-ebpf", "--release"]);
    clippy.args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"]);
    step::run(clippy.args(["--", "-D", "warnings"]))
}

fn host_tests() -> Result<Results> {
    let mut test = toolchain::cargo();
    test.args(["test", "--no-fail-fast", "--target", TARGET, "--workspace"]);
    test.args(["--exclude", "ipvs-observer-ebpf"]);
    let (output, succeeded) = copy_output(&mut test)?;
    judge(Results::parse(&output), succeeded)
}

fn virtual_machines(report: &mut Report, fetched: &Fetched) {
    let mut binaries = None;
    let built = report.step("build for the VMs", || {
        binaries = Some(build::lab_with_tests()?);
        Ok(())
    });
    let (true, Some(binaries)) = (built, binaries) else {
        return;
    };
    for kernel in &fetched.kernels {
        let mut suites = Vec::new();
        for suite in VM_SUITES {
            report.suite(&format!("{} on {}", suite.module, kernel.name), || {
                let results = vm_suite(kernel, &binaries, suite, fetched.peers.as_ref())?;
                suites.push(results.clone());
                Ok(results)
            });
        }
        // A suite with a failure may not have come to its end.
        let is_whole =
            suites.len() == VM_SUITES.len() && suites.iter().all(|suite| suite.failed == 0);
        if is_whole && let Some((all, ran)) = libtest::lost(&suites) {
            let error = anyhow!(
                "{ran} of {all} tests ran; each must be in the module counts, timed or peers, and \
                 none ignored"
            );
            report.fail(&format!("all tests on {}", kernel.name), &error);
        }
    }
}

fn vm_suite(
    kernel: &Kernel,
    binaries: &Binaries,
    suite: &VmSuite,
    peers: Option<&Peers>,
) -> Result<Results> {
    let peers = if suite.has_peers {
        Some(peers.context("the peers could not be fetched, see above")?)
    } else {
        None
    };
    let machine = Machine {
        clock: suite.clock,
        silence: Some(SILENCE),
        peers: peers.cloned(),
        load: modules::LAB.iter().map(ToString::to_string).collect(),
        command: ["/bin/vm-tests", "--test-threads=1", suite.module]
            .map(str::to_owned)
            .to_vec(),
    };
    let ended = qemu::boot(kernel, binaries, &machine)?;
    judge(Results::parse(&ended.output), ended.status == 0)
}

/// A suite that runs nothing, or ends badly without a failed test, has failed itself.
fn judge(results: Results, succeeded: bool) -> Result<Results> {
    match (results.passed + results.failed, succeeded) {
        (0, true) => bail!("not one test ran"),
        (0, false) => bail!("the tests did not start; why is written above"),
        _ => {}
    }
    if !succeeded && results.failed == 0 {
        bail!("the test program ended before its tests did");
    }
    Ok(results)
}

/// Runs a child whose output is for the reader and for us; its messages go to stderr.
fn copy_output(command: &mut Command) -> Result<(String, bool)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut output = child.stdout.take().context("cargo has no output")?;
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = output
            .read(&mut chunk)
            .context("cannot read what cargo prints")?;
        if length == 0 {
            break;
        }
        kept.extend_from_slice(&chunk[..length]);
        io::stdout()
            .write_all(&chunk[..length])
            .context("cannot write to stdout")?;
    }
    let status = child.wait().context("cannot wait for cargo")?;
    Ok((
        String::from_utf8_lossy(&kept).into_owned(),
        status.success(),
    ))
}

/// What has passed and failed so far.
#[derive(Default)]
struct Report {
    results: Results,
}

impl Report {
    /// Does something that passes or fails as a whole, and tells which.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> bool {
        let result = step::step(name, work);
        if let Err(error) = &result {
            self.fail(name, error);
        }
        result.is_ok()
    }

    /// Runs tests that are counted one by one.
    fn suite(&mut self, name: &str, work: impl FnOnce() -> Result<Results>) {
        match step::step(name, work) {
            Ok(mut results) => {
                for failure in &mut results.failures {
                    *failure = format!("{failure} ({name})");
                }
                step::say(&format!(
                    "{name}: {} passed, {} failed",
                    results.passed, results.failed
                ));
                self.results += results;
            }
            Err(error) => self.fail(name, &error),
        }
    }

    fn fail(&mut self, name: &str, error: &anyhow::Error) {
        step::say(&format!("error: {error:#}"));
        self.results.failed += 1;
        self.results.failures.push(name.to_owned());
    }

    fn finish(self) -> Result<ExitCode> {
        let Results {
            passed,
            failed,
            left_out: _,
            failures,
        } = self.results;
        for failure in failures {
            step::say(&format!("failed: {failure}"));
        }
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{passed} passed, {failed} failed").context("cannot write to stdout")?;
        Ok(if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
