//! Process 1 of the VM: mounts what a kernel offers, loads modules, runs one command, tells its
//! status on the console and ends the machine.
//!
//! `cargo xtask` writes the files below `/etc/lab` and reads the console; it takes a guest that
//! ends without the marker for dead.

use std::{
    ffi::CStr,
    fs::{self, File},
    io,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkFlags, LinkMessage},
};
use rustix::{
    io::Errno,
    mount::{MountFlags, mount},
    process::{Pid, WaitOptions, wait},
    system::{RebootCommand, reboot, sethostname},
    termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr},
};

use super::modules;
use crate::{link::LOOPBACK, rtnetlink::RouteSocket};

/// What the machine calls itself; the agent prints it.
const HOST_NAME: &[u8] = b"director";
/// One module to load at boot per line.
const LOAD: &str = "/etc/lab/load";
/// The command, one word per line.
const COMMAND: &str = "/etc/lab/command";
/// The serial line that carries what the command prints; the console is the other.
const OUTPUT: &str = "/dev/ttyS1";
/// The status of a command that could not be started, as a shell gives it.
const NOT_STARTED: i32 = 127;

/// File systems by type, place and options, in the order in which they can be mounted. Those
/// that a kernel may lack or have mounted already are told apart by the error.
const MOUNTS: &[(&str, &str, &CStr)] = &[
    ("proc", "/proc", c""),
    ("sysfs", "/sys", c""),
    ("devtmpfs", "/dev", c""),
    ("tmpfs", "/tmp", c""),
    ("tmpfs", "/run", c""),
    ("debugfs", "/sys/kernel/debug", c""),
    ("tracefs", "/sys/kernel/tracing", c""),
    ("bpf", "/sys/fs/bpf", c""),
    ("cgroup2", "/sys/fs/cgroup", c""),
];

/// Lives the life of the machine; comes back only with what kept it from that.
#[expect(
    clippy::print_stdout,
    reason = "the console is where the host waits for these lines"
)]
pub fn run() {
    // The marker is the last line, so whatever the command printed has left the machine by then.
    match prepare().and_then(|()| run_command()) {
        Ok(status) => println!("lab: exit status {status}"),
        Err(error) => println!("lab: failed: {error:#}"),
    }
    rustix::fs::sync();
    // The machine ends either way, and there is no one else to tell.
    let _ = tcdrain(io::stdout());
    if let Err(error) = reboot(RebootCommand::Restart) {
        println!("lab: failed: cannot end the machine: {error}");
    }
}

fn prepare() -> Result<()> {
    for (kind, place, options) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("cannot make {place}"))?;
        match mount(*kind, *place, *kind, MountFlags::empty(), *options) {
            // devtmpfs is mounted by a kernel that was told to; tracefs comes with debugfs.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot mount {kind} on {place}"));
            }
        }
    }
    sethostname(HOST_NAME).context("cannot name the machine")?;
    set_loopback_up()?;
    for module in words(LOAD)? {
        modules::load(&module)?;
    }
    Ok(())
}

fn set_loopback_up() -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = LOOPBACK;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    RouteSocket::open()?
        .request(RouteNetlinkMessage::SetLink(message), 0)
        .context("cannot set the loopback interface up")
}

/// Runs the command with its output on the serial line and gives its status, as a shell does: of
/// a command that a signal ended, 128 and the signal's number.
fn run_command() -> Result<i32> {
    let words = words(COMMAND)?;
    let (program, arguments) = words.split_first().context("there is no command to run")?;
    let output = raw_output()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("cannot share the serial line")?)
        .stderr(output.try_clone().context("cannot share the serial line")?);
    let status = match command.spawn() {
        Ok(child) => wait_for(Pid::from_child(&child))?,
        Err(error) => {
            io::Write::write_all(
                &mut &output,
                format!("cannot start {program}: {error}\n").as_bytes(),
            )
            .context("cannot write to the serial line")?;
            NOT_STARTED
        }
    };
    tcdrain(&output).context("cannot wait for the serial line")?;
    Ok(status)
}

/// Waits for the command, and buries whatever else has become a child of process 1 meanwhile.
fn wait_for(command: Pid) -> Result<i32> {
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Err(Errno::INTR) => continue,
            ended => ended.context("cannot wait for the command")?,
        };
        if let Some((pid, status)) = ended
            && pid == command
        {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            return Ok(status.exit_status().or(signal).unwrap_or(NOT_STARTED));
        }
    }
}

/// The serial line without any translation, so that what is printed arrives as it was printed.
fn raw_output() -> Result<File> {
    let line = File::options()
        .read(true)
        .write(true)
        .open(OUTPUT)
        .with_context(|| format!("cannot open {OUTPUT}"))?;
    let mut settings = tcgetattr(&line).with_context(|| format!("{OUTPUT} is no terminal"))?;
    settings.make_raw();
    tcsetattr(&line, OptionalActions::Now, &settings)
        .with_context(|| format!("cannot set up {OUTPUT}"))?;
    Ok(line)
}

fn words(path: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}
