//! The traffic whose cost is measured, and what it takes.
//!
//! One thread is the client and one the real server, which take turns: nothing is started, and no memory mapped, for a
//! connection. The server goes first whenever it has something to do: if that were up to the scheduler, some connections
//! would take two turns more than others, and those cost as much as what is measured. The client ends it by a reset, so that no port is left to wait and IPVS lets go of it after 10 s. That end
//! is part of it: a thread that spins then sees what the kernel does. So the CPU is never idle in a window, and guest time
//! is executed instructions.

use std::{
    hint::black_box,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::setpriority_process;
use socket2::SockRef;

use crate::{
    director::Lab,
    services::Vip,
    traffic::{self, REQUEST, RESPONSE},
    wait,
};

/// How much traffic a window has.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections of one request each, in one window.
    pub connections: u32,
    /// Connections that are kept alive, a window each: where a record lies differs.
    pub kept_alive: u32,
}

/// Requests in the window of a connection that is kept alive.
const REQUESTS: u32 = 100;
/// Requests after which a connection answers without acknowledging apart.
const WARM_REQUESTS: u32 = 20;
const WARM_CONNECTIONS: u32 = 40;

/// `IP_VS_TCP_S_CLOSE` lasts for 10 s (`net/netfilter/ipvs/ip_vs_proto_tcp.c`, 6.1 to 7.2).
const CLOSE: Duration = Duration::from_secs(10);
/// Its timer is up to two times 256 ms late (`kernel/time/timer.c`), and then RCU has to free it.
const LATE: Duration = Duration::from_millis(650);
/// When the spinning begins, before the first connection goes.
const EARLY: Duration = Duration::from_millis(20);

/// The nice value of a thread that goes before all others.
const FIRST: i32 = -20;

const VIP: Vip = Vip::V4;
const SERVER: u8 = 1;

/// A director with one real server, and clients.
#[derive(Debug)]
pub struct Load {
    lab: Lab,
    target: SocketAddr,
    size: Size,
}

/// What a window took.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The time of the CPU: of all packets together, or of each connection while its packets come and go.
    pub busy_ns: Vec<u64>,
    /// The time of the CPU in which all connections ended; 0 where none has.
    pub ends_ns: u64,
    /// Packets that IPVS has counted, in both directions.
    pub packets: u64,
    /// Those from the client.
    pub incoming: u64,
}

impl Load {
    /// Builds the director; IPVS estimates nothing meanwhile, which would take turns with what is measured.
    pub fn new(size: Size) -> Result<Self> {
        let lab = Lab::new(SERVER)?;
        lab.director()
            .set_sysctl("net/ipv4/vs/run_estimation", "0")?;
        lab.add_service(VIP, "rr")?;
        let target = VIP.address();
        let address = SocketAddr::new(VIP.server_address(SERVER), target.port());
        let listener = lab.server(SERVER).run(|| {
            TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
        })?;
        let (is_first, first) = mpsc::channel();
        // It ends with the process.
        thread::spawn(move || {
            let is_told = is_first.send(setpriority_process(None, FIRST));
            is_told.is_ok().then(|| serve(&listener))
        });
        let set = first.recv().context("the server's thread has ended")?;
        set.context("cannot let the server go first")?;
        lab.add_server(VIP, SERVER, 1)?;
        Ok(Self { lab, target, size })
    }

    /// The director and those around it.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Traffic of both kinds that is not measured, until nothing is left of it; gives its connections.
    pub fn warm_up(&self) -> Result<u32> {
        self.lab.client().run(|| {
            for _ in 1..WARM_CONNECTIONS {
                self.session(1)?;
            }
            self.session(WARM_REQUESTS)
        })?;
        self.settle()?;
        wait::idle_cpu()?;
        Ok(WARM_CONNECTIONS)
    }

    /// Connections one after another, with a window in the middle of each.
    pub fn kept_alive(&self) -> Result<Vec<Taken>> {
        let taken = self.lab.client().run(|| {
            let windows = (0..self.size.kept_alive).map(|_| {
                let mut stream = traffic::open(self.target)?;
                for _ in 0..WARM_REQUESTS {
                    traffic::exchange(&mut stream)?;
                }
                let taken = self.window(|| {
                    let all = || (0..REQUESTS).try_for_each(|_| traffic::exchange(&mut stream));
                    Ok((vec![timed(all)?], 0))
                })?;
                reset(stream)?;
                Ok(taken)
            });
            windows.collect::<Result<Vec<_>>>()
        })?;
        self.settle()?;
        Ok(taken)
    }

    /// Connections of one request each, from the first SYN of the first until all are freed.
    pub fn connections(&self) -> Result<Taken> {
        let taken = self.window(|| {
            let start_ns = wait::monotonic_ns();
            let each_ns = self.lab.client().run(|| {
                let sessions = (0..self.size.connections).map(|_| timed(|| self.session(1)));
                sessions.collect::<Result<Vec<_>>>()
            })?;
            let traffic = Duration::from_nanos(wait::monotonic_ns() - start_ns);
            thread::sleep(CLOSE.saturating_sub(traffic + EARLY));
            Ok((each_ns, others_ns(traffic + EARLY + LATE)))
        })?;
        ensure!(self.is_empty()?, "connections have not ended in time");
        Ok(taken)
    }

    fn session(&self, requests: u32) -> Result<()> {
        let mut stream = traffic::open(self.target)?;
        for _ in 0..requests {
            traffic::exchange(&mut stream)?;
        }
        reset(stream)
    }

    /// What `traffic` and the ends of its connections, which say how long they took, are seen as.
    fn window(&self, traffic: impl FnOnce() -> Result<(Vec<u64>, u64)>) -> Result<Taken> {
        let packets = self.lab.packets()?;
        let (busy_ns, ends_ns) = traffic()?;
        let packets = self.lab.packets()?.since(packets);
        Ok(Taken {
            busy_ns,
            ends_ns,
            packets: packets.total(),
            incoming: packets.incoming,
        })
    }

    /// Waits until all connections have ended.
    fn settle(&self) -> Result<()> {
        thread::sleep(CLOSE + LATE);
        ensure!(self.is_empty()?, "connections have not ended in time");
        Ok(())
    }

    fn is_empty(&self) -> Result<bool> {
        let connections = self.lab.director().proc_net("ip_vs_conn")?;
        // The first line has the titles.
        Ok(connections.lines().count() == 1)
    }
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<u64> {
    let start_ns = wait::monotonic_ns();
    work()?;
    Ok(wait::monotonic_ns() - start_ns)
}

/// Closes by a reset.
fn reset(stream: TcpStream) -> Result<()> {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .context("cannot have a connection reset")?;
    drop(stream);
    Ok(())
}

/// Spins for so long, and gives the time that somebody else took meanwhile: a turn that nobody disturbs always takes as many
/// instructions.
fn others_ns(duration: Duration) -> u64 {
    let start_ns = wait::monotonic_ns();
    let mut now_ns = start_ns;
    let mut turns = 0;
    let mut turn_ns = u64::MAX;
    while Duration::from_nanos(now_ns - start_ns) < duration {
        turn();
        let next_ns = wait::monotonic_ns();
        turn_ns = turn_ns.min(next_ns - now_ns);
        turns += 1;
        now_ns = next_ns;
    }
    (now_ns - start_ns) - turns * turn_ns
}

fn turn() {
    for step in 0..10_000 {
        black_box(step);
    }
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
