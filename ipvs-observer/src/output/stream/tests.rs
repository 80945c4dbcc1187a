//! Lines as they stand in a stream, letter by letter.

use std::time::Duration;

use ipvs_observer_common::{Ending, Event, Measure};
use serde_json::Value;

use super::{Lines, Lost, Stack, TableChange};
use crate::{
    cli::StreamFormat,
    model::{
        changes::Known,
        command::{Command, Deed, Named, Phase, Process},
        event::{ConnectionEvent, ConnectionTrace, What},
        id::{AddressFamily, DestinationId, ForwardingMethod, Netns, Protocol, ServiceId},
        sample::Timestamp,
        symbols::{Symbols, tests::symbols},
    },
    output::list::fixture::listing,
};

fn closed() -> ConnectionEvent {
    let mut stages_ns = [None; 7];
    stages_ns[Measure::Connect as usize] = Some(1_250_000);
    stages_ns[Measure::Duration as usize] = Some(30_000_000);
    ConnectionEvent {
        at_ns: 5_000_000_001,
        cpu: 1,
        lost: [0; 2],
        what: What::Ended(Ending::Finished),
        netns: Some(Netns(4_026_531_840)),
        service: Some(ServiceId::Address {
            protocol: Protocol::TCP,
            address: [192, 0, 2, 1].into(),
            port: 80,
        }),
        server: Some(DestinationId {
            address: [10, 0, 0, 2].into(),
            port: 8080,
        }),
        client: Some(([198, 51, 100, 7].into(), 40_001)),
        protocol: Some(Protocol::TCP),
        method: Some(ForwardingMethod::Masquerade),
        age_ns: Some(30_000_000),
        trace: Some(ConnectionTrace {
            packets: [6, 5],
            bytes: [400, 900],
            syn_repeated: 0,
            stages_ns,
            history: 0x3145,
        }),
        preexisting: false,
    }
}

/// Of a packet without a connection, of which nothing is known but its service.
fn dropped() -> ConnectionEvent {
    ConnectionEvent {
        what: What::Dropped(Event::NoConnection),
        service: Some(ServiceId::FirewallMark {
            mark: 47,
            family: AddressFamily::Ipv6,
        }),
        server: None,
        client: None,
        protocol: None,
        method: None,
        age_ns: None,
        trace: None,
        netns: None,
        ..closed()
    }
}

fn lines(format: StreamFormat) -> Lines {
    let at = Timestamp {
        wall: Duration::from_secs(1_790_000_010),
        monotonic: Duration::from_secs(10),
    };
    Lines::new(format, at, Some(Netns(7)))
}

