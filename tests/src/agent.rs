//! The real binary, run as an administrator would run it.
//!
//! The agent says by a file when its probes are attached, so that nothing is sent
//! before it can be seen. What its JSON means is `report`'s.

mod rights;

use std::{
    env,
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Read},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio, id},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{netns::Netns, report::Report, wait};

pub use rights::Rights;
use rights::spawn;

/// Where the guest has the agent.
pub const BINARY: &str = "/bin/ipvs-observer";

/// An agent that runs and has its probes attached; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    output: Output,
    ready_after_ns: u64,
}

/// What an agent left when it ended.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// All lines of its standard output.
    pub stdout: Vec<String>,
    /// All that it wrote to standard error.
    pub stderr: String,
}

/// The two ends that are read while the process runs, so that it never waits for us.
#[derive(Debug)]
struct Output {
    stdout: Lines,
    stderr: Lines,
}

/// The lines of one end, as they come.
#[derive(Debug)]
struct Lines {
    read: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Agent {
    /// Runs `top -o json` with `arguments` in `netns` and waits until it is ready.
    pub fn start(netns: &Netns, arguments: &[&str]) -> Result<Self> {
        Self::start_top(netns, Rights::Root, &["-o", "json"], arguments)
    }

    /// The same with other rights.
    pub fn start_with(netns: &Netns, rights: Rights, arguments: &[&str]) -> Result<Self> {
        Self::start_top(netns, rights, &["-o", "json"], arguments)
    }

    /// The same with the blocks that people read.
    pub fn start_plain(netns: &Netns, arguments: &[&str]) -> Result<Self> {
        Self::start_top(netns, Rights::Root, &["--plain", "-o", "text"], arguments)
    }

    /// Runs `stream` with `arguments` in `netns` and waits until it is ready.
    pub fn start_stream(netns: &Netns, arguments: &[&str]) -> Result<Self> {
        Self::start_command(netns, Rights::Root, &["stream"], arguments)
    }

    fn start_top(
        netns: &Netns,
        rights: Rights,
        format: &[&str],
        arguments: &[&str],
    ) -> Result<Self> {
        Self::start_command(netns, rights, &[&["top"], format].concat(), arguments)
    }

    fn start_command(
        netns: &Netns,
        rights: Rights,
        command_and_format: &[&str],
        arguments: &[&str],
    ) -> Result<Self> {
        let ready_folder = fresh_ready_folder()?;
        let ready_file = ready_folder.join("ready");
        let mut command = Command::new(BINARY);
        command
            .args(command_and_format)
            .args(arguments)
            .arg("--ready-file")
            .arg(&ready_file);
        let start_ns = wait::monotonic_ns();
        let mut child = spawn(netns, rights, piped(&mut command))?;
        let mut agent = Self {
            output: Output::of(&mut child)?,
            child,
            ready_after_ns: 0,
        };
        let ready = wait::until("the agent to attach its probes", wait::PATIENCE, || {
            if ready_file.exists() {
                return Ok(Some(()));
            }
            match agent
                .child
                .try_wait()
                .context("cannot ask after the agent")?
            {
                None => Ok(None),
                Some(status) => bail!("the agent ended with {status} before it was ready"),
            }
        });
        agent.ready_after_ns = wait::monotonic_ns() - start_ns;
        fs::remove_dir_all(&ready_folder).context("cannot remove the ready file")?;
        match ready {
            Ok(()) => Ok(agent),
            Err(error) => {
                let outcome = agent.kill()?;
                Err(error).with_context(|| format!("its standard error: {}", outcome.stderr))
            }
        }
    }

    /// From before the process was started until its probes were attached.
    pub fn ready_after_ns(&self) -> u64 {
        self.ready_after_ns
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, as SIGSTOP and SIGCONT, after which it goes on.
    pub fn send(&mut self, signal: Signal) -> Result<()> {
        self.signal(signal)
    }

    /// Waits until the lines of its standard output so far are `wanted`.
    pub fn await_stdout(
        &self,
        what: &str,
        mut wanted: impl FnMut(&[String]) -> bool,
    ) -> Result<()> {
        wait::until(what, wait::PATIENCE, || {
            Ok(wanted(&self.output.stdout.so_far()).then_some(()))
        })
    }

    /// Waits until the lines of its standard error so far are `wanted`.
    pub fn await_stderr(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Result<()> {
        wait::until(what, wait::PATIENCE, || {
            Ok(wanted(&self.output.stderr.so_far()).then_some(()))
        })
    }

    /// Waits for an interval, among those printed from now on, that `wanted` accepts.
    pub fn await_report(&self, what: &str, wanted: impl Fn(&Report) -> bool) -> Result<Report> {
        let mut next = self.output.stdout.count();
        wait::until(what, wait::PATIENCE, || {
            for line in self.output.stdout.since(next) {
                let report = Report::parse(&line)?;
                if wanted(&report) {
                    return Ok(Some(report));
                }
                next += 1;
            }
            Ok(None)
        })
    }

    /// The same for tables so large that holding each interval against the schema would take longer than the interval:
    /// looks at the newest one only, and at what it says alone.
    pub fn await_large_report(
        &self,
        what: &str,
        wanted: impl Fn(&Report) -> bool,
    ) -> Result<Report> {
        let mut seen = self.output.stdout.count();
        wait::until(what, wait::PATIENCE, || {
            let Some(newest) = self.output.stdout.since(seen).pop() else {
                return Ok(None);
            };
            seen = self.output.stdout.count();
            let report = Report::unchecked(&newest)?;
            Ok(wanted(&report).then_some(report))
        })
    }

    /// Waits until so many more intervals are printed, and gives the last of them, read in the same way.
    pub fn await_intervals(&self, what: &str, count: usize) -> Result<Report> {
        let last = self.output.stdout.count() + count;
        wait::until(what, wait::PATIENCE, || {
            let newest = self.output.stdout.since(last - 1).pop();
            newest.map(|line| Report::unchecked(&line)).transpose()
        })
    }

    /// Interrupts it as Ctrl-C does and waits for its end.
    pub fn stop(mut self) -> Result<Outcome> {
        self.signal(Signal::INT)?;
        self.wait_for_end()
    }

    /// Ends it as a service manager does and waits for its end.
    pub fn terminate(mut self) -> Result<Outcome> {
        self.signal(Signal::TERM)?;
        self.wait_for_end()
    }

    /// Waits for it to end by itself.
    pub fn finish(mut self) -> Result<Outcome> {
        self.wait_for_end()
    }

    /// Ends it without giving it a chance to clean up.
    pub fn kill(mut self) -> Result<Outcome> {
        self.signal(Signal::KILL)?;
        self.wait_for_end()
    }

    /// A process that has ended already needs no signal; it is ours until waited for,
    /// so its id is nobody else's.
    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self
            .child
            .try_wait()
            .context("cannot ask after the agent")?
            .is_none()
        {
            let pid = i32::try_from(self.child.id()).context("a process id is a positive i32")?;
            let pid = Pid::from_raw(pid).context("a process id is not zero")?;
            kill_process(pid, signal).context("cannot signal the agent")?;
        }
        Ok(())
    }

    fn wait_for_end(&mut self) -> Result<Outcome> {
        let status = wait::until("the agent to end", wait::PATIENCE, || {
            self.child.try_wait().context("cannot ask after the agent")
        })?;
        self.output.collect(status)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail for a process that has been waited for, which is the usual case.
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

impl Outcome {
    /// All intervals printed, the one for the whole run last.
    pub fn reports(&self) -> Result<Vec<Report>> {
        self.stdout.iter().map(|line| Report::parse(line)).collect()
    }

    /// The last object, which must be the one for the whole run.
    pub fn summary(&self) -> Result<Report> {
        self.summary_by(Report::parse)
    }

    /// The same for large tables, not held against the schema.
    pub fn large_summary(&self) -> Result<Report> {
        self.summary_by(Report::unchecked)
    }

    fn summary_by(&self, parse: impl FnOnce(&str) -> Result<Report>) -> Result<Report> {
        let last = self
            .stdout
            .last()
            .with_context(|| format!("no output; {}", self.stderr))?;
        let report = parse(last)?;
        if !report.is_final() {
            bail!("the last object is not the summary of the run: {last}");
        }
        Ok(report)
    }
}

impl Output {
    fn of(child: &mut Child) -> Result<Self> {
        let stdout = child.stdout.take().context("standard output is piped")?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        Ok(Self {
            stdout: Lines::of(stdout),
            stderr: Lines::of(stderr),
        })
    }

    fn collect(&mut self, status: ExitStatus) -> Result<Outcome> {
        Ok(Outcome {
            status,
            stdout: self.stdout.all()?,
            stderr: self.stderr.all()?.join("\n"),
        })
    }
}

impl Lines {
    fn of(end: impl Read + Send + 'static) -> Self {
        let read = Arc::default();
        let for_reader = Arc::clone(&read);
        Self {
            read,
            reader: Some(thread::spawn(move || collect_lines(end, &for_reader))),
        }
    }

    fn so_far(&self) -> Vec<String> {
        self.read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn count(&self) -> usize {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.len()
    }

    /// Those after the first `count`.
    fn since(&self, count: usize) -> Vec<String> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.get(count..).unwrap_or_default().to_vec()
    }

    /// Waits for the end of the end.
    fn all(&mut self) -> Result<Vec<String>> {
        let reader = self
            .reader
            .take()
            .context("the agent was waited for twice")?;
        if reader.join().is_err() {
            bail!("a reader of the agent's output panicked");
        }
        Ok(self.so_far())
    }
}

/// Starts the binary with any arguments, without waiting for it to be ready.
pub fn launch(netns: &Netns, rights: Rights, arguments: &[&str]) -> Result<Agent> {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    let mut child = spawn(netns, rights, piped(&mut command))?;
    Ok(Agent {
        output: Output::of(&mut child)?,
        child,
        ready_after_ns: 0,
    })
}

/// The same until it ends: for what must fail, and for what prints once.
pub fn run(netns: &Netns, rights: Rights, arguments: &[&str]) -> Result<Outcome> {
    launch(netns, rights, arguments)?.finish()
}

/// Runs the binary for a reader that takes `lines` lines of its standard output and then
/// closes the pipe.
pub fn run_for_reader_of(lines: usize, netns: &Netns, arguments: &[&str]) -> Result<Outcome> {
    let mut command = Command::new(BINARY);
    command.args(arguments);
    let mut child = netns.spawn(piped(&mut command))?;
    let stdout = child.stdout.take().context("standard output is piped")?;
    let stdout = BufReader::new(stdout)
        .lines()
        .take(lines)
        .collect::<Result<Vec<_>, _>>()
        .context("cannot read what the agent prints")?;
    // The reader went with its last line; from here on nobody reads.
    let mut stderr = Lines::of(child.stderr.take().context("standard error is piped")?);
    let status = wait::until("the agent to end without a reader", wait::PATIENCE, || {
        child.try_wait().context("cannot ask after the agent")
    });
    if status.is_err() {
        let _ended = child.kill();
    }
    Ok(Outcome {
        status: status?,
        stdout,
        stderr: stderr.all()?.join("\n"),
    })
}

fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

fn collect_lines(end: impl Read, lines: &Mutex<Vec<String>>) {
    for line in BufReader::new(end).split(b'\n') {
        let Ok(line) = line else { break };
        let line = String::from_utf8_lossy(&line).into_owned();
        lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}

/// A new folder for one agent's ready file, which any user may make there.
fn fresh_ready_folder() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    let folder = env::temp_dir().join(format!("ipvs-observer-ready-{}-{number}", id()));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o777)))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}
