//! The peer: bpftrace with a script that collects the same histograms by real server, as one would write it.

use std::{
    fs,
    io::{BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{empty, line};
use crate::{director::Lab, peers::BPFTRACE, wait};

/// The measures are the agent's default ones, as `measure.rs` defines them: a connection that is found in `TIME_WAIT` (5) or
/// `CLOSE` (6) is over. Headers are read until the first response only, and the clock once for a packet.
const SCRIPT: &str = r"
kprobe:ip_vs:ip_vs_schedule { @begun[tid] = nsecs; }

kretprobe:ip_vs:ip_vs_schedule /@begun[tid]/ {
    $took = nsecs - @begun[tid];
    delete(@begun[tid]);
    if (retval != 0) {
        $cp = (struct ip_vs_conn *)retval;
        @schedule[$cp->daddr.ip, $cp->dport] = hist($took);
    }
}

kprobe:ip_vs:tcp_state_transition {
    $cp = (struct ip_vs_conn *)arg0;
    $phase = @phase[arg0];
    $now = nsecs;
    $state = $cp->state;
    if ($state == 5 || $state == 6) {
        if ($phase > 0 && $phase < 6) {
            @duration[$cp->daddr.ip, $cp->dport] = hist(@last[arg0] - @first[arg0]);
            @phase[arg0] = 6;
        }
        return;
    }
    @last[arg0] = $now;
    if ($phase < 5) {
        $skb = (struct sk_buff *)arg2;
        $ihl = (uint64)((*(uint8 *)$skb->data & 15) * 4);
        $tcp = (uint64)$skb->data + $ihl;
        $doff = (uint64)((*(uint8 *)($tcp + 12) >> 4) * 4);
        $syn = *(uint8 *)($tcp + 13) & 2;
        $payload = (uint64)$skb->len - $ihl - $doff;
        if (arg1 == 0) {
            if ($phase == 0 && $syn != 0) {
                @first[arg0] = $now;
                @phase[arg0] = 1;
            } else if ($phase == 2) {
                @handshake[$cp->daddr.ip, $cp->dport] = hist($now - @first[arg0]);
                @client[$cp->daddr.ip, $cp->dport] = hist($now - @mark[arg0]);
                @phase[arg0] = 3;
            } else if ($phase == 3 && $payload > 0) {
                @mark[arg0] = $now;
                @phase[arg0] = 4;
            }
        } else {
            if ($phase == 1 && $syn != 0) {
                @connect[$cp->daddr.ip, $cp->dport] = hist($now - @first[arg0]);
                @mark[arg0] = $now;
                @phase[arg0] = 2;
            } else if ($phase == 4 && $payload > 0) {
                @first_byte[$cp->daddr.ip, $cp->dport] = hist($now - @mark[arg0]);
                @phase[arg0] = 5;
            }
        }
    }
}

kprobe:ip_vs:ip_vs_conn_rcu_free {
    $address = arg0 - offsetof(struct ip_vs_conn, callback_head);
    $cp = (struct ip_vs_conn *)$address;
    $phase = @phase[$address];
    if ($phase > 0 && $phase < 6) {
        @duration[$cp->daddr.ip, $cp->dport] = hist(@last[$address] - @first[$address]);
    }
    delete(@first[$address]);
    delete(@last[$address]);
    delete(@mark[$address]);
    delete(@phase[$address]);
}
";
const SCRIPT_FILE: &str = "/tmp/latency.bt";
/// Probes that the script has.
const PROBES: usize = 4;
/// The histograms that it collects.
const HISTOGRAMS: [&str; 6] = [
    "@schedule",
    "@connect",
    "@client",
    "@handshake",
    "@first_byte",
    "@duration",
];

/// bpftrace with all probes of its script attached.
pub(super) struct Tracer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Tracer {
    pub(super) fn start(lab: &Lab) -> Result<Self> {
        fs::write(SCRIPT_FILE, SCRIPT).context("cannot write the script")?;
        let mut child = lab.director().spawn(
            Command::new(BPFTRACE)
                .args(["-f", "json", SCRIPT_FILE])
                .stdin(Stdio::null())
                .stdout(Stdio::piped()),
        )?;
        let output = child.stdout.take().context("standard output is piped")?;
        wait::until("bpftrace to attach its probes", wait::PATIENCE, || {
            let status = child.try_wait().context("cannot ask after bpftrace")?;
            ensure!(status.is_none(), "bpftrace ended with {status:?}");
            Ok((empty::attached()?.len() == PROBES).then_some(()))
        })?;
        Ok(Self {
            child,
            output: BufReader::new(output),
        })
    }

    /// Ends it, and tells how many of `connections` each of its histograms has: where the kernel kept a probe from running,
    /// fewer.
    pub(super) fn stop(mut self, connections: u32) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).context("cannot signal bpftrace")?;
        let mut text = String::new();
        self.output
            .read_to_string(&mut text)
            .context("cannot read what bpftrace found")?;
        let status = self.child.wait().context("cannot wait for bpftrace")?;
        ensure!(status.success(), "bpftrace ended with {status}");
        for name in HISTOGRAMS {
            let found = text.lines().find_map(|line| counted(line, name));
            let found = found.with_context(|| format!("bpftrace has no {name}"))?;
            ensure!(
                found > u64::from(connections) / 2,
                "bpftrace has {found} values of {name} for {connections} connections"
            );
            line(
                &json!({ "subject": "bpftrace", "histogram": name, "values": found, "connections": connections }),
            )?;
        }
        Ok(())
    }
}

/// The values of a histogram, over all real servers, if the line has it.
fn counted(line: &str, name: &str) -> Option<u64> {
    let line: Value = serde_json::from_str(line).ok()?;
    let servers = line["data"].get(name)?.as_object()?;
    let buckets = servers
        .values()
        .flat_map(|buckets| buckets.as_array().into_iter().flatten());
    Some(buckets.filter_map(|bucket| bucket["count"].as_u64()).sum())
}
