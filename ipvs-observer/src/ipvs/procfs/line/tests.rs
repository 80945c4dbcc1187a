//! Lines that are whole, cut and too long, and every notation with its wrong spellings.

use super::*;

fn lines(text: &[u8]) -> Lines<&[u8]> {
    Lines::new("ip_vs", text)
}

#[test]
fn lines_are_counted_and_cut_at_their_end() {
    let mut lines = lines(b"one\n\n two  three \n");
    assert_eq!(lines.next().unwrap().unwrap().text(), b"one");
    assert_eq!(lines.next().unwrap().unwrap().text(), b"");
    let third = lines.next().unwrap().unwrap();
    let fields: Vec<_> = third.fields().collect();
    assert_eq!(fields, [&b"two"[..], b"three"]);
    assert_eq!(third.number, 3);
    assert!(lines.next().unwrap().is_none());
    assert!(lines.next().unwrap().is_none());
}

#[test]
fn a_line_without_its_end_is_cut() {
    let error = lines(b"TCP C0000").next().unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot make sense of the end, which is cut, in line 1 of /proc/net/ip_vs: \"TCP C0000\""
    );
}

#[test]
fn a_line_may_be_as_long_as_the_buffer_and_no_longer() {
    let mut text = vec![b'a'; LONGEST_LINE - 1];
    text.push(b'\n');
    text.extend(vec![b'b'; LONGEST_LINE]);
    text.extend(b"\n\xffc\nd\n");
    let mut lines = lines(&text);
    assert_eq!(
        lines.next().unwrap().unwrap().text().len(),
        LONGEST_LINE - 1
    );
    let error = lines.next().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot make sense of the length in line 2 of /proc/net/ip_vs: \"{}\"",
            "b".repeat(80)
        )
    );
    assert_eq!(lines.next().unwrap().unwrap().text(), b"\xffc");
    assert_eq!(lines.next().unwrap().unwrap().text(), b"d");
    assert!(lines.next().unwrap().is_none());
    assert_eq!(lines.buffer.capacity(), LONGEST_LINE);
}

#[test]
fn an_error_of_the_reader_is_passed_on() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::PermissionDenied.into())
        }
    }
    let mut lines = Lines::new("ip_vs", std::io::BufReader::new(Broken));
    let error = lines.next().unwrap_err();
    assert_eq!(error.to_string(), "cannot read /proc/net/ip_vs");
}

#[test]
fn numbers_have_their_digits_and_nothing_else() {
    assert_eq!(hex(b"68BC"), Some(0x68bc));
    assert_eq!(hex(b"ffffFFFFffffFFFF"), Some(u64::MAX));
    for bad in [&b""[..], b"1ffffFFFFffffFFFF", b"+1", b"0x1", b"G"] {
        assert_eq!(hex(bad), None, "{bad:?}");
    }
    assert_eq!(hex_u32(b"EE6B2800"), Some(4_000_000_000));
    assert_eq!(hex_u32(b"EE6B280"), None);
    assert_eq!(port(b"B35E"), Some(45_918));
    for bad in [&b"B35"[..], b"B35E0", b"B35G", b"+35E"] {
        assert_eq!(port(bad), None, "{bad:?}");
    }
    assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
    for bad in [&b""[..], b"4294967296", b"-1", b"+1", b"1f"] {
        assert_eq!(decimal(bad), None, "{bad:?}");
    }
    assert_eq!(int(b"90000"), Some(90_000));
    assert_eq!(int(b"-1"), Some(u32::MAX));
    assert_eq!(int(b"-2147483648"), Some(1 << 31));
    for bad in [&b""[..], b"-", b"--1", b"-2147483649"] {
        assert_eq!(int(bad), None, "{bad:?}");
    }
}

#[test]
fn addresses_are_of_either_family() {
    let expect = |field: &[u8], text: &str| {
        assert_eq!(address(field), Some(text.parse().unwrap()), "{text}");
    };
    expect(b"C000020A", "192.0.2.10");
    expect(b"2001:0db8:0000:0000:0000:0000:0000:0080", "2001:db8::80");
    expect(
        b"0123:4567:89ab:cdef:FEDC:BA98:7654:3210",
        "123:4567:89ab:cdef:fedc:ba98:7654:3210",
    );
    for bad in [
        &b""[..],
        b"C000020",
        b"C000020AA",
        b"C000020G",
        b"2001:0db8:0000:0000:0000:0000:0000:008",
        b"2001:0db8:0000:0000:0000:0000:0000:008g",
        b"2001:0db8:0000:0000:0000:0000:0000x0080",
        b"20010:db8:0000:0000:0000:0000:0000:0080",
    ] {
        assert_eq!(address(bad), None, "{bad:?}");
    }
}

#[test]
fn every_protocol_has_the_name_that_it_is_read_from() {
    for number in [0, 1, 6, 17, 50, 51, 58, 132, u16::MAX] {
        let expected = Protocol(number);
        let name = expected.to_string();
        assert_eq!(protocol(name.as_bytes()), Some(expected), "{name}");
    }
    assert_eq!(protocol(b"IP_58"), Some(Protocol::ICMPV6));
    for bad in [&b""[..], b"tcp", b"IP_", b"IP_-1", b"IP_65536"] {
        assert_eq!(protocol(bad), None, "{bad:?}");
    }
}
