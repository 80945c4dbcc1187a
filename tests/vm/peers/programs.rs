//! The programs that ours is compared with are there, are what they should be, and work: what a
//! comparison says is worth as much.

use anyhow::ensure;
use ipvs_observer_tests::{
    director::Lab,
    netns::Netns,
    peers::{self, HttpServer, IPVSADM, NODE_EXPORTER, PROMTOOL, VICTORIA_METRICS},
    services::Vip,
    wait,
};

const EMPTY_TABLE: &str = "\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
";

#[cfg_attr(feature = "vm", test)]
fn ipvsadm_reads_the_table_of_its_namespace() {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V4, "rr")
        .expect("the service is added");
    lab.add_server(Vip::V4, 1, 1).expect("the server is added");
    let listed = |netns: &Netns| {
        let listed = peers::output(netns, IPVSADM, &["-Ln"], "").expect("ipvsadm lists");
        let (first, rest) = listed.split_once('\n').expect("there are lines");
        // The size is 4096, but zero on 7.2 where nothing has been told to IPVS yet.
        assert!(
            first.starts_with("IP Virtual Server version 1.2.1 (size="),
            "{first}"
        );
        rest.to_owned()
    };
    assert_eq!(listed(lab.client()), EMPTY_TABLE);
    let service = "\
TCP  10.9.0.1:80 rr
  -> 10.2.1.2:80                  Masq    1      0          0         
";
    assert_eq!(listed(lab.director()), format!("{EMPTY_TABLE}{service}"));

    let version = peers::output(lab.director(), IPVSADM, &["--version"], "").expect("it has one");
    assert!(version.starts_with("ipvsadm v1.31 "), "{version}");
}

#[cfg_attr(feature = "vm", test)]
fn promtool_tells_good_metrics_from_bad_ones() {
    let netns = Netns::new("bare").expect("a namespace can be made");
    let check = |metrics: &str| {
        peers::run(&netns, PROMTOOL, &["check", "metrics"], metrics).expect("promtool runs")
    };
    let good = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\n";
    let outcome = check(good);
    assert!(outcome.status.success(), "{outcome:?}");
    for bad in ["# TYPE a_total counter\na_total 1\n", "a_total one\n"] {
        let outcome = check(bad);
        assert!(!outcome.status.success(), "{bad} gives {outcome:?}");
    }
}

#[cfg_attr(feature = "vm", test)]
fn node_exporter_exports_the_table_of_its_namespace() {
    let lab = Lab::new(1).expect("the lab is built");
    lab.add_service(Vip::V4, "rr")
        .expect("the service is added");
    lab.add_server(Vip::V4, 1, 7).expect("the server is added");
    let arguments = [
        "--collector.disable-defaults",
        "--collector.ipvs",
        "--log.level=error",
        "--web.listen-address=127.0.0.1:9100",
    ];
    let exporter = HttpServer::start(lab.director(), NODE_EXPORTER, &arguments, 9100)
        .expect("node_exporter starts");
    let answer = exporter.get("/metrics").expect("it answers");
    assert_eq!(answer.status, 200);
    let weight = "node_ipvs_backend_weight{local_address=\"10.9.0.1\",local_mark=\"\",\
                  local_port=\"80\",proto=\"TCP\",remote_address=\"10.2.1.2\",\
                  remote_port=\"80\"} 7\n";
    assert!(answer.body.contains(weight), "{}", answer.body);
}

#[cfg_attr(feature = "vm", test)]
fn victoria_metrics_takes_lines_and_gives_them_back() {
    let netns = Netns::new("bare").expect("a namespace can be made");
    let arguments = [
        "-storageDataPath=/tmp/victoria-metrics",
        "-httpListenAddr=127.0.0.1:8428",
        "-retentionPeriod=100y",
        "-memory.allowedBytes=64MiB",
        "-loggerLevel=ERROR",
    ];
    let database = HttpServer::start(&netns, VICTORIA_METRICS, &arguments, 8428)
        .expect("victoria-metrics starts");
    let line = "ipvs_virtual_server,protocol=tcp connections=3i 1700000000000000000\n";
    let written = database.post("/write", line).expect("it answers");
    assert_eq!(written.status, 204, "{written:?}");
    // What was written can be asked for only when it has been flushed, and a flush that is under
    // way already is not waited for by the next one.
    let path = "/api/v1/export?match[]=ipvs_virtual_server_connections";
    let exported = wait::until("the line to come back", wait::PATIENCE, || {
        let flushed = database.get("/internal/force_flush")?;
        ensure!(flushed.status == 200, "{flushed:?}");
        let exported = database.get(path)?;
        Ok((!exported.body.is_empty()).then_some(exported))
    });
    let exported = exported.expect("it has the line");
    let expected = "{\"metric\":{\"__name__\":\"ipvs_virtual_server_connections\",\
                    \"protocol\":\"tcp\"},\"values\":[3],\"timestamps\":[1700000000000]}\n";
    assert_eq!(exported.body, expected);
}
