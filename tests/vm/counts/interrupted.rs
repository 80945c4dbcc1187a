//! Signals that end a list: the first when what is being printed is printed, the second at once.

use std::{
    io::Read as _,
    process::{Child, ChildStdout, Command, Stdio},
};

use ipvs_observer::{
    cli::SchemaOf,
    model::id::{Protocol, ServiceId},
};
use ipvs_observer_tests::{
    agent::{self, BINARY, Rights},
    director::Lab,
    ipvs_admin::bulk::Bulk,
    netns::Netns,
    schema,
    services::Vip,
    wait,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::attached_probes;

const INTERRUPTED: i32 = 130;
/// In JSON they are more than a pipe holds, so that the agent waits for its reader.
const SERVICES: u16 = 1000;

#[cfg_attr(feature = "vm", test)]
fn a_signal_ends_the_wait_for_the_first_rates() {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V4, "rr").expect("it is added");
    let arguments = ["list", "-n", "--rate", "--live", "-i", "3600s"];
    let agent = agent::launch(lab.director(), Rights::Root, &arguments).expect("it starts");
    wait::until("the programs to be attached", wait::PATIENCE, || {
        Ok((!attached_probes().is_empty()).then_some(()))
    })
    .expect("the agent reads live counters");
    let outcome = agent.stop().expect("the agent ends");
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
    assert_eq!(outcome.stderr, "");
    assert_eq!(outcome.stdout, Vec::<String>::new());
    assert_eq!(attached_probes(), Vec::<String>::new());
}

#[cfg_attr(feature = "vm", test)]
fn a_list_that_is_interrupted_is_printed_whole() {
    let netns = large_director();
    let (mut agent, mut stdout, first) = started(&netns);
    interrupt(&agent);
    let mut line = first;
    stdout.read_to_string(&mut line).expect("it is text");
    let status = agent.wait().expect("the agent ends");
    assert_eq!(status.code(), Some(0));
    let listing = schema::checked(SchemaOf::List, &line).expect("it is a whole listing");
    let services = listing["services"].as_array().map(Vec::len);
    assert_eq!(services, Some(usize::from(SERVICES)));
}

#[cfg_attr(feature = "vm", test)]
fn a_second_signal_ends_a_list_that_waits_for_its_reader() {
    let netns = large_director();
    let (mut agent, _stdout, _first) = started(&netns);
    // Signals that come at once are one, so it is interrupted until it ends; nobody reads meanwhile, so the first one
    // alone cannot end it.
    let status = wait::until("the agent to end", wait::PATIENCE, || {
        interrupt(&agent);
        Ok(agent.try_wait()?)
    });
    let status = status.expect("the agent ends");
    assert_eq!(status.code(), Some(INTERRUPTED));
}

fn large_director() -> Netns {
    let netns = Netns::new("large").expect("a namespace can be made");
    netns
        .run(|| {
            let mut bulk = Bulk::open()?;
            for port in 1..=SERVICES {
                let service = ServiceId::Address {
                    protocol: Protocol::TCP,
                    address: Vip::V4.address().ip(),
                    port,
                };
                bulk.add_service(&service, "rr")?;
            }
            bulk.finish()
        })
        .expect("the services are added");
    netns
}

/// An agent that lists everything as JSON, its output, and the beginning of that, which is all that is read.
fn started(netns: &Netns) -> (Child, ChildStdout, String) {
    let mut command = Command::new(BINARY);
    command.args(["list", "-o", "json"]).stdout(Stdio::piped());
    let mut agent = netns.spawn(&mut command).expect("the agent starts");
    let mut stdout = agent.stdout.take().expect("it is piped");
    let mut first = [0; 1];
    stdout.read_exact(&mut first).expect("it prints");
    let first = String::from_utf8(first.into()).expect("it is text");
    (agent, stdout, first)
}

/// As Ctrl-C does.
fn interrupt(agent: &Child) {
    let pid = i32::try_from(agent.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("it has a number"), Signal::INT).expect("it is not waited for yet");
}
