//! Packet rates and the kernel's own counters, which IPVS copies only every two seconds:
//! both must be those of the traffic that there was.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ipvs_observer_tests::{
    agent::Agent,
    report::{PacketRates, Report, Row},
    services::Vip,
    traffic, wait,
};

use crate::fixture::{Balanced, summary};

const VIP: Vip = Vip::V4;
/// What the client waits between two requests.
const PACE: Duration = Duration::from_millis(20);
/// Windows of a second each that are looked at while traffic flows.
const WINDOWS: u32 = 6;
/// How far a rate may be off, since nobody sees the moment of a copy.
const TOLERANCE: f64 = 0.25;
/// A rate is never older than two copies are apart, and some.
const OLDEST_NS: u64 = 4_000_000_000;

#[cfg_attr(feature = "vm", test)]
fn rates_are_those_of_the_traffic_and_the_counters_those_of_the_kernel() {
    let balanced = Balanced::new(VIP, 1);
    let lab = &balanced.lab;
    let agent = Agent::start(lab.director(), &["-i", "1s"]).expect("the agent starts");
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| lab.client().run(|| keep_busy(&stopped)));
        let windows = (|| {
            agent.await_report("a first rate", |report| rates(report).is_some())?;
            let packets = lab.packets()?;
            let start_ns = wait::monotonic_ns();
            let windows = (0..WINDOWS)
                .map(|_| agent.await_report("a window", |_report| true))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let elapsed = Duration::from_nanos(wait::monotonic_ns() - start_ns);
            Ok::<_, anyhow::Error>((windows, lab.packets()?.since(packets), elapsed))
        })();
        // Before anything can panic, else the client would never end.
        stopped.store(true, Ordering::SeqCst);
        let (windows, packets, elapsed) = windows.expect("windows are printed");
        let shown: Vec<_> = windows.iter().filter_map(rates).collect();
        assert_eq!(shown.len(), windows.len(), "a rate that is known stays so");
        for rates in &shown {
            assert!(rates.age_ns < OLDEST_NS, "{rates:?}");
        }
        let incoming: Vec<_> = shown.iter().map(|rates| rates.in_per_s).collect();
        assert_close(&incoming, packets.incoming, elapsed);
        let outgoing: Vec<_> = shown.iter().map(|rates| rates.out_per_s).collect();
        assert_close(&outgoing, packets.outgoing, elapsed);
    });
    let expected = lab.quiesce().expect("the director becomes idle");
    agent
        .await_report("the kernel's last copy", |report| {
            let packets = report.service(&VIP.name()).map(Row::kernel_packets);
            matches!(packets, Ok(Ok(packets)) if packets == expected)
        })
        .expect("it has all packets");
    agent
        .await_report("a rate of nothing", |report| {
            rates(report).is_some_and(|rates| rates.in_per_s + rates.out_per_s == 0.0)
        })
        .expect("silence is seen");
    let summary = summary(agent);
    let service = summary.service(&VIP.name()).expect("the service is shown");
    let server = service
        .server(VIP.server_address(1))
        .expect("the server is shown");
    for row in [service, server] {
        let packets = row.kernel_packets().expect("the kernel counts");
        assert_eq!(packets, expected, "in {row:?}");
    }
}

/// One connection with a request now and then.
fn keep_busy(stopped: &AtomicBool) -> anyhow::Result<()> {
    let mut stream = traffic::open(VIP.address())?;
    while !stopped.load(Ordering::SeqCst) {
        traffic::exchange(&mut stream)?;
        thread::sleep(PACE);
    }
    traffic::close(stream)
}

fn rates(report: &Report) -> Option<PacketRates> {
    let service = report.service(&VIP.name()).expect("the service is shown");
    service.packet_rates().expect("rates are whole")
}

/// Fails unless the mean of the rates is that of so many packets in that time.
#[track_caller]
fn assert_close(rates: &[f64], packets: u64, elapsed: Duration) {
    let number = |count: u64| f64::from(u32::try_from(count).expect("there are few"));
    let true_rate = number(packets) / elapsed.as_secs_f64();
    let mean = rates.iter().sum::<f64>() / number(rates.len() as u64);
    assert!(
        (mean - true_rate).abs() <= true_rate * TOLERANCE,
        "{rates:?}, but {packets} packets passed in {elapsed:?}"
    );
}