fn line(format: StreamFormat, event: &ConnectionEvent) -> String {
    let mut out = Vec::new();
    lines(format).event(event, None, 12, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_closed_connection_is_told_with_all_that_it_had() {
    assert_eq!(
        line(StreamFormat::Json, &closed()),
        concat!(
            r#"{"event":"closed","time":"2026-09-21T14:13:25.000000001Z","monotonic_ns":5000000001,"sequence":12,"cpu":1,"#,
            r#""netns_inode":4026531840,"service":"TCP 192.0.2.1:80","protocol":"TCP","address":"192.0.2.1","port":80,"#,
            r#""server":{"address":"10.0.0.2","port":8080},"client":{"address":"198.51.100.7","port":40001},"#,
            r#""packet_protocol":"TCP","method":"Masq","outcome":"finished","age_ns":30000000,"connect_ns":1250000,"#,
            r#""duration_ns":30000000,"in_packets":6,"in_bytes":400,"out_packets":5,"out_bytes":900,"syn_repeated":0,"#,
            r#""states":["syn_recv","established","fin_wait","time_wait"]}"#,
            "\n"
        )
    );
    assert_eq!(
        line(StreamFormat::Text, &closed()),
        concat!(
            "2026-09-21T14:13:25.000000001Z   1 closed      198.51.100.7:40001    > 192.0.2.1:80          > 10.0.0.2:8080",
            "          finished  connect=1.25ms  duration=30.00ms  in=6/400B out=5/900B\n"
        )
    );
}

#[test]
fn what_is_not_known_is_left_out() {
    assert_eq!(
        line(StreamFormat::Json, &dropped()),
        concat!(
            r#"{"event":"dropped","time":"2026-09-21T14:13:25.000000001Z","monotonic_ns":5000000001,"sequence":12,"cpu":1,"#,
            r#""netns_inode":7,"service":"FWM 47 IPv6","firewall_mark":47,"family":"ipv6","reason":"no_connection"}"#,
            "\n"
        )
    );
    let direct = ConnectionEvent {
        method: Some(ForwardingMethod::DirectRoute),
        trace: closed().trace.map(|trace| ConnectionTrace {
            packets: [6, 0],
            history: 0,
            ..trace
        }),
        preexisting: true,
        ..closed()
    };
    let line = line(StreamFormat::Json, &direct);
    assert!(
        !line.contains("out_packets") && !line.contains("states"),
        "{line}"
    );
    assert!(line.ends_with(",\"preexisting\":true}\n"), "{line}");
}

#[test]
fn a_slow_stage_is_told_with_what_it_took() {
    let slow = ConnectionEvent {
        what: What::Slow(Measure::Connect, 1_250_000),
        trace: None,
        ..closed()
    };
    let json = line(StreamFormat::Json, &slow);
    assert!(
        json.contains(r#""stage":"connect","took_ns":1250000"#),
        "{json}"
    );
    let text = line(StreamFormat::Text, &slow);
    assert!(text.ends_with("  connect 1.25ms\n"), "{text}");
}

/// In a module, in the kernel, behind a function's last call, and nowhere.
fn stack(symbols: &Symbols) -> Stack<'_> {
    Stack {
        frames: &[
            0xffff_ffff_c0a0_1000,
            0xffff_ffff_8100_2010,
            0xffff_ffff_8100_2000,
            0x1000,
        ],
        symbols,
    }
}

#[test]
fn a_stack_is_told_from_the_innermost_function_on() {
    let symbols = symbols();
    let line = |format| {
        let mut out = Vec::new();
        lines(format).event(&dropped(), Some(stack(&symbols)), 12, &mut out);
        String::from_utf8(out).unwrap()
    };
    let json = line(StreamFormat::Json);
    assert!(
        json.ends_with(concat!(
            r#""reason":"no_connection","#,
            r#""stack":["ip_vs_in_hook+0x0 [ip_vs]","nf_hook_slow+0x10","#,
            r#""ip_local_deliver+0x1000","0x1000"]}"#,
            "\n"
        )),
        "{json}"
    );
    let text = line(StreamFormat::Text);
    let (_, below) = text.split_once('\n').unwrap();
    assert_eq!(
        below,
        concat!(
            "    ip_vs_in_hook+0x0 [ip_vs]\n",
            "    nf_hook_slow+0x10\n",
            "    ip_local_deliver+0x1000\n",
            "    0x1000\n"
        )
    );
}

#[test]
fn what_is_missing_has_a_line_of_its_own() {
    let lost = Lost {
        at_ns: 5_000_000_001,
        cpu: 3,
        causes: [17, 0],
    };
    let mut out = Vec::new();
    lines(StreamFormat::Json).lost(&lost, 40, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"event":"lost","time":"2026-09-21T14:13:25.000000001Z","monotonic_ns":5000000001,"sequence":40,"cpu":3,"#,
            r#""lost":17,"buffer_full":17}"#,
            "\n"
        )
    );
}

#[test]
fn no_event_makes_the_buffer_move_once_it_has_its_size() {
    let mut out = Vec::with_capacity(1 << 12);
    let start = out.as_ptr();
    for sequence in 0..1_000 {
        out.clear();
        lines(StreamFormat::Json).event(&closed(), None, sequence, &mut out);
    }
    assert_eq!(out.as_ptr(), start);
}

#[test]
fn a_change_of_the_table_is_told_with_what_was_and_what_is() {
    let mut new = listing().table;
    let service = new.services.first_mut().unwrap();
    service.scheduler = "sh".to_owned();
    let known = Known::new(listing().table);
    let changes = known.changes(&new);
    let change = TableChange::of(&changes[0], Netns(9), 5_000_000_001);
    let mut out = Vec::new();
    lines(StreamFormat::Json).change(&change, 3, &mut out);
    let line: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        (&line["event"], &line["change"]),
        (&"config".into(), &"edited".into())
    );
    assert_eq!(
        (&line["netns_inode"], &line["sequence"]),
        (&9.into(), &3.into())
    );
    assert_eq!(line["new"]["scheduler"], "sh");
    let old = listing().table.services[0].scheduler.clone();
    assert_eq!(line["old"]["scheduler"], old);
    out.clear();
    lines(StreamFormat::Text).change(&change, 3, &mut out);
    let text = String::from_utf8(out).unwrap();
    let name = new.services[0].id;
    let expected = format!("2026-09-21T14:13:25.000000001Z   - config      edited {name}\n");
    assert_eq!(text, expected);
}

