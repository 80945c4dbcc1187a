//! Messages of the programs: on the agent's standard error with `-vv`, and otherwise not
//! even in the code that the kernel runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ipvs_observer_tests::{agent::Agent, services::Vip};

use crate::fixture::Balanced;

/// What the programs say once of each connection.
const SAID_OF_A_CONNECTION: &str = "goes to slot";

const VIP: Vip = Vip::V4;
const SERVERS: u8 = 3;
const CONNECTIONS: usize = 6;

#[cfg_attr(feature = "vm", test)]
fn with_vv_the_programs_tell_of_each_connection() {
    let balanced = Balanced::new(VIP, SERVERS);
    let agent = agent(&balanced, &["-vv"]);
    connect(&balanced);
    agent
        .await_stderr("a message for each connection", |lines| {
            messages(lines).len() >= CONNECTIONS
        })
        .expect("it comes");
    let outcome = agent.stop().expect("the agent ends");
    assert!(outcome.status.success(), "{outcome:?}");
    let lines: Vec<_> = outcome.stderr.lines().map(str::to_owned).collect();
    let messages = messages(&lines);
    assert_eq!(messages.len(), CONNECTIONS, "{}", outcome.stderr);
    let slots: BTreeSet<_> = messages
        .iter()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!(slots.len(), usize::from(SERVERS), "{}", outcome.stderr);
}

#[cfg_attr(feature = "vm", test)]
fn without_vv_the_programs_say_nothing() {
    for verbosity in [&[][..], &["-v"], &["-q"]] {
        let balanced = Balanced::new(VIP, SERVERS);
        let agent = agent(&balanced, verbosity);
        connect(&balanced);
        // An interval that has all connections comes after whatever was said of them.
        agent
            .await_report("an interval with all connections", |report| {
                report
                    .service(&VIP.name())
                    .and_then(|service| service.total("scheduled"))
                    .is_ok_and(|scheduled| scheduled == CONNECTIONS as u64)
            })
            .expect("it is printed");
        let outcome = agent.stop().expect("the agent ends");
        let said: Vec<_> = outcome.stderr.lines().map(str::to_owned).collect();
        assert_eq!(messages(&said), Vec::<&str>::new(), "with {verbosity:?}");
        if verbosity != ["-v"] {
            assert_eq!(outcome.stderr, "", "with {verbosity:?}");
        }
    }
}

/// What the verifier finds cannot be reached is taken out of a program before it runs, and
/// the verifier counts what it has walked.
#[cfg_attr(feature = "vm", test)]
fn messages_that_are_off_are_not_in_the_loaded_code() {
    let balanced = Balanced::new(VIP, SERVERS);
    let [default, verbose, debug] = [&[][..], &["-v"], &["-vv"]].map(|verbosity| {
        let agent = agent(&balanced, verbosity);
        let walked = verified_insns(agent.pid());
        agent.stop().expect("the agent ends");
        walked
    });
    assert_eq!(default, verbose, "-v changed the loaded code");
    assert!(!default.is_empty(), "no program in the agent's descriptors");
    assert_eq!(
        default.keys().collect::<Vec<_>>(),
        debug.keys().collect::<Vec<_>>(),
        "not the same programs"
    );
    for (program, insns) in &default {
        let with_messages = debug[program];
        assert!(
            *insns <= with_messages,
            "the program with tag {program} has {insns} instructions without messages, \
             {with_messages} with them"
        );
    }
    let [without, with] = [&default, &debug].map(|walked| walked.values().sum::<u64>());
    assert!(
        without < with,
        "{without} instructions without messages, {with} with them"
    );
}

fn agent(balanced: &Balanced, verbosity: &[&str]) -> Agent {
    let arguments = [&["-i", "500ms"], verbosity].concat();
    Agent::start(balanced.lab.director(), &arguments).expect("the agent starts")
}

fn connect(balanced: &Balanced) {
    let connections = u32::try_from(CONNECTIONS).expect("they are few");
    balanced.sessions(connections, 1);
    balanced.lab.quiesce().expect("the director becomes idle");
}

fn messages(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .map(String::as_str)
        .filter(|line| line.contains(SAID_OF_A_CONNECTION))
        .collect()
}

/// How many instructions the verifier walked in each program that process `pid` has
/// loaded, by the program's tag, which is made of its code before the verifier.
fn verified_insns(pid: u32) -> BTreeMap<String, u64> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the agent lives");
    descriptors
        .filter_map(|descriptor| {
            let path = descriptor.expect("the folder can be read").path();
            // The agent may close a descriptor meanwhile.
            let text = fs::read_to_string(path).ok()?;
            let field = |name: &str| {
                let mut lines = text.lines();
                lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
            };
            // A link has the tag of its program too, but not this.
            let insns = field("verified_insns:")?;
            let tag = field("prog_tag:").expect("a program has a tag");
            Some((tag, insns.parse().expect("it is a number")))
        })
        .collect()
}
