//! One boot of one kernel in QEMU: the emulator found or installed, started, watched, and its end
//! told apart from the end of the command in it.
//!
//! The guest has no disk and no network. Its first serial line is the kernel's console and goes
//! to a file; its second carries what the command prints and is copied to the caller as it comes.
//! Emulation without KVM is the same on every machine, in a cloud or on a laptop.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    build::Binaries,
    host, initramfs,
    kernel::Kernel,
    lock,
    modules::Modules,
    peers::Peers,
    step,
    verdict::{self, Verdict},
};

const QEMU: &str = "qemu-system-x86_64";
const POLL: Duration = Duration::from_millis(100);
/// Time for a dying kernel to print its trace.
const LAST_WORDS: Duration = Duration::from_secs(2);
const COMMAND_LINE: &str =
    "console=ttyS0 loglevel=5 panic=-1 mitigations=off nokaslr net.ifnames=0 random.trust_cpu=on";

/// What passes for time in the guest.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Clock {
    /// The host's clock: every CPU runs at once, durations mean nothing.
    Wall { cpus: u32 },
    /// One nanosecond per executed instruction on one CPU: durations are exact, and idle time is
    /// skipped.
    Instructions,
    /// The same, 16 times slower. The kernel tells user from system time by where its tick, which
    /// comes every 4 ms, finds a program: the slower the CPU, the fewer instructions are between
    /// two ticks.
    SlowInstructions,
}

impl Clock {
    /// The CPU that keeps it. Emulated cmpxchg16b now and then corrupts the guest's flags.
    const fn cpu(self) -> &'static str {
        match self {
            Self::Wall { .. } | Self::Instructions => "max,-cx16",
            // With these, code that copies or clears memory would count an instruction for each
            // byte, and outweigh all other code as it does on no real CPU.
            Self::SlowInstructions => "max,-cx16,-erms,-fsrm",
        }
    }

    /// The time of an instruction, as a power of 2 in nanoseconds; None where instructions are
    /// not what passes for time.
    pub(crate) const fn instruction_shift(self) -> Option<u32> {
        match self {
            Self::Wall { .. } => None,
            Self::Instructions => Some(0),
            Self::SlowInstructions => Some(4),
        }
    }
}

/// What to boot a kernel for.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) clock: Clock,
    /// A guest that prints nothing on either serial line for so long hangs; None for one that may
    /// be silent.
    pub(crate) silence: Option<Duration>,
    /// A guest that has not ended after so long never will; None for one that may run on.
    pub(crate) deadline: Option<Duration>,
    /// The programs of others, for a guest that runs them.
    pub(crate) peers: Option<Peers>,
    /// Modules to load at boot.
    pub(crate) load: Vec<String>,
    pub(crate) command: Vec<String>,
}

/// A guest that ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: u8,
    /// What the command printed.
    pub(crate) output: String,
}

/// Finds QEMU or installs it.
pub(crate) fn set_up() -> Result<()> {
    let _lock = lock::set_up()?;
    if host::has(QEMU) {
        return Ok(());
    }
    host::install(QEMU, "qemu-system-x86")
}

/// Boots, runs the command and ends; `sink` gets what the command prints as it comes, whatever
/// the end. An error means that the guest died or never lived; it says nothing about the command.
pub(crate) fn boot(
    kernel: &Kernel,
    binaries: &Binaries,
    machine: &Machine,
    sink: impl Write + Send,
) -> Result<Ended> {
    let folder = host::target().join("vm").join(machine.name(kernel));
    let _lock = lock::vm(&folder)?;
    let archive = folder.join("initramfs.cpio");
    let modules = Modules::read(&kernel.modules)?;
    initramfs::write(&archive, binaries, &modules, machine)?;
    let console = folder.join("console.log");
    fs::write(&console, "").with_context(|| format!("cannot write {}", console.display()))?;

    let mut child = emulator(kernel, machine, &archive, &console)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {QEMU}"))?;
    let printed = child.stdout.take().context("the emulator has no output")?;
    let copied_bytes = AtomicU64::new(0);
    let (verdict, output) = thread::scope(|scope| {
        let copier = scope.spawn(|| copy(printed, sink, &copied_bytes));
        let verdict = watch(&mut child, &console, &copied_bytes, machine);
        // Only a guest that hangs is still there.
        drop(child.kill());
        (verdict, copier.join())
    });
    child
        .wait()
        .with_context(|| format!("cannot wait for {QEMU}"))?;
    let output = output
        .map_err(|_panic| anyhow!("the copying of the guest's output failed"))?
        .context("cannot copy the guest's output")?;
    // Every boot makes its own, and all kernels and suites together would fill the disk.
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    match verdict? {
        Verdict::Status(status) => Ok(Ended { status, output }),
        end @ (Verdict::Died(_) | Verdict::Hung(_) | Verdict::Late(_)) => bail!(
            "{end}; the last line of the command's output is: {}\nthe end of {}:\n{}",
            verdict::last_line(&output),
            console.display(),
            verdict::tail(&read(&console)?)
        ),
    }
}

