//! Live counters: at every moment they are those of the traffic, whatever the kernel's copies say.
//!
//! A sender counts its datagrams before it sends and after the answer has come. Whoever reads the counters between
//! two looks at these counts must find nothing below the first and nothing above the second.

use std::{
    array,
    net::{SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::{
    btf::{parse::Btf, resolve::resolve},
    ipvs::{
        netlink::Ipvs,
        table::{Service, Stats, Table},
    },
    kernel::Kernel,
    model::id::{DestinationId, ForwardingMethod, Protocol, ServiceId},
    probe::{LiveCounters, LiveProbes},
};
use ipvs_observer_tests::{director::Lab, ipvs_admin, services::Vip, wait};

use crate::fixture::stay_on;

const PORT: u16 = 53;
const SERVERS: usize = 2;
/// Of the guest.
const CPUS: usize = 2;
/// Between two readings: twenty of them for each copy that the kernel makes.
const INTERVAL: Duration = Duration::from_millis(100);
const READINGS: usize = 50;
/// What the sender waits between two datagrams.
const PACE: Duration = Duration::from_millis(2);
/// A datagram with its headers, as IPVS counts bytes.
const DATAGRAM_BYTES: u64 = 20 + 8 + 4;
/// A datagram that is waited for longer is lost.
const STUCK: Duration = Duration::from_secs(60);

#[cfg_attr(feature = "vm", test)]
fn live_counters_are_the_senders_at_every_reading() {
    let lab = Lab::new(2).expect("the lab is built");
    observe(&lab);
}

#[cfg_attr(feature = "vm", test)]
fn live_counters_are_the_senders_while_the_kernel_makes_no_copies() {
    let lab = Lab::new(2).expect("the lab is built");
    let sysctl = "net/ipv4/vs/run_estimation";
    let is_there = std::path::Path::new("/proc/sys").join(sysctl).exists();
    if is_there {
        lab.director().set_sysctl(sysctl, "0").expect("it is set");
    }
    let copied = observe(&lab);
    // Kernels without the switch always make copies.
    assert_eq!(
        copied == 0,
        is_there,
        "{copied} packets in the kernel's copy"
    );
}

#[cfg_attr(feature = "vm", test)]
fn counters_that_are_zeroed_are_zero_at_once() {
    let lab = Lab::new(2).expect("the lab is built");
    let sender = Sender::new(&lab).expect("the service is set up");
    lab.client()
        .run(|| sender.send(10, Duration::ZERO))
        .expect("every datagram is answered");
    let (live, zeroed) = lab
        .director()
        .run(|| {
            let mut reader = Reader::new()?;
            let live = reader.live()?;
            // Zeroing takes the kernel's copy for where counters stand, and what it lacks counts from then on.
            wait::until("a copy that has caught up", wait::PATIENCE, || {
                let copied = reader.copied()?;
                let traffic = |table: &Table| stats(service(table).stats).traffic;
                Ok((traffic(&copied) == traffic(&live)).then_some(()))
            })?;
            ipvs_admin::zero()?;
            Ok((live, reader.live()?))
        })
        .expect("the table is read");
    let packets = |table: &Table| stats(service(table).stats).traffic.in_packets;
    assert_eq!((packets(&live), packets(&zeroed)), (10, 0));
    for destination in &service(&zeroed).destinations {
        assert_eq!(stats(destination.stats).traffic.in_packets, 0);
    }
}

#[cfg_attr(feature = "vm", test)]
fn what_each_cpu_has_counted_is_summed() {
    let lab = Lab::new(2).expect("the lab is built");
    let sender = Sender::new(&lab).expect("the service is set up");
    for cpu in 0..CPUS {
        let send = || {
            stay_on(cpu)?;
            sender.send(10, Duration::ZERO)
        };
        lab.client().run(send).expect("every datagram is answered");
    }
    let (live, counted) = lab
        .director()
        .run(|| Ok((Reader::new()?.live()?, Kernel::at("/").stats_per_cpu()?)))
        .expect("both are read");
    let by_cpu: Vec<_> = counted.cpus.iter().map(|cpu| cpu.traffic).collect();
    assert!(
        by_cpu.iter().take(CPUS).all(|cpu| cpu.in_packets > 0),
        "{by_cpu:?}"
    );
    assert_eq!(counted.live().in_packets, 20);
    let stats = stats(service(&live).stats);
    assert_eq!(stats.traffic, counted.live());
}

/// Sends and reads side by side; gives what the kernel's own copy says in the end.
fn observe(lab: &Lab) -> u64 {
    let sender = Sender::new(lab).expect("the service is set up");
    let stopped = AtomicBool::new(false);
    let copied = thread::scope(|scope| {
        let sending = scope.spawn(|| lab.client().run(|| sender.send_until(&stopped)));
        let copied = lab.director().run(|| {
            let mut reader = Reader::new()?;
            for _ in 0..READINGS {
                thread::sleep(INTERVAL);
                sender.check(&mut reader)?;
            }
            Ok(stats(service(&reader.copied()?).stats).traffic.in_packets)
        });
        // Before anything can panic, else the sender would never end.
        stopped.store(true, Ordering::SeqCst);
        let sent = sending.join().expect("the sender does not panic");
        sent.expect("every datagram is answered");
        copied.expect("every reading is between the sender's counts")
    });
    let answered: u64 = sender.counts.answered.iter().map(load).sum();
    assert!(
        answered > READINGS as u64,
        "only {answered} datagrams were sent"
    );
    copied
}

/// Reads the table with and without live counters.
struct Reader {
    ipvs: Ipvs,
    probes: LiveProbes,
}

impl Reader {
    fn new() -> Result<Self> {
        let kernel = Kernel::at("/");
        let images = kernel.btf()?;
        let btf = Btf::parse(&images.base, images.ip_vs.as_deref())?;
        Ok(Self {
            ipvs: Ipvs::open()?,
            probes: LiveProbes::start(&resolve(&btf), kernel.process()?)?,
        })
    }

    fn live(&mut self) -> Result<Table> {
        let counters = LiveCounters::reader(Some(self.probes.counters()));
        let mut counters = counters;
        Ok(self.ipvs.table(&mut counters)?)
    }

    fn copied(&mut self) -> Result<Table> {
        Ok(self.ipvs.table(&mut |_, _| None)?)
    }
}

/// A client with a socket for each server, and its counts by server.
struct Sender {
    target: SocketAddr,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    begun: [AtomicU64; SERVERS],
    answered: [AtomicU64; SERVERS],
}

impl Sender {
    fn new(lab: &Lab) -> Result<Self> {
        let target = SocketAddr::new(Vip::V4.address().ip(), PORT);
        let id = id(target);
        lab.director().run(|| ipvs_admin::add_service(&id, "rr"))?;
        for index in 0..SERVERS {
            let destination = server(index);
            lab.director().run(|| {
                let method = ForwardingMethod::Masquerade;
                ipvs_admin::add_destination(&id, &destination, method, 1)
            })?;
            let address = SocketAddr::new(destination.address, PORT);
            let number = u8::try_from(index + 1)?;
            let socket = lab.server(number).run(|| socket(address))?;
            // It ends with the machine: no datagram is its last.
            thread::spawn(move || answer(&socket, number));
        }
        Ok(Self {
            target,
            counts: Counts::default(),
        })
    }

    fn send_until(&self, stopped: &AtomicBool) -> Result<()> {
        let sockets = self.sockets()?;
        while !stopped.load(Ordering::SeqCst) {
            for (index, socket) in &sockets {
                self.exchange(*index, socket)?;
            }
            thread::sleep(PACE);
        }
        Ok(())
    }

    /// `datagrams` in all, with those that find out which server a socket has.
    fn send(&self, datagrams: u64, pace: Duration) -> Result<()> {
        let sockets = self.sockets()?;
        let mut left = datagrams - sockets.len() as u64;
        for (index, socket) in sockets.iter().cycle() {
            if left == 0 {
                return Ok(());
            }
            self.exchange(*index, socket)?;
            left -= 1;
            thread::sleep(pace);
        }
        Ok(())
    }

    /// A socket for each server; who answers tells which one round robin gave it.
    fn sockets(&self) -> Result<Vec<(usize, UdpSocket)>> {
        (0..SERVERS)
            .map(|_| {
                let socket = socket("0.0.0.0:0".parse()?)?;
                socket.connect(self.target)?;
                // Until the answer it may be anybody's.
                for begun in &self.counts.begun {
                    begun.fetch_add(1, Ordering::SeqCst);
                }
                let index = ask(&socket)?;
                ensure!(index < SERVERS, "an answer of server {index}");
                for (other, begun) in self.counts.begun.iter().enumerate() {
                    if other != index {
                        begun.fetch_sub(1, Ordering::SeqCst);
                    }
                }
                self.counts.answered[index].fetch_add(1, Ordering::SeqCst);
                Ok((index, socket))
            })
            .collect()
    }

    fn exchange(&self, index: usize, socket: &UdpSocket) -> Result<()> {
        self.counts.begun[index].fetch_add(1, Ordering::SeqCst);
        ensure!(ask(socket)? == index, "the connection changed its server");
        self.counts.answered[index].fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// One reading between two looks at the counts.
    fn check(&self, reader: &mut Reader) -> Result<()> {
        let at_least: [u64; SERVERS] = array::from_fn(|index| load(&self.counts.answered[index]));
        let before_ns = wait::monotonic_ns();
        let table = reader.live()?;
        let after_ns = wait::monotonic_ns();
        let at_most: [u64; SERVERS] = array::from_fn(|index| load(&self.counts.begun[index]));

        let service = service(&table);
        let servers = service.destinations.iter().map(|destination| {
            let index = (0..SERVERS).find(|&index| server(index) == destination.id);
            let index = index.context("another server")?;
            Ok((stats(destination.stats), at_least[index], at_most[index]))
        });
        let servers = servers.collect::<Result<Vec<_>>>()?;
        ensure!(servers.len() == SERVERS, "not all servers are there");
        let whole = (
            stats(service.stats),
            at_least.iter().sum(),
            at_most.iter().sum(),
        );
        for (stats, at_least, at_most) in servers.into_iter().chain([whole]) {
            let read_ns = stats.read_at.context("not live")?.as_nanos();
            ensure!(
                (u128::from(before_ns)..=u128::from(after_ns)).contains(&read_ns),
                "read at {read_ns}, not from {before_ns} to {after_ns}"
            );
            let traffic = stats.traffic;
            for (packets, bytes) in [
                (traffic.in_packets, traffic.in_bytes),
                (traffic.out_packets, traffic.out_bytes),
            ] {
                ensure!(
                    (at_least..=at_most).contains(&packets),
                    "{packets} packets, not {at_least} to {at_most}"
                );
                let expected = at_least * DATAGRAM_BYTES..=at_most * DATAGRAM_BYTES;
                ensure!(expected.contains(&bytes), "{bytes} bytes, not {expected:?}");
            }
        }
        Ok(())
    }
}

fn id(target: SocketAddr) -> ServiceId {
    ServiceId::Address {
        protocol: Protocol::UDP,
        address: target.ip(),
        port: target.port(),
    }
}

fn server(index: usize) -> DestinationId {
    let number = u8::try_from(index + 1).expect("there are few servers");
    DestinationId {
        address: Vip::V4.server_address(number),
        port: PORT,
    }
}

fn service(table: &Table) -> &Service {
    table.services.first().expect("there is one service")
}

#[track_caller]
fn stats(stats: Option<Stats>) -> Stats {
    stats.expect("the kernel sends counters")
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::SeqCst)
}

fn socket(address: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
    socket.set_read_timeout(Some(STUCK))?;
    Ok(socket)
}

/// Asks once; gives the index of the server that answers.
fn ask(socket: &UdpSocket) -> Result<usize> {
    let mut answer = [0; 4];
    socket.send(&[0; 4])?;
    let length = socket.recv(&mut answer).context("no answer")?;
    ensure!(length == answer.len(), "an answer of {length} bytes");
    Ok(usize::from(answer[0]) - 1)
}

/// Answers with the server's number, for ever.
fn answer(socket: &UdpSocket, number: u8) {
    let mut datagram = [0; 4];
    while let Ok((_, client)) = socket.recv_from(&mut datagram) {
        if socket.send_to(&[number; 4], client).is_err() {
            return;
        }
    }
}
