//! Connections of real kernels, made-up ones of each kind, and lines that are none.

use super::{super::testing::net, *};

const CONN_HEADER: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n";
const SYNC_HEADER: &str =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Origin Expires\n";

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Reads all connections of `file` and gives them to `check` with their number from 0.
fn read(file: ConnectionFile, text: &[u8], mut check: impl FnMut(usize, Connection<'_>)) -> usize {
    let mut connections = Connections::start(file, text).unwrap();
    let mut count = 0;
    while let Some(connection) = connections.advance().unwrap() {
        check(count, connection);
        count += 1;
    }
    count
}

/// The one connection that `line` describes.
fn with_line(line: &[u8], check: impl Fn(Connection<'_>)) {
    let text = [CONN_HEADER.as_bytes(), line, b"\n"].concat();
    let count = read(ConnectionFile::Conn, &text, |_, connection| {
        check(connection);
    });
    assert_eq!(count, 1);
}

fn error_of(file: ConnectionFile, text: &[u8]) -> String {
    let mut connections = match Connections::start(file, text) {
        Ok(connections) => connections,
        Err(error) => return error.to_string(),
    };
    connections.advance().unwrap_err().to_string()
}

#[test]
fn connections_of_both_families_are_read() {
    let count = read(
        ConnectionFile::Conn,
        &net("6.12", "ip_vs_conn"),
        |index, connection| match index {
            0 => assert_eq!(
                connection,
                Connection {
                    protocol: Protocol::TCP,
                    client: socket("192.0.2.10:45918"),
                    vip: socket("192.0.2.10:80"),
                    destination: socket("10.1.0.2:8080"),
                    state: "TIME_WAIT",
                    origin: None,
                    expires_s: 116,
                    engine: None,
                }
            ),
            6 => assert_eq!(
                connection,
                Connection {
                    protocol: Protocol::TCP,
                    client: socket("[2001:db8::80]:34854"),
                    vip: socket("[2001:db8::80]:80"),
                    destination: socket("10.1.0.2:80"),
                    state: "SYN_RECV",
                    origin: None,
                    expires_s: 58,
                    engine: None,
                }
            ),
            13 => {
                assert!(connection.is_template());
                assert_eq!(connection.client, socket("[2001:db8::]:0"));
                assert_eq!((connection.state, connection.expires_s), ("NONE", 296));
                assert_eq!(connection.mark(), None);
            }
            20 => {
                assert!(connection.is_template());
                assert_eq!(
                    connection.engine,
                    Some(Engine {
                        name: "sip",
                        data: b"abcdef0123456789@host.example",
                    })
                );
            }
            23 => {
                assert_eq!(connection.protocol, Protocol::UDP);
                assert_eq!((connection.state, connection.expires_s), ("UDP", 299));
            }
            _ => assert!(!connection.is_template()),
        },
    );
    assert_eq!(count, 24);
}

#[test]
fn the_sync_file_says_who_made_a_connection() {
    let mut templates = 0;
    let count = read(
        ConnectionFile::ConnSync,
        &net("6.12", "ip_vs_conn_sync"),
        |_, connection| {
            assert_eq!(connection.origin, Some(Origin::Local));
            assert_eq!(connection.engine, None);
            templates += usize::from(connection.is_template());
        },
    );
    assert_eq!((count, templates), (24, 2));
    let text = format!(
        "{SYNC_HEADER}TCP C000020A B35E C000020A 0050 0A010002 1F90 ESTABLISHED SYNC       896\n"
    );
    read(
        ConnectionFile::ConnSync,
        text.as_bytes(),
        |_, connection| {
            assert_eq!(connection.origin, Some(Origin::Sync));
            assert_eq!(connection.expires_s, 896);
        },
    );
}

#[test]
fn every_kernel_writes_the_same_columns() {
    for (version, expected) in [("6.1", 24), ("6.12", 24), ("7.2", 30)] {
        for file in [ConnectionFile::Conn, ConnectionFile::ConnSync] {
            let count = read(file, &net(version, file.name()), |_, _| {});
            assert_eq!(count, expected, "{version} {}", file.name());
        }
    }
}

#[test]
fn protocols_without_ports_and_unknown_states_are_kept() {
    with_line(
        b"ICMPv6 2001:0db8:0000:0000:0000:0000:0000:0001 0080 2001:0db8:0000:0000:0000:0000:0000:0080 0000 fd00:0001:0000:0000:0000:0000:0000:0002 0000 ERR!              0",
        |connection| {
            assert_eq!(connection.protocol, Protocol::ICMPV6);
            assert_eq!(connection.destination, socket("[fd00:1::2]:0"));
            assert_eq!((connection.state, connection.expires_s), ("ERR!", 0));
        },
    );
    with_line(
        b"IP_51 C000020A 01F4 C000020A 01F4 0A010002 01F4 SOMETHING_LONGER_THAN_ELEVEN      59",
        |connection| {
            assert_eq!(connection.protocol, Protocol(51));
            assert_eq!(connection.state, "SOMETHING_LONGER_THAN_ELEVEN");
        },
    );
}

#[test]
fn the_template_of_a_mark_has_it_where_the_vip_would_be() {
    with_line(
        b"IP  C0000200 0000 EE6B2800 0000 0A010002 0000 ASSURED         296",
        |connection| assert_eq!(connection.mark(), Some(4_000_000_000)),
    );
    with_line(
        b"IP  2001:0db8:0000:0000:0000:0000:0000:0000 0000 0000:002f:0000:0000:0000:0000:0000:0000 0000 fd00:0001:0000:0000:0000:0000:0000:0002 0000 NONE            296",
        |connection| assert_eq!(connection.mark(), Some(47)),
    );
}

#[test]
fn the_data_of_an_engine_is_any_bytes() {
    let line = b"UDP C000020A 0000 C000020A 13C4 0A010002 13C4 NONE             59";
    let data = [&b" \xff\xfe a b "[..], &[b'x'; 246], b" "].concat();
    assert_eq!(data.len(), 255, "the kernel's limit");
    with_line(&[line, &b" sip "[..], &data].concat(), |connection| {
        let engine = connection.engine.unwrap();
        assert_eq!((engine.name, engine.data), ("sip", &data[..]));
    });
    with_line(&[line, &b" sip "[..]].concat(), |connection| {
        assert_eq!(connection.engine.unwrap().data, b"");
    });
    for (rest, what) in [
        (&b" sip"[..], "PEData"),
        (b"  x", "PEName"),
        (b" \xff x", "PEName"),
    ] {
        let text = [CONN_HEADER.as_bytes(), line, rest, b"\n"].concat();
        let error = error_of(ConnectionFile::Conn, &text);
        assert!(
            error.contains(&format!("make sense of {what} in line 2")),
            "{error}"
        );
    }
}

#[test]
fn each_column_is_checked() {
    let good = "TCP C000020A B35E C000020A 0050 0A010002 1F90 TIME_WAIT LOCAL 116";
    let columns: Vec<_> = good.split(' ').collect();
    let names = [
        "Pro", "FromIP", "FPrt", "ToIP", "TPrt", "DestIP", "DPrt", "State", "Origin", "Expires",
    ];
    for (index, name) in names.into_iter().enumerate() {
        let cut = columns[..index].join(" ");
        let mut wrong: Vec<_> = columns.iter().map(|column| column.as_bytes()).collect();
        // Any text is a state, if it is text.
        wrong[index] = b"\xff";
        let wrong = wrong.join(&b' ');
        for line in [cut.as_bytes(), &wrong] {
            let text = [SYNC_HEADER.as_bytes(), line, b"\n"].concat();
            let error = error_of(ConnectionFile::ConnSync, &text);
            let expected =
                format!("cannot make sense of {name} in line 2 of /proc/net/ip_vs_conn_sync: ");
            assert!(error.starts_with(&expected), "{error}");
        }
    }
    let text = format!("{SYNC_HEADER}{good} more\n");
    assert_eq!(
        error_of(ConnectionFile::ConnSync, text.as_bytes()),
        format!(
            "cannot make sense of the columns after the last in line 2 of /proc/net/ip_vs_conn_sync: \"{good} more\""
        )
    );
}

#[test]
fn after_a_bad_line_the_next_one_is_read() {
    let text = format!(
        "{CONN_HEADER}\nTCP C000020A B35E C000020A 0050 0A010002 1F90 TIME_WAIT       116\nTCP C00"
    );
    let mut connections = Connections::start(ConnectionFile::Conn, text.as_bytes()).unwrap();
    assert!(connections.advance().is_err());
    let connection = connections.advance().unwrap().unwrap();
    assert_eq!(connection.expires_s, 116);
    let error = connections.advance().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot make sense of the end, which is cut, in line 4 of /proc/net/ip_vs_conn: \"TCP C00\""
    );
    assert_eq!(connections.advance().unwrap(), None);
}

#[test]
fn a_file_without_connections_is_not_one_without_a_header() {
    for (file, header) in [
        (ConnectionFile::Conn, CONN_HEADER),
        (ConnectionFile::ConnSync, SYNC_HEADER),
    ] {
        assert_eq!(read(file, header.as_bytes(), |_, _| {}), 0);
    }
    assert_eq!(
        error_of(ConnectionFile::Conn, b""),
        "/proc/net/ip_vs_conn ends before the end of its header"
    );
    let error = error_of(ConnectionFile::Conn, SYNC_HEADER.as_bytes());
    assert!(
        error.starts_with("cannot make sense of the header in line 1 of /proc/net/ip_vs_conn: "),
        "{error}"
    );
}
