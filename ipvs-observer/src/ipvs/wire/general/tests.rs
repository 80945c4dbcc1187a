//! Answers about IPVS as a whole.

#![expect(
    clippy::indexing_slicing,
    reason = "tests cut and build lists of attributes"
)]

use super::*;
use crate::ipvs::wire::testing::{nla, nla_u16, nla_u32, survives};

fn master() -> Vec<Vec<u8>> {
    vec![
        nla_u32(1, 1),
        nla(2, b"eth0\0"),
        nla_u32(3, 7),
        nla_u16(4, 1400),
        nla_u16(7, 8849),
        nla(8, &[3]),
        nla(5, &[224, 0, 1, 44]),
    ]
}

fn read(attributes: &[Vec<u8>]) -> Result<Daemon, String> {
    daemon(&nla(3, &attributes.concat())).map_err(|error| error.to_string())
}

#[test]
fn the_info_is_version_and_size() {
    let answer = [nla_u32(1, 0x0001_0201), nla_u32(2, 4096), nla(9, &[1])].concat();
    let expected = Info {
        version: 0x0001_0201,
        connection_table_size: 4096,
    };
    assert_eq!(info(&answer), Ok(expected));
    let missing = |attribute| Err(WireError::Missing { attribute });
    assert_eq!(info(&nla_u32(2, 1)), missing("IPVS_INFO_ATTR_VERSION"));
    assert_eq!(
        info(&nla_u32(1, 1)),
        missing("IPVS_INFO_ATTR_CONN_TAB_SIZE")
    );
    survives(&nla_u32(1, 1), info);
}

#[test]
fn the_timeouts_are_three() {
    let answer = [nla_u32(4, 900), nla_u32(5, 120), nla_u32(6, 300)];
    let expected = Timeouts {
        tcp_s: 900,
        tcp_fin_s: 120,
        udp_s: 300,
    };
    assert_eq!(timeouts(&answer.concat()), Ok(expected));
    for (place, attribute) in [
        (0, "IPVS_CMD_ATTR_TIMEOUT_TCP"),
        (1, "IPVS_CMD_ATTR_TIMEOUT_TCP_FIN"),
        (2, "IPVS_CMD_ATTR_TIMEOUT_UDP"),
    ] {
        let mut answer = answer.to_vec();
        answer.remove(place);
        let expected = Err(WireError::Missing { attribute });
        assert_eq!(timeouts(&answer.concat()), expected);
    }
}

#[test]
fn every_attribute_of_a_daemon_is_read() {
    let expected = Daemon {
        state: DaemonState::Master,
        interface: "eth0".to_owned(),
        sync_id: 7,
        sync_maxlen: Some(1400),
        group: Some("224.0.1.44".parse().unwrap()),
        port: Some(8849),
        ttl: Some(3),
    };
    assert_eq!(read(&master()), Ok(expected));
}

#[test]
fn a_group_may_be_of_ipv6() {
    let mut attributes = master();
    let group = [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81];
    attributes[6] = nla(6, &group);
    attributes[0] = nla_u32(1, 2);
    let daemon = read(&attributes).unwrap();
    assert_eq!(daemon.group, Some("ff02::81".parse().unwrap()));
    assert_eq!(daemon.state, DaemonState::Backup);
    attributes.push(nla(5, &[224, 0, 0, 81]));
    assert_eq!(
        read(&attributes).unwrap_err(),
        "IPVS_DAEMON_ATTR_MCAST_GROUP6 comes with IPVS_DAEMON_ATTR_MCAST_GROUP, which excludes it"
    );
}

#[test]
fn an_old_kernel_says_less_of_a_daemon() {
    let mut attributes = master();
    attributes.truncate(3);
    let daemon = read(&attributes).unwrap();
    assert_eq!(daemon.sync_maxlen, None);
    assert_eq!((daemon.group, daemon.port, daemon.ttl), (None, None, None));
    for (place, name) in [
        (0, "IPVS_DAEMON_ATTR_STATE"),
        (1, "IPVS_DAEMON_ATTR_MCAST_IFN"),
        (2, "IPVS_DAEMON_ATTR_SYNC_ID"),
    ] {
        let mut attributes = attributes.clone();
        attributes.remove(place);
        assert_eq!(read(&attributes), Err(format!("{name} is missing")));
    }
}

#[test]
fn a_state_that_is_not_known_is_kept() {
    let mut attributes = master();
    attributes[0] = nla_u32(1, 3);
    let state = read(&attributes).unwrap().state;
    assert_eq!(state, DaemonState::Unknown(3));
}

#[test]
fn a_spoilt_daemon_is_survived() {
    survives(&nla(3, &master().concat()), daemon);
    assert_eq!(
        daemon(&nla(1, &[])).unwrap_err().to_string(),
        "IPVS_CMD_ATTR_SERVICE comes with IPVS_CMD_ATTR_DAEMON, which excludes it"
    );
}
