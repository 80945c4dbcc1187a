//! When a run ends, what of the table it shows, and who else may look at the same time.
//! Blocks for people are `text`'s, options that make no sense `bad_input`'s.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use ipvs_observer_tests::{
    agent::{self, Agent, Outcome, Rights},
    director::Lab,
    report::{Report, Row},
    services::Vip,
    traffic::{self, Server},
};

use crate::fixture::{
    Balanced, MEASURES, assert_latency_count, assert_one_line, assert_total, attached_probes,
    summary,
};

const FAILED: i32 = 1;
const COUNTERS: [&str; 4] = ["scheduled", "established", "refused", "dropped"];
#[cfg_attr(feature = "vm", test)]
fn once_is_one_object() {
    let balanced = Balanced::new(Vip::V4, 2);
    let agent =
        Agent::start(balanced.lab.director(), &["--once", "-i", "1s"]).expect("the agent starts");
    balanced.sessions(2, 1);
    let outcome = agent.finish().expect("the agent ends by itself");
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(outcome.stdout.len(), 1, "{:?}", outcome.stdout);
    let only = outcome.summary().expect("it is for the whole run");
    let window_ns = only.window_ns().expect("it has a window");
    assert!(
        window_ns >= 1_000_000_000,
        "a window of {window_ns} ns, not 1 s"
    );
}

#[cfg_attr(feature = "vm", test)]
fn once_is_one_block() {
    let balanced = Balanced::new(Vip::V4, 2);
    let agent = Agent::start_plain(balanced.lab.director(), &["--once", "-i", "1s"])
        .expect("the agent starts");
    let outcome = agent.finish().expect("the agent ends by itself");
    assert!(outcome.status.success(), "{outcome:?}");
    let ends = outcome.stdout.iter().filter(|line| line.is_empty()).count();
    assert_eq!(ends, 1, "not one block: {:?}", outcome.stdout);
    let services = outcome
        .stdout
        .iter()
        .filter(|line| line.starts_with(&Vip::V4.name()))
        .count();
    assert_eq!(services, 1, "{:?}", outcome.stdout);
}

/// Under load from before the start to after the end, so that every window has its part.
#[cfg_attr(feature = "vm", test)]
fn a_run_with_a_duration_ends_by_itself_and_its_totals_are_the_sums_of_its_windows() {
    let balanced = Balanced::new(Vip::V4, 2);
    let outcome = under_load(&balanced, || {
        Agent::start(balanced.lab.director(), &["-d", "3s", "-i", "1s"])
            .expect("the agent starts")
            .finish()
            .expect("the agent ends by itself")
    });
    assert!(outcome.status.success(), "{outcome:?}");
    let summary = outcome.summary().expect("the run is summed up");
    let reports = outcome.reports().expect("every line is JSON");
    let finals = reports.iter().filter(|report| report.is_final()).count();
    assert_eq!(finals, 1, "only the last object is the final one");
    assert!(reports.len() >= 2, "no window before the end");

    let elapsed_ns = summary.elapsed_ns().expect("it is stated");
    assert!(elapsed_ns >= 3_000_000_000, "{elapsed_ns} ns, not 3 s");
    let windows_ns: u64 = reports
        .iter()
        .map(|report| report.window_ns().expect("it has a window"))
        .sum();
    assert_eq!(windows_ns, elapsed_ns, "windows neither overlap nor gap");
    let rows_of = |report| -> Vec<[u64; 16]> {
        let rows: Vec<_> = rows(report, Vip::V4);
        rows.into_iter().map(window_numbers).collect()
    };
    let mut sums = vec![[0; 16]; 3];
    for report in &reports {
        for (sum, numbers) in sums.iter_mut().zip(rows_of(report)) {
            for (sum, number) in sum.iter_mut().zip(numbers) {
                *sum += number;
            }
        }
    }
    let totals: Vec<_> = rows(&summary, Vip::V4)
        .into_iter()
        .map(total_numbers)
        .collect();
    assert_eq!(sums, totals, "sums of the windows, then totals");
    assert!(totals.iter().all(|numbers| numbers[0] > 0), "{totals:?}");
}

