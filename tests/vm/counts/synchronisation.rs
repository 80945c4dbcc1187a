//! Connections that another director made are nobody's choice here: those that the
//! daemon of synchronisation brings are never counted as scheduled.

use ipvs_observer_tests::{
    agent::Agent,
    application::Transport,
    director::Lab,
    forwarding::{Forwarding, Path},
    services::Vip,
    wait,
};

use crate::fixture::{MEASURES, assert_latency_count, assert_total, summary};

const SERVERS: u8 = 2;
const EACH: u32 = 3;
const CONNECTIONS: u32 = EACH * SERVERS as u32;

#[cfg_attr(feature = "vm", test)]
fn ipv4_connections_of_another_director_are_not_scheduled_here() {
    connections_of_another_director_are_not_scheduled_here(Vip::V4);
}

#[cfg_attr(feature = "vm", test)]
fn ipv6_connections_of_another_director_are_not_scheduled_here() {
    connections_of_another_director_are_not_scheduled_here(Vip::V6);
}

fn connections_of_another_director_are_not_scheduled_here(vip: Vip) {
    let path = Path {
        vip,
        transport: Transport::Tcp,
        forwarding: Forwarding::Masquerade,
    };
    let lab = Lab::new(SERVERS).expect("the lab is built");
    lab.balance(path).expect("the service is added");
    let backup = lab.add_backup(path).expect("the directors are joined");
    let [master_agent, backup_agent] = [lab.director(), &backup]
        .map(|director| Agent::start(director, &["-i", "1s"]).expect("the agent starts"));
    lab.exchange(path, EACH, 1)
        .expect("each server answers its part");
    wait::until("the backup to have all connections", wait::PATIENCE, || {
        let connections = backup.proc_net("ip_vs_conn_sync")?;
        let synced = connections.lines().filter(|line| line.contains("SYNC"));
        Ok((synced.count() == CONNECTIONS as usize).then_some(()))
    })
    .expect("the directors are in step");
    for (agent, expected) in [(master_agent, CONNECTIONS), (backup_agent, 0)] {
        let summary = summary(agent);
        let service = summary
            .service(&path.id().to_string())
            .expect("the service is shown");
        for counter in ["scheduled", "established"] {
            assert_total(service, counter, u64::from(expected));
        }
        for counter in ["preexisting", "unanswered", "dropped"] {
            assert_total(service, counter, 0);
        }
        for measure in MEASURES {
            assert_latency_count(service, measure, u64::from(expected));
        }
        assert_eq!(
            summary.total_losses().expect("the losses are stated"),
            Vec::<String>::new()
        );
    }
}
