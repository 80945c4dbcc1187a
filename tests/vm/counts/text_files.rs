//! What the agent reads out of IPVS's text files is what netlink and the lab know, in the
//! network namespace that it was told to enter.

use std::{fs, net::IpAddr, os::unix::fs::MetadataExt as _, sync::mpsc, thread};

use anyhow::{Context as _, Result};
use ipvs_observer::{
    ipvs::{
        netlink::Ipvs,
        procfs::connections::{ConnectionFile, Origin},
        table::{Destination, Service, Table},
        wire::{IP_VS_SVC_F_HASHED, IP_VS_SVC_F_PERSISTENT},
    },
    kernel::{Capability, Kernel, NetnsError},
    model::{
        circumstances::Circumstances,
        id::{AddressFamily, DestinationId, ForwardingMethod, Protocol, ServiceId},
    },
};
use ipvs_observer_tests::{
    director::Lab,
    ipvs_admin,
    netns::Netns,
    services::{PORT, Vip},
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, gettid, set_capabilities};

use crate::fixture::Balanced;

const SERVERS: u8 = 3;
const SESSIONS: u32 = 30;

#[cfg_attr(feature = "vm", test)]
fn the_table_is_that_of_netlink_without_what_the_file_lacks() {
    let lab = Lab::new(SERVERS).expect("the lab is built");
    let (tables, unknown) = lab
        .director()
        .run(|| {
            configure()?;
            let text = Kernel::at("/").ipvs_table()?;
            Ok((
                (Ipvs::open()?.table(&mut |_, _| None)?, text.table),
                text.marks,
            ))
        })
        .expect("both sources can be read");
    let (netlink, text) = tables;
    let marks: Vec<_> = unknown.iter().map(|service| service.mark).collect();
    assert_eq!(marks, [48], "only a tunnel leads to it");
    assert_eq!(netlink.services.len(), 6);
    let known =
        |service: &&Service| !matches!(service.id, ServiceId::FirewallMark { mark: 48, .. });
    let expected = Table {
        services: netlink.services.iter().filter(known).map(lacking).collect(),
        torn: false,
    };
    assert_eq!(expected.services.len(), 5);
    assert_eq!(ordered(text), ordered(expected));
}

/// From 7.1 the kernel moves services to larger hash tables while they are read, so that two readings can differ in
/// their order.
fn ordered(mut table: Table) -> Table {
    table.services.sort_by_key(|service| service.id);
    table
}

/// Services at addresses of both families, of one mark for each family, and of one mark
/// with nothing but a tunnel.
fn configure() -> Result<()> {
    let mark = |mark, family| ServiceId::FirewallMark { mark, family };
    let masquerade = ForwardingMethod::Masquerade;
    for (vip, other_family, mark_family) in [
        (Vip::V4, Vip::V6, AddressFamily::Ipv4),
        (Vip::V6, Vip::V4, AddressFamily::Ipv6),
    ] {
        let server = |server, port| DestinationId {
            address: vip.server_address(server),
            port,
        };
        let service = vip.id();
        ipvs_admin::add_persistent_service(&service, "wlc", 300)?;
        ipvs_admin::add_destination(&service, &server(1, PORT), masquerade, 7)?;
        ipvs_admin::add_destination(&service, &server(2, PORT), ForwardingMethod::DirectRoute, 0)?;
        let far = DestinationId {
            address: other_family.server_address(3),
            port: PORT,
        };
        ipvs_admin::add_destination(&service, &far, ForwardingMethod::Tunnel, 1)?;
        ipvs_admin::add_service(&mark(47, mark_family), "rr")?;
        ipvs_admin::add_destination(&mark(47, mark_family), &server(1, 0), masquerade, 1)?;
    }
    let plain = ServiceId::Address {
        protocol: Protocol::UDP,
        address: Vip::V4.address().ip(),
        port: 53,
    };
    ipvs_admin::add_service(&plain, "wrr")?;
    let tunnel = mark(48, AddressFamily::Ipv4);
    ipvs_admin::add_service(&tunnel, "rr")?;
    let server = DestinationId {
        address: Vip::V4.server_address(1),
        port: 0,
    };
    ipvs_admin::add_destination(&tunnel, &server, ForwardingMethod::Tunnel, 1)
}