/// What the table does not show is told by the command that did it, and so is who did the rest.
#[test]
fn a_command_is_told_with_its_process() {
    let flush = flush();
    let line = |format, command: &Command| {
        let mut out = Vec::new();
        let change = TableChange::by(command).unwrap();
        lines(format).change(&change, 12, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        line(StreamFormat::Json, &flush),
        concat!(
            r#"{"event":"config","time":"2026-09-21T14:13:25.000000001Z","monotonic_ns":5000000001,"sequence":12,"cpu":3,"#,
            r#""netns_inode":9,"change":"flushed","process":{"pid":313,"comm":"a \"b\""}}"#,
            "\n"
        )
    );
    let zero = Command {
        what: Deed::Zero,
        service: Named::Service(listing().table.services[0].id),
        ..flush
    };
    let name = listing().table.services[0].id;
    assert!(line(StreamFormat::Text, &zero).ends_with(&format!(
        "config      zeroed {name}  by a \\\"b\\\" (313)\n"
    )));
    for silent in [
        Command {
            phase: Phase::Failed,
            ..flush
        },
        Command {
            phase: Phase::Begun,
            ..zero
        },
        Command {
            service: Named::Unreadable,
            ..zero
        },
        Command {
            what: Deed::RemoveService,
            ..flush
        },
    ] {
        assert_eq!(TableChange::by(&silent), None);
    }
}

/// A command that was done.
fn flush() -> Command {
    Command {
        at_ns: 5_000_000_001,
        cpu: 3,
        lost: [0; 2],
        call: 1,
        phase: Phase::Done,
        process: Process::new(313, *b"a \"b\"\0\0\0\0\0\0\0\0\0\0\0"),
        netns: Netns(9),
        what: Deed::Flush,
        service: Named::None,
    }
}

/// Objects of every kind of line.
pub(in crate::output) fn every_line() -> Vec<Value> {
    let all = ConnectionEvent {
        trace: closed().trace.map(|trace| ConnectionTrace {
            stages_ns: [Some(1); 7],
            ..trace
        }),
        preexisting: true,
        ..closed()
    };
    let slow = ConnectionEvent {
        what: What::Slow(Measure::Connect, 1),
        ..closed()
    };
    let mut out = Vec::new();
    let mut lines = lines(StreamFormat::Json);
    for event in [all, slow, dropped()] {
        lines.event(&event, None, 1, &mut out);
    }
    lines.event(&dropped(), Some(stack(&symbols())), 1, &mut out);
    let lost = Lost {
        at_ns: 5_000_000_001,
        cpu: 3,
        causes: [17, 1],
    };
    lines.lost(&lost, 40, &mut out);
    let none = Known::new(crate::ipvs::table::Table::default());
    for change in none.changes(&listing().table) {
        lines.change(&TableChange::of(&change, Netns(9), 1), 2, &mut out);
    }
    lines.change(&TableChange::by(&flush()).unwrap(), 3, &mut out);
    let whole = out
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    whole
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}
