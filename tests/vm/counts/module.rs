//! The agent and the module `ip_vs`: looking for the netlink family must not load it.

use ipvs_observer_tests::{
    agent::{self, Agent, Rights},
    guest::modules,
    netns::Netns,
    wait,
};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_generic::{
    GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

use crate::fixture::{assert_one_line, attached_probes, doctor, probe_states};

/// What the kernel asks `/sbin/modprobe` for when somebody names the family.
const FAMILY_ALIAS: &str = "net-pf-16-proto-16-family-IPVS";
/// All of them read IPVS, each in a way of its own.
const COMMANDS: [&[&str]; 7] = [
    &["top", "--once"],
    &["list", "-n"],
    &["list", "-n", "-c"],
    &["list", "-n", "-S"],
    &["list", "--timeout"],
    &["list", "-o", "json"],
    &["list", "-n", "--stats", "--live"],
];

#[cfg_attr(feature = "vm", test)]
fn an_agent_without_ip_vs_says_so_and_does_not_load_it() {
    let netns = Netns::new("bare").expect("a namespace can be made");
    unload_ip_vs();
    let requests = modules::requests();

    for arguments in COMMANDS {
        let outcome = agent::run(&netns, Rights::Root, arguments).expect("it runs");
        assert_eq!(outcome.status.code(), Some(3), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout, Vec::<String>::new(), "{arguments:?}");
        assert_one_line(&outcome.stderr, "ip_vs");
    }
    let (status, report) = doctor(&netns, Rights::Root);
    assert_eq!(status, Some(3), "{report}");
    assert_eq!(report["verdict"], "no_ipvs");
    assert_eq!(probe_states(&report), ["unknown"]);
    assert!(!modules::is_loaded("ip_vs"), "the agent has loaded ip_vs");
    assert_eq!(
        modules::requests(),
        requests,
        "the agent had the kernel call modprobe"
    );
    assert_eq!(attached_probes(), Vec::<String>::new());

    // The same guest does load it for somebody who asks in the usual way.
    netns
        .run(|| {
            ask_for_the_family_by_name();
            Ok(())
        })
        .expect("the namespace can be entered");
    assert!(modules::is_loaded("ip_vs"), "asking by name loads ip_vs");
    assert!(modules::requests().iter().any(|name| name == FAMILY_ALIAS));
}

/// Probes do not hold the module, so it can go while somebody looks at it.
#[cfg_attr(feature = "vm", test)]
fn an_agent_whose_ip_vs_is_unloaded_ends_and_says_why() {
    let netns = Netns::new("bare").expect("a namespace can be made");
    modules::load("ip_vs").expect("ip_vs can be loaded");
    let agent = Agent::start(&netns, &["-i", "100ms"]).expect("the agent starts");
    unload_ip_vs();

    let outcome = agent.finish().expect("the agent ends");

    assert_eq!(outcome.status.code(), Some(3), "{outcome:?}");
    assert_one_line(&outcome.stderr, "IPVS is not loaded");
    assert_eq!(attached_probes(), Vec::<String>::new());
    modules::load("ip_vs").expect("ip_vs can be loaded again");
}

/// The namespaces of earlier tests are cleaned up in the background and hold the module
/// until then.
fn unload_ip_vs() {
    wait::until("ip_vs to be unused", wait::PATIENCE, || {
        let unloaded = modules::unload("ip_vs");
        Ok((unloaded.is_ok() && !modules::is_loaded("ip_vs")).then_some(()))
    })
    .expect("ip_vs can be unloaded");
}

fn ask_for_the_family_by_name() {
    let request = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName("IPVS".to_owned())],
    });
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let mut socket = Socket::new(NETLINK_GENERIC).expect("a netlink socket");
    socket.bind_auto().expect("it can be bound");
    socket
        .connect(&SocketAddr::new(0, 0))
        .expect("the kernel is there");
    socket.send(&bytes, 0).expect("the request is sent");
    socket.recv_from_full().expect("the kernel answers");
}
