//! The demo: a director under steady load, and the agent looking at it.
//!
//! Of its four real servers one answers late and one is far away, so that the first
//! stands out in `first_byte` alone and the second in `connect` too.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    agent,
    director::Lab,
    services::Vip,
    traffic::{self, Server},
    wait,
};

/// How long the agent looks, unless told otherwise.
const DURATION: &str = "20s";
/// Which real servers each service has.
const PLAN: [(Vip, [u8; 2]); 2] = [(Vip::V4, [1, 2]), (Vip::V6, [3, 4])];
/// The real server whose application is slow, and by how much.
const LATE: (u8, Duration) = (2, Duration::from_millis(20));
/// The real server whose replies take longer, and by how much.
const FAR: (u8, Duration) = (4, Duration::from_millis(10));

/// Clients of each kind at each service; few enough for two emulated CPUs.
const CLIENTS: usize = 2;
/// Requests on one kept-alive connection.
const KEPT_ALIVE: u32 = 10;
/// What a client waits between two requests.
const PACE: Duration = Duration::from_millis(25);
/// How many requests each real server answers before the agent starts, so that its
/// first screen has something to show.
const WARM: u64 = 20;

/// `demo [--duration TIME]`: builds the director, puts it under load and runs
/// `top --plain` in it for that time, which is the agent's `-d`.
///
/// Its output is the caller's, as it is printed. Fails as the agent fails.
pub fn run(arguments: &[String]) -> Result<()> {
    let duration = match arguments {
        [] => DURATION,
        [option, duration] if option == "--duration" => duration,
        _ => bail!("usage: lab demo [--duration TIME]"),
    };
    let lab = Lab::new(4)?;
    let servers = start(&lab)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (lab, stop) = (&lab, &stop);
        for (vip, _) in PLAN {
            for _ in 0..CLIENTS {
                scope.spawn(move || client(lab, vip, 1, stop));
                scope.spawn(move || client(lab, vip, KEPT_ALIVE, stop));
            }
        }
        let status = observe(lab, &servers, duration);
        stop.store(true, Ordering::SeqCst);
        status
    })
}

fn start(lab: &Lab) -> Result<Vec<Server>> {
    let mut running = Vec::new();
    for (vip, servers) in PLAN {
        lab.add_service(vip, "rr")?;
        for server in servers {
            let (late, delay) = LATE;
            let answer_after = if server == late {
                delay
            } else {
                Duration::ZERO
            };
            running.push(lab.start_server(vip, server, answer_after)?);
            lab.add_server(vip, server, 1)?;
        }
    }
    let (far, delay) = FAR;
    lab.delay_server(far, delay)?;
    Ok(running)
}

/// One client: sessions of `requests` requests, until stopped. A session that fails
/// leaves a gap in the load and no more.
fn client(lab: &Lab, vip: Vip, requests: u32, stop: &AtomicBool) -> Result<()> {
    lab.client().enter()?;
    while !stop.load(Ordering::SeqCst) {
        let _failed_session = traffic::paced_session(vip.address(), requests, PACE);
        thread::sleep(PACE);
    }
    Ok(())
}

fn observe(lab: &Lab, servers: &[Server], duration: &str) -> Result<()> {
    wait::until("every real server to be under load", wait::PATIENCE, || {
        Ok(servers
            .iter()
            .all(|server| server.answered() >= WARM)
            .then_some(()))
    })?;
    let mut command = Command::new(agent::BINARY);
    command.args(["top", "--plain", "-d", duration]);
    let mut agent = lab.director().spawn(&mut command)?;
    let status = agent.wait().context("cannot wait for the agent")?;
    ensure!(status.success(), "the agent ended with {status}");
    Ok(())
}