/// What is left of a service in the text file.
fn lacking(service: &Service) -> Service {
    Service {
        flags: service.flags & (IP_VS_SVC_F_HASHED | IP_VS_SVC_F_PERSISTENT),
        timeout_s: None,
        netmask: service.netmask.filter(|_| service.is_persistent()),
        engine: None,
        stats: None,
        destinations: service
            .destinations
            .iter()
            .map(|destination| Destination {
                persistent: None,
                thresholds: None,
                tunnel: None,
                stats: None,
                ..*destination
            })
            .collect(),
        ..service.clone()
    }
}

#[cfg_attr(feature = "vm", test)]
fn every_connection_is_read_from_both_files() {
    for vip in [Vip::V4, Vip::V6] {
        let balanced = Balanced::new(vip, SERVERS);
        balanced.sessions(SESSIONS, 1);
        for file in [ConnectionFile::Conn, ConnectionFile::ConnSync] {
            let servers = balanced
                .lab
                .director()
                .run(|| servers_of_connections(vip, file))
                .expect("the file can be read");
            for server in 1..=SERVERS {
                let address = vip.server_address(server);
                let count = servers.iter().filter(|&&found| found == address).count();
                assert_eq!(count, 10, "{vip:?} {file:?} {address}");
            }
            assert_eq!(servers.len(), 30);
        }
    }
}

/// The servers of all connections, of which everything else is checked.
fn servers_of_connections(vip: Vip, file: ConnectionFile) -> Result<Vec<IpAddr>> {
    let mut connections = Kernel::at("/").connections(file)?;
    let mut servers = Vec::new();
    while let Some(connection) = connections.advance()? {
        assert_eq!(connection.vip, vip.address());
        assert!(!connection.is_template());
        assert!(
            ["FIN_WAIT", "TIME_WAIT"].contains(&connection.state),
            "{connection:?}"
        );
        assert!((1..=120).contains(&connection.expires_s), "{connection:?}");
        let origin = (file == ConnectionFile::ConnSync).then_some(Origin::Local);
        assert_eq!(connection.origin, origin);
        assert_eq!(connection.engine, None);
        servers.push(connection.destination.ip());
    }
    Ok(servers)
}

#[cfg_attr(feature = "vm", test)]
fn totals_and_settings_are_those_of_the_director() {
    let balanced = Balanced::new(Vip::V4, SERVERS);
    balanced.sessions(SESSIONS, 1);
    let packets = balanced.lab.quiesce().expect("the kernel counts packets");
    let director = balanced.lab.director();
    director
        .set_sysctl("net/ipv4/vs/sync_refresh_period", "4711")
        .expect("it can be set");
    director
        .run(|| {
            let kernel = Kernel::at("/");
            let live = kernel.stats_per_cpu()?.live();
            assert_eq!(live.connections, 30);
            assert_eq!(live.in_packets, packets.incoming);
            assert_eq!(live.out_packets, packets.outgoing);
            assert_eq!(kernel.packets()?, packets.total());
            kernel.stats()?;
            // Only newer kernels have the file.
            if let Some(status) = kernel.status()? {
                assert_eq!(status.connections(), Some(30));
                assert_eq!(status.services(), Some(1));
                let buckets = kernel.ipvs_table()?.info.connection_table_size;
                assert_eq!(status.connection_buckets(), Some(buckets));
            }
            let settings = kernel.settings()?;
            assert!(settings.is_sorted_by_key(|setting| setting.name.clone()));
            let period = settings
                .iter()
                .find(|setting| setting.name == "sync_refresh_period");
            assert_eq!(period.map(|setting| setting.value.as_str()), Some("4711"));
            Ok(())
        })
        .expect("the files can be read");
}