impl Machine {
    /// What tells this machine from others that run at the same time.
    fn name(&self, kernel: &Kernel) -> String {
        let mode = match self.clock {
            Clock::Wall { cpus } => format!("smp{cpus}"),
            Clock::Instructions => "icount".to_owned(),
            Clock::SlowInstructions => "slow-icount".to_owned(),
        };
        let peers = if self.peers.is_some() { "-peers" } else { "" };
        format!("{}-{mode}{peers}", kernel.name)
    }
}

/// The emulator's command line.
fn emulator(kernel: &Kernel, machine: &Machine, archive: &Path, console: &Path) -> Command {
    let mut command = Command::new(QEMU);
    command.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-nic",
        "none",
    ]);
    command.args(["-cpu", machine.clock.cpu(), "-m", "2048"]);
    let cpus = match machine.clock {
        Clock::Wall { cpus } => cpus,
        Clock::Instructions | Clock::SlowInstructions => 1,
    };
    // The CPUs take turns: with a thread for each, a guest died now and then where one CPU called a function whose entry
    // the other was patching to attach or detach a probe.
    command.args(["-accel", "tcg,thread=single", "-smp", &cpus.to_string()]);
    if let Some(shift) = machine.clock.instruction_shift() {
        command.args(["-icount", &format!("shift={shift},sleep=off")]);
    }
    command
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(archive);
    command.args(["-append", COMMAND_LINE]);
    command
        .arg("-serial")
        .arg(format!("file:{}", console.display()));
    command.args([
        "-chardev",
        "stdio,id=command,signal=off",
        "-serial",
        "chardev:command",
    ]);
    command
}

/// Waits until the guest has ended or shows that it never will.
fn watch(
    child: &mut Child,
    console: &Path,
    copied_bytes: &AtomicU64,
    machine: &Machine,
) -> Result<Verdict> {
    let mut seen = (0, 0);
    let start = step::now();
    let mut seen_at = start;
    loop {
        let ended = child.try_wait().context("cannot wait for the emulator")?;
        let text = read(console)?;
        let verdict = verdict::verdict(&text);
        if let Some(status) = ended {
            let unknown =
                || Verdict::Died(format!("{QEMU} ended without a word from init: {status}"));
            return Ok(verdict.unwrap_or_else(unknown));
        }
        if let Some(Verdict::Died(_)) = &verdict {
            thread::sleep(LAST_WORDS);
            return Ok(verdict::verdict(&read(console)?).unwrap_or(Verdict::Died(String::new())));
        }
        let printed = (text.len(), copied_bytes.load(Ordering::Relaxed));
        if printed != seen {
            (seen, seen_at) = (printed, step::now());
        }
        if let Some(deadline) = machine.deadline
            && start.elapsed() > deadline
        {
            return Ok(Verdict::Late(deadline));
        }
        if let Some(silence) = machine.silence
            && seen_at.elapsed() > silence
        {
            return Ok(Verdict::Hung(silence));
        }
        thread::sleep(POLL);
    }
}

/// Copies the command's output as it comes, keeps it, and counts it for who watches.
fn copy(
    mut output: impl Read,
    mut sink: impl Write,
    copied_bytes: &AtomicU64,
) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let length = output.read(&mut chunk)?;
        if length == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        let bytes = &chunk[..length];
        kept.extend_from_slice(bytes);
        copied_bytes.fetch_add(length as u64, Ordering::Relaxed);
        sink.write_all(bytes)?;
        sink.flush()?;
    }
}

fn read(console: &Path) -> Result<String> {
    let bytes = fs::read(console).with_context(|| format!("cannot read {}", console.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
