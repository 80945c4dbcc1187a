//! How often attached probes did not run, as far as the kernel counts it.
//!
//! Since 6.7 it counts two things: `missed` of a probe, when another probe was being handled on that CPU or a return
//! found no place to wait (`bpf_get_kprobe_info`), and `recursion_misses` of a program, when the CPU was inside another
//! program or a bpf(2) call that touches a map (`trace_call_bpf`). Before, the second is there and stays 0 for probes, so
//! neither is known.

use std::{
    fs,
    mem::offset_of,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
};

use aya::{Ebpf, programs::Program};
use aya_obj::generated::bpf_prog_info;

use super::{info, plan::Probe};
use crate::model::snapshot::ProbeHealth;

const WORD_BYTES: usize = size_of::<u64>();
/// `perf_event.kprobe.missed` of `struct bpf_link_info`, the last member of its part.
const MISSED_BYTES: usize = 48;
const RECURSION_MISSES_BYTES: usize = offset_of!(bpf_prog_info, recursion_misses);

/// What is asked about the attached probes.
#[derive(Debug)]
pub(super) struct Watch(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    probe: Probe,
    /// None for a further function of a program, whose count would be told twice.
    program: Option<OwnedFd>,
    /// Held by aya as long as the probe is attached; none on a tracepoint, and where the kernel has no such links (before
    /// 5.15).
    link: Option<RawFd>,
}

impl Watch {
    /// Finds the descriptors of the `attached` probes, which are to stay attached as long as this is asked.
    pub(super) fn new(ebpf: &Ebpf, attached: impl Iterator<Item = Probe>) -> Self {
        let mut links = links();
        let mut watched: Vec<Watched> = Vec::new();
        for probe in attached {
            let is_first = watched.iter().all(|other| other.probe.name != probe.name);
            let (id, fd) = program(ebpf, probe).unzip();
            // A program can go to several functions, each with a link of its own, in the order of attaching.
            let link = links.iter().position(|(_, program)| Some(*program) == id);
            watched.push(Watched {
                probe,
                program: fd.filter(|_| is_first),
                link: link.map(|index| links.remove(index).0),
            });
        }
        Self(watched)
    }

    /// How often each did not run since it was attached.
    pub(super) fn read(&self) -> Vec<ProbeHealth> {
        let missed: Vec<_> = self.0.iter().map(Watched::missed).collect();
        let is_counted = missed.iter().any(Option::is_some);
        let watched = self.0.iter().zip(missed);
        watched
            .map(|(watched, missed)| ProbeHealth {
                name: watched.probe.name.into(),
                function: watched.probe.function.into(),
                missed,
                recursion_misses: watched.recursion_misses().filter(|_| is_counted),
            })
            .collect()
    }
}

impl Watched {
    fn missed(&self) -> Option<u64> {
        self.link.and_then(counter::<MISSED_BYTES>)
    }

    fn recursion_misses(&self) -> Option<u64> {
        let program = self.program.as_ref()?;
        counter::<RECURSION_MISSES_BYTES>(program.as_raw_fd())
    }
}

/// The number of a program that is loaded, and its descriptor.
fn program(ebpf: &Ebpf, probe: Probe) -> Option<(u32, OwnedFd)> {
    let (info, fd) = match ebpf.program(probe.name) {
        Some(Program::KProbe(program)) => (program.info(), program.fd()),
        Some(Program::RawTracePoint(program)) => (program.info(), program.fd()),
        Some(_) | None => return None,
    };
    let fd = fd.ok()?.as_fd().try_clone_to_owned().ok()?;
    Some((info.ok()?.id(), fd))
}

/// The counter at `OFFSET` of the object's structure, if this kernel's has one there.
fn counter<const OFFSET: usize>(fd: RawFd) -> Option<u64> {
    let mut words = vec![0_u64; OFFSET / WORD_BYTES + 1];
    let known = info::read(fd, &mut words).ok()?;
    let counter = words.last().copied()?;
    (known >= OFFSET + WORD_BYTES).then_some(counter)
}

/// The links of this process to perf events, each with the number of its program.
///
/// aya keeps their descriptors to itself.
fn links() -> Vec<(RawFd, u32)> {
    let Ok(folder) = fs::read_dir("/proc/self/fdinfo") else {
        return Vec::new();
    };
    let files = folder.filter_map(Result::ok);
    let links = files.filter_map(|file| {
        let fd = file.file_name().to_str()?.parse().ok()?;
        let program = program_of(&fs::read_to_string(file.path()).ok()?)?;
        Some((fd, program))
    });
    let mut links: Vec<_> = links.collect();
    links.sort_unstable();
    links
}

/// `bpf_link_show_fdinfo` of `kernel/bpf/syscall.c`.
fn program_of(fdinfo: &str) -> Option<u32> {
    let value = |name: &str| {
        let mut lines = fdinfo.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let is_perf = value("link_type")?.trim() == "perf";
    is_perf.then(|| value("prog_id")?.trim().parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::program_of;

    #[test]
    fn a_link_to_a_perf_event_names_its_program() {
        let link = "pos:\t0\nflags:\t02000000\nmnt_id:\t15\nino:\t2063\nlink_type:\tperf\nlink_id:\t7\n\
                    prog_tag:\t6deef7357e7b4530\nprog_id:\t42\n";
        assert_eq!(program_of(link), Some(42));
        assert_eq!(program_of(&link.replace("perf", "kprobe_multi")), None);
        assert_eq!(program_of("prog_type:\t2\nprog_id:\t42\n"), None);
        assert_eq!(program_of(""), None);
    }
}
