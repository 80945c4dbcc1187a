//! What cannot work ends at once: one line on standard error that says what is wrong,
//! the documented exit status, and nothing left attached.

use std::{env, fs, process::Command};

use ipvs_observer_tests::{
    agent::{self, Outcome, Rights},
    director::Lab,
    services::Vip,
};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    thread::CapabilitySet,
};

use crate::fixture::{assert_one_line, attached_probes};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const UNSUPPORTED: i32 = 3;
const NOT_PERMITTED: i32 = 4;

#[cfg_attr(feature = "vm", test)]
fn a_user_without_rights_is_told_which_are_missing() {
    assert_fails(Rights::Nobody, &["top", "--once"], NOT_PERMITTED, "CAP_");
}

#[cfg_attr(feature = "vm", test)]
fn root_without_a_capability_is_told_which() {
    // CAP_SYS_ADMIN holds the rights of CAP_BPF and CAP_PERFMON too.
    for (missing, name) in [
        (CapabilitySet::BPF | CapabilitySet::SYS_ADMIN, "CAP_BPF"),
        (
            CapabilitySet::PERFMON | CapabilitySet::SYS_ADMIN,
            "CAP_PERFMON",
        ),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    ] {
        assert_fails(
            Rights::RootWithout(missing),
            &["top", "--once"],
            NOT_PERMITTED,
            name,
        );
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_service_that_does_not_exist_is_an_error() {
    let arguments = ["top", "--once", "-t", "10.9.0.99:80"];
    assert_fails(Rights::Root, &arguments, FAILED, "virtual service");
}

#[cfg_attr(feature = "vm", test)]
fn a_server_that_does_not_exist_is_an_error() {
    let arguments = ["top", "--once", "-r", "10.2.9.9:80"];
    assert_fails(Rights::Root, &arguments, FAILED, "10.2.9.9:80");
}

#[cfg_attr(feature = "vm", test)]
fn an_interval_of_zero_is_wrong_usage() {
    assert_fails(Rights::Root, &["top", "-i", "0"], USAGE, "interval");
}

#[cfg_attr(feature = "vm", test)]
fn a_config_file_that_cannot_be_read_is_named() {
    let file = "/nowhere/ipvs-observer.toml";
    assert_fails(
        Rights::Root,
        &["top", "--once", "--config", file],
        USAGE,
        file,
    );
}

#[cfg_attr(feature = "vm", test)]
fn a_config_file_that_cannot_be_used_is_named_with_the_line() {
    let file = env::temp_dir().join("ipvs-observer-wrong.toml");
    fs::write(&file, "interval = \"1s\"\nintervall = \"1s\"\n").expect("it can be written");
    let file = file.to_str().expect("the path is text");
    assert_fails(
        Rights::Root,
        &["top", "--once", "--config", file],
        USAGE,
        "line 2",
    );
}

#[cfg_attr(feature = "vm", test)]
fn a_kernel_without_btf_is_told_apart() {
    let btf = "/sys/kernel/btf";
    let outcome = {
        let lab = lab();
        mount("none", btf, "tmpfs", MountFlags::empty(), None).expect("BTF can be hidden");
        let outcome = agent::run(lab.director(), Rights::Root, &["top", "--once"]);
        unmount(btf, UnmountFlags::empty()).expect("BTF can be shown again");
        outcome.expect("the agent runs")
    };
    assert_eq!(outcome.status.code(), Some(UNSUPPORTED), "{outcome:?}");
    assert_one_line(&outcome.stderr, "BTF");
    assert_eq!(attached_probes(), Vec::<String>::new());
}

#[cfg_attr(feature = "vm", test)]
fn a_lab_lets_a_correct_command_succeed() {
    let outcome = run_in_lab(Rights::Root, &["top", "--once"]);
    assert!(outcome.status.success(), "{outcome:?}");
    let version = Command::new(agent::BINARY)
        .arg("--version")
        .output()
        .expect("it runs");
    assert!(version.status.success(), "{version:?}");
}

#[track_caller]
fn assert_fails(rights: Rights, arguments: &[&str], status: i32, says: &str) {
    let outcome = run_in_lab(rights, arguments);
    assert_eq!(outcome.status.code(), Some(status), "{outcome:?}");
    assert_one_line(&outcome.stderr, says);
    assert_eq!(
        outcome.stdout,
        Vec::<String>::new(),
        "a failed start prints no data"
    );
    assert_eq!(attached_probes(), Vec::<String>::new());
}

/// A director where nothing but the arguments or the rights is wrong.
fn run_in_lab(rights: Rights, arguments: &[&str]) -> Outcome {
    agent::run(lab().director(), rights, arguments).expect("the agent runs and ends")
}

fn lab() -> Lab {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V4, "rr")
        .expect("the service is added");
    lab.add_server(Vip::V4, 1, 1).expect("the server is added");
    lab
}
