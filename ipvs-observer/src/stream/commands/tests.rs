//! Who made a change, and when that is not said.

use super::{Commands, Seen};
use crate::{
    model::{
        changes::{Change, Difference, Known},
        command::{Command, Deed, Named, Phase, Process},
        id::{Netns, ServiceId},
    },
    output::{list::fixture::listing, stream::TableChange},
};

const NETNS: Netns = Netns(9);

/// The first service was removed between 1 000 and 2 000.
fn removed() -> Seen {
    let table = listing().table;
    let mut new = table.clone();
    new.services.remove(0);
    let known = Known::new(table);
    let changes = known.changes(&new);
    assert!(matches!(
        changes[0],
        Change::Service(Difference::Removed(_))
    ));
    Seen {
        change: TableChange::of(&changes[0], NETNS, 1_900),
        since_ns: 1_000,
        until_ns: 2_000,
    }
}

fn service(index: usize) -> Named {
    let id: ServiceId = listing().table.services[index].id;
    Named::Service(id)
}

fn command(at_ns: u64, process: u32, what: Deed, service: Named) -> Command {
    Command {
        at_ns,
        cpu: 0,
        lost: [0; 2],
        call: u64::from(process),
        phase: Phase::Begun,
        process: Process::new(process, *b"ipvsadm\0\0\0\0\0\0\0\0\0"),
        netns: NETNS,
        what,
        service,
    }
}

fn noted(calls: &[(Command, u64, Phase)]) -> Commands {
    let mut commands = Commands::known_from(500);
    for (begun, ended_ns, phase) in calls {
        commands.note(begun);
        let ended = Command {
            at_ns: *ended_ns,
            phase: *phase,
            ..*begun
        };
        if *phase != Phase::Begun {
            commands.note(&ended);
        }
    }
    commands
}

fn who(commands: &Commands) -> Option<u32> {
    commands.process(&removed()).map(|process| process.id)
}

#[test]
fn a_change_is_of_the_one_who_alone_can_have_made_it() {
    let own = command(1_100, 7, Deed::RemoveService, service(0));
    for others in [
        // Of another service, another kind, or before and after.
        command(1_200, 8, Deed::RemoveService, service(1)),
        command(1_200, 8, Deed::AddService, service(0)),
        command(2_001, 8, Deed::RemoveService, service(0)),
        command(900, 8, Deed::RemoveService, service(0)),
        Command {
            netns: Netns(10),
            ..command(1_200, 8, Deed::Flush, Named::None)
        },
    ] {
        let other_end = if others.at_ns < 1_000 { 950 } else { 2_500 };
        let commands = noted(&[(others, other_end, Phase::Done), (own, 1_150, Phase::Done)]);
        assert_eq!(who(&commands), Some(7), "{others:?}");
    }
    // What has not told its end yet may have done it.
    assert_eq!(who(&noted(&[(own, 0, Phase::Begun)])), Some(7));
    assert_eq!(who(&noted(&[])), None);
}

#[test]
fn of_two_who_can_have_made_it_none_is_named() {
    let own = command(1_100, 7, Deed::RemoveService, service(0));
    let other = command(900, 8, Deed::RemoveService, Named::Unreadable);
    let both = |end_ns, phase| noted(&[(other, end_ns, phase), (own, 1_150, Phase::Done)]);
    assert_eq!(who(&both(1_050, Phase::Done)), None);
    assert_eq!(who(&both(0, Phase::Begun)), None);
    assert_eq!(who(&both(1_050, Phase::Failed)), Some(7));
    assert_eq!(who(&both(999, Phase::Done)), Some(7));
}

#[test]
fn where_commands_can_be_missing_nobody_is_named() {
    let own = command(1_100, 7, Deed::RemoveService, service(0));
    let mut commands = noted(&[(own, 1_150, Phase::Done)]);
    commands.lost_before(1_001);
    assert_eq!(who(&commands), None);
    let mut commands = noted(&[(own, 1_150, Phase::Done)]);
    // More than are remembered push it out.
    for index in 0..5_000 {
        let other = command(1_200, 8, Deed::AddServer, Named::None);
        commands.note(&Command {
            call: index,
            ..other
        });
    }
    assert_eq!(who(&commands), None);
    let ended = Command {
        phase: Phase::Done,
        ..own
    };
    let mut commands = Commands::known_from(500);
    commands.note(&ended);
    assert_eq!(who(&commands), None);
}

#[test]
fn what_a_flush_removes_is_told_by_it() {
    let flush = command(1_100, 7, Deed::Flush, Named::None);
    assert!(noted(&[(flush, 1_150, Phase::Done)]).is_of_flush(&removed()));
    assert!(!noted(&[(flush, 1_150, Phase::Failed)]).is_of_flush(&removed()));
    let elsewhere = Command {
        netns: Netns(10),
        ..flush
    };
    assert!(!noted(&[(elsewhere, 1_150, Phase::Done)]).is_of_flush(&removed()));
    let before = command(800, 7, Deed::Flush, Named::None);
    assert!(!noted(&[(before, 900, Phase::Done)]).is_of_flush(&removed()));
}
