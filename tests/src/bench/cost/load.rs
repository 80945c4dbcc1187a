//! The traffic whose cost is measured, and what it takes.
//!
//! One thread is the client and one the real server, which take turns: nothing is started, and no memory mapped, for a
//! connection. Its end is part of it, so that a window lasts until IPVS has freed every connection, two minutes of rest
//! later; what the machine does not execute meanwhile is taken away.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    director::Lab,
    proc_ipvs::PacketCounts,
    services::Vip,
    traffic::{self, REQUEST, RESPONSE},
    wait,
};

/// Connections of one request each in a window.
pub(super) const CONNECTIONS: usize = 400;
/// Connections that are kept alive, a window each: where a record lies differs.
const KEPT_ALIVE: usize = 32;
/// Requests in the window of a connection that is kept alive.
const REQUESTS: u32 = 100;
/// Requests after which a connection answers without acknowledging apart.
const WARM_REQUESTS: u32 = 20;
const WARM_CONNECTIONS: u64 = 40;

/// A connection stays in `TIME_WAIT` for two minutes, its timer may be 4 s late
/// (`kernel/time/timer.c`: a 64th of its time), and then RCU frees it.
const EXPIRY: Duration = Duration::from_secs(128);

const VIP: Vip = Vip::V4;
const SERVER: u8 = 1;

/// A director with one real server.
pub(super) struct Load {
    pub(super) lab: Lab,
    target: SocketAddr,
}

/// What a window took.
pub(super) struct Taken {
    /// Time in which the CPU executed something.
    pub(super) busy_ns: u64,
    pub(super) packets: PacketCounts,
    pub(super) connections: u64,
}

impl Load {
    pub(super) fn new() -> Result<Self> {
        let lab = Lab::new(SERVER)?;
        // It would take turns with what is measured.
        lab.director().set_sysctl("net/ipv4/vs/run_estimation", "0")?;
        lab.add_service(VIP, "rr")?;
        let target = VIP.address();
        let address = SocketAddr::new(VIP.server_address(SERVER), target.port());
        let listener = lab
            .server(SERVER)
            .run(|| TcpListener::bind(address).with_context(|| format!("cannot listen on {address}")))?;
        // It ends with the process.
        thread::spawn(move || serve(&listener));
        lab.add_server(VIP, SERVER, 1)?;
        Ok(Self { lab, target })
    }

    /// Traffic of both kinds that is not measured, until nothing is left of it; gives its connections.
    pub(super) fn warm_up(&self) -> Result<u64> {
        self.lab.client().run(|| {
            for _ in 1..WARM_CONNECTIONS {
                traffic::connect_once(self.target, 1)?;
            }
            traffic::connect_once(self.target, WARM_REQUESTS)
        })?;
        self.settle()?;
        Ok(WARM_CONNECTIONS)
    }

    /// As long as connections take to expire, without any.
    pub(super) fn rest(&self) -> Result<Taken> {
        self.window(0, || Ok(()), EXPIRY)
    }

    /// Connections one after another, with a window in the middle of each.
    pub(super) fn kept_alive(&self) -> Result<Vec<Taken>> {
        let taken = self.lab.client().run(|| {
            let windows = (0..KEPT_ALIVE).map(|_| {
                let mut stream = traffic::open(self.target)?;
                for _ in 0..WARM_REQUESTS {
                    traffic::exchange(&mut stream)?;
                }
                let taken = self.window(
                    0,
                    || (0..REQUESTS).try_for_each(|_| traffic::exchange(&mut stream)),
                    Duration::ZERO,
                )?;
                traffic::close(stream)?;
                Ok(taken)
            });
            windows.collect::<Result<Vec<_>>>()
        })?;
        self.settle()?;
        Ok(taken)
    }

    /// Connections of one request each, from the first SYN of the first until all are freed.
    pub(super) fn connections(&self) -> Result<Taken> {
        let taken = self.lab.client().run(|| {
            let all = || (0..CONNECTIONS).try_for_each(|_| traffic::connect_once(self.target, 1));
            self.window(CONNECTIONS as u64, all, EXPIRY)
        })?;
        ensure!(self.is_empty()?, "connections have not expired in {EXPIRY:?}");
        Ok(taken)
    }

    fn window(
        &self,
        connections: u64,
        traffic: impl FnOnce() -> Result<()>,
        after: Duration,
    ) -> Result<Taken> {
        let packets = self.lab.packets()?;
        let idle_ns = idle_ns()?;
        let start_ns = wait::monotonic_ns();
        traffic()?;
        thread::sleep(after);
        let elapsed_ns = wait::monotonic_ns() - start_ns;
        // The clock is read within, so that reading the rest is not part of the window.
        let idle_ns = self::idle_ns()? - idle_ns;
        Ok(Taken {
            busy_ns: elapsed_ns - idle_ns,
            packets: self.lab.packets()?.since(packets),
            connections,
        })
    }

    fn settle(&self) -> Result<()> {
        thread::sleep(EXPIRY);
        ensure!(self.is_empty()?, "connections have not expired in {EXPIRY:?}");
        wait::idle_cpu()
    }

    fn is_empty(&self) -> Result<bool> {
        let connections = self.lab.director().proc_net("ip_vs_conn")?;
        // The first line has the titles.
        Ok(connections.lines().count() == 1)
    }
}

/// Time in which the CPU was idle, of which the kernel keeps nanoseconds (`.idle_sleeptime` of
/// `kernel/time/timer_list.c`).
fn idle_ns() -> Result<u64> {
    let text = fs::read_to_string("/proc/timer_list").context("cannot read /proc/timer_list")?;
    let value = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(".idle_sleeptime"))
        .context("/proc/timer_list does not tell how long the CPU was idle")?;
    let digits = value.trim_matches(|letter: char| !letter.is_ascii_digit());
    digits.parse().with_context(|| format!("{value:?} is no time"))
}

/// Answers one connection after another.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let _works_without = stream.set_nodelay(true);
        let mut request = REQUEST;
        while stream.read_exact(&mut request).is_ok() && stream.write_all(&RESPONSE).is_ok() {}
    }
}