#[cfg_attr(feature = "vm", test)]
fn counters_are_known_to_be_frozen_while_no_cpu_may_refresh_them() {
    let lab = Lab::new(1).expect("the lab is built");
    let frozen_by = || {
        let settings = lab.director().run(|| Ok(Kernel::at("/").settings()?));
        let circumstances = Circumstances {
            settings: settings.expect("they can be read"),
            connection_table_size: None,
        };
        circumstances.frozen_by()
    };
    let set = |name: &str, value| {
        let path = format!("net/ipv4/vs/{name}");
        lab.director().set_sysctl(&path, value)
    };
    assert_eq!(frozen_by(), None);
    set("run_estimation", "0").expect("it can be set");
    assert_eq!(frozen_by(), Some("run_estimation"));
    set("run_estimation", "1").expect("it can be set");
    assert_eq!(frozen_by(), None);
    if fs::exists("/proc/sys/net/ipv4/vs/est_cpulist").expect("it can be looked for") {
        set("est_cpulist", "\n").expect("it can be set");
        assert_eq!(frozen_by(), Some("est_cpulist"));
        set("est_cpulist", "0-1").expect("it can be set");
        assert_eq!(frozen_by(), None);
    }
}

#[cfg_attr(feature = "vm", test)]
fn a_namespace_is_entered_by_its_name_its_path_and_a_process_in_it() {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V4, "rr").expect("it is added");
    let director = lab.director();
    let path = director.path().display().to_string();
    for netns in [director.name(), &path] {
        assert_eq!(services_in(netns).expect(netns), 1, "{netns}");
    }
    let (send_number, number) = mpsc::channel();
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            director.run(move || {
                // The kernel takes the number of a thread for that of a process.
                send_number.send(gettid().as_raw_nonzero().to_string())?;
                // It stays until the sender is gone.
                let _gone = wait.recv();
                Ok(())
            })
        });
        let number = number.recv().expect("the thread starts");
        assert_eq!(services_in(&number).expect("it is entered"), 1);
        drop(done);
    });
    assert_eq!(services_in(lab.client().name()).expect("it is entered"), 0);
    let own = fs::metadata("/proc/thread-self/ns/net").expect("it is there");
    let kernels = Kernel::at("/").network_namespace();
    assert_eq!(
        u64::from(kernels.expect("it is there").0),
        own.ino(),
        "nothing has moved"
    );
}

/// How many services a fresh thread finds after it has entered `netns`.
fn services_in(netns: &str) -> Result<usize> {
    on_fresh_thread(|| {
        let kernel = Kernel::at("/");
        kernel.enter_network_namespace(netns)?;
        let text = kernel.ipvs_table()?.table.services.len();
        let netlink = Ipvs::open()?.table(&mut |_, _| None)?.services.len();
        assert_eq!(text, netlink, "both are of the same namespace");
        Ok(text)
    })
}

#[cfg_attr(feature = "vm", test)]
fn a_namespace_that_may_not_be_entered_names_the_capability() {
    let netns = Netns::new("closed").expect("it is made");
    let refusal = |netns: &str| {
        on_fresh_thread(|| {
            give_up_all_capabilities()?;
            Ok(Kernel::at("/").enter_network_namespace(netns))
        })
        .expect("the thread starts")
        .expect_err("it is refused")
    };
    let path = netns.path().display().to_string();
    for (netns, missing) in [
        (netns.name(), Capability::SysAdmin),
        (&path, Capability::SysAdmin),
        ("1", Capability::SysPtrace),
    ] {
        let error = refusal(netns);
        assert!(
            matches!(&error, NetnsError::NotPermitted { missing: found, .. } if *found == missing),
            "{netns}: {error}"
        );
        assert!(error.to_string().contains(&missing.to_string()), "{error}");
    }
    // What a namespace leaves behind when only its name is kept.
    fs::write("/run/netns/dead", "").expect("it can be written");
    let entered = Kernel::at("/").enter_network_namespace("dead");
    fs::remove_file("/run/netns/dead").expect("it can be removed");
    let error = entered.expect_err("there is no namespace");
    assert_eq!(
        error.to_string(),
        "/run/netns/dead is not a network namespace"
    );
}

fn give_up_all_capabilities() -> Result<()> {
    let own = capabilities(None).context("cannot read the capabilities")?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        ..own
    };
    set_capabilities(None, none).context("cannot give up the capabilities")
}

fn on_fresh_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join().expect("it does not panic"))
}