#[cfg_attr(feature = "vm", test)]
fn only_the_services_asked_for_are_shown() {
    let (lab, _applications) = two_services();
    let agents = [
        (
            vec!["-t", "10.9.0.1:80"],
            vec!["TCP 10.9.0.1:80".to_owned()],
        ),
        (
            vec!["-t", "[fd00:9::1]:*"],
            vec!["TCP [fd00:9::1]:80".to_owned()],
        ),
        (
            vec!["-t", "[fd00:9::1]:80", "-t", "10.9.0.1:80"],
            vec![Vip::V4.name(), Vip::V6.name()],
        ),
        (vec![], vec![Vip::V4.name(), Vip::V6.name()]),
    ]
    .map(|(arguments, expected)| {
        let agent = Agent::start(lab.director(), &arguments).expect("the agent starts");
        (agent, arguments, expected)
    });
    traffic::sessions(lab.client(), Vip::V4.address(), 4, 1).expect("it is answered");
    traffic::sessions(lab.client(), Vip::V6.address(), 7, 1).expect("it is answered");
    lab.quiesce().expect("the director becomes idle");
    for (agent, arguments, expected) in agents {
        let summary = summary(agent);
        let shown: Vec<_> = summary
            .services()
            .expect("they are listed")
            .map(|service| service.service_name().expect("it has a name"))
            .collect();
        assert_eq!(shown, expected, "with {arguments:?}");
        for name in shown {
            let sessions = if name == Vip::V4.name() { 4 } else { 7 };
            let service = summary.service(name).expect("it was just found");
            assert_total(service, "established", sessions);
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn only_the_servers_asked_for_are_shown() {
    let vip = Vip::V4;
    let balanced = Balanced::new(vip, 3);
    let agents = [
        (vec!["-r", "10.2.2.2:80"], vec!["10.2.2.2"]),
        (
            vec!["-r", "10.2.3.2", "-r", "10.2.1.2:*"],
            vec!["10.2.1.2", "10.2.3.2"],
        ),
    ]
    .map(|(arguments, expected)| {
        let director = balanced.lab.director();
        let agent = Agent::start(director, &arguments).expect("the agent starts");
        (agent, arguments, expected)
    });
    balanced.sessions(9, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
    for (agent, arguments, expected) in agents {
        let summary = summary(agent);
        let service = summary.service(&vip.name()).expect("the service is shown");
        let servers: Vec<_> = service.servers().expect("they are listed").collect();
        let shown: Vec<_> = servers
            .iter()
            .map(|server| server.address().expect("it has an address"))
            .collect();
        assert_eq!(shown, expected, "with {arguments:?}");
        for server in servers {
            assert_total(server, "established", 3);
        }
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_service_that_is_of_another_kind_does_not_exist() {
    let (lab, _applications) = two_services();
    for absent in [
        ["-u", "10.9.0.1:80"],
        ["--sctp-service", "10.9.0.1:80"],
        ["-t", "10.9.0.1:81"],
        ["-f", "47"],
    ] {
        let arguments = [&["top", "--once"][..], &absent].concat();
        let outcome = agent::run(lab.director(), Rights::Root, &arguments).expect("it runs");
        assert_eq!(outcome.status.code(), Some(FAILED), "{outcome:?}");
        assert_one_line(&outcome.stderr, "virtual service");
        assert_eq!(outcome.stdout, Vec::<String>::new(), "with {absent:?}");
        assert_eq!(attached_probes(), Vec::<String>::new());
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_reader_that_goes_is_a_quiet_end() {
    let balanced = Balanced::new(Vip::V4, 1);
    for format in ["json", "text"] {
        let arguments = ["top", "--plain", "-o", format, "-i", "100ms"];
        let outcome = agent::run_for_reader_of(1, balanced.lab.director(), &arguments)
            .expect("the agent ends without a reader");
        assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
        assert_eq!(outcome.stdout.len(), 1, "{outcome:?}");
        assert_eq!(outcome.stderr, "", "with {format}");
        assert_eq!(attached_probes(), Vec::<String>::new());
    }
}

#[cfg_attr(feature = "vm", test)]
fn agents_that_look_at_the_same_time_see_the_same() {
    let vip = Vip::V4;
    let (servers, each) = (3_u8, 10_u32);
    let balanced = Balanced::new(vip, servers);
    let agents = ["1s", "300ms"].map(|interval| {
        Agent::start(balanced.lab.director(), &["-i", interval]).expect("the agent starts")
    });
    balanced.sessions(u32::from(servers) * each, 2);
    balanced.lab.quiesce().expect("the director becomes idle");
    let [first, second] = agents.map(summary);
    for report in [&first, &second] {
        let rows = rows(report, vip);
        assert_eq!(rows.len(), 1 + usize::from(servers));
        for (row, servers) in rows.into_iter().zip([3, 1, 1, 1]) {
            let expected = u64::from(each * servers);
            assert_total(row, "scheduled", expected);
            assert_total(row, "established", expected);
            for measure in MEASURES {
                assert_latency_count(row, measure, expected);
            }
        }
        let losses = report.total_losses().expect("the losses are stated");
        assert_eq!(losses, Vec::<String>::new());
    }
    let [first, second] =
        [first, second].map(|report| report.total_coverage().expect("the coverage is stated"));
    assert_eq!(first, second);
    assert_eq!(first.hits, first.packets);
}

/// Does `work` while a client makes sessions one after another.
fn under_load(balanced: &Balanced, work: impl FnOnce() -> Outcome) -> Outcome {
    /// Ends the load even if the work panics.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stopped.load(Ordering::SeqCst) {
                balanced.sessions(2, 1);
            }
        });
        let _stop = Stop(&stopped);
        work()
    })
}

/// Both of the director's services, with one real server each.
fn two_services() -> (Lab, Vec<Server>) {
    let lab = Lab::new(1).expect("the lab is built");
    let applications = [Vip::V4, Vip::V6]
        .map(|vip| {
            lab.add_service(vip, "rr").expect("the service is added");
            lab.add_server(vip, 1, 1).expect("the server is added");
            lab.start_server(vip, 1, Duration::ZERO).expect("it starts")
        })
        .into();
    (lab, applications)
}

/// The service and then its real servers.
fn rows(report: &Report, vip: Vip) -> Vec<Row<'_>> {
    let service = report.service(&vip.name()).expect("the service is shown");
    let servers = service.servers().expect("they are listed");
    [service].into_iter().chain(servers).collect()
}

/// Every counter of the interval, and how many values each measure has and their sum.
fn window_numbers(row: Row<'_>) -> [u64; 16] {
    let counters = COUNTERS.map(|counter| row.counter(counter).expect("it is shown"));
    let latencies = MEASURES.map(|measure| {
        let latency = row.latency(measure).expect("it is shown");
        [latency.count, latency.sum_ns]
    });
    numbers(counters, latencies)
}

/// The same of the whole run.
fn total_numbers(row: Row<'_>) -> [u64; 16] {
    let counters = COUNTERS.map(|counter| row.total(counter).expect("it is shown"));
    let latencies = MEASURES.map(|measure| {
        let latency = row.total_latency(measure).expect("it is shown");
        [latency.count, latency.sum_ns]
    });
    numbers(counters, latencies)
}

fn numbers(counters: [u64; 4], latencies: [[u64; 2]; 6]) -> [u64; 16] {
    let all: Vec<_> = [&counters[..], latencies.as_flattened()].concat();
    all.try_into().expect("four and twelve are sixteen")
}
