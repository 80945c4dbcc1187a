//! A director with everything that IPVS can be told, and traffic on some of it: the table
//! on which ours is compared with the programs of others.
//!
//! The real `ipvsadm` makes the table, so what the kernel holds is nothing that our own
//! messages said. When it is built nothing moves any more but the time that connections
//! have left and the rates, which fade.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    director::{Lab, VIP_V4, VIP_V6, server_v4},
    netns::Netns,
    peers::{self, IPVSADM},
    proc_ipvs::PacketCounts,
    services::Vip,
    traffic::{self, Server},
    wait,
};

/// The table as `ipvsadm -R` takes it: the services of the lab first, with traffic; then
/// what is only there to be listed. `ipvsadm` sorts by differences of 32 bits: addresses and
/// marks that are exactly 2³¹ apart have no order there, and none are.
pub const TABLE: &str = "\
-A -t 10.9.0.1:80 -s rr
-a -t 10.9.0.1:80 -r 10.2.1.2:80 -m -w 1
-a -t 10.9.0.1:80 -r 10.2.2.2:80 -m -w 3 -x 1000 -y 500
-A -t [fd00:9::1]:80 -s wlc -p 300 -M 64
-a -t [fd00:9::1]:80 -r [fd00:2:1::2]:80 -m -w 1
-a -t [fd00:9::1]:80 -r 10.2.2.2:80 -i -w 0
-A -t [fd00:9::1]:8080 -s rr
-a -t [fd00:9::1]:8080 -r 10.2.2.2:8080 -i -w 1
-A -u 10.9.0.1:53 -s rr -o
-a -u 10.9.0.1:53 -r 10.2.1.2:53 -m -w 1
-A -u 10.9.0.1:123 -s wrr
-a -u 10.9.0.1:123 -r 10.2.2.2:123 -m -w 1
-A -u 10.9.0.1:5060 -s rr -p 60 --pe sip
-a -u 10.9.0.1:5060 -r 10.2.1.2:5060 -m -w 1
-A -f 47 -s rr
-a -f 47 -r 10.2.1.2:0 -m -w 1
-A -f 47 -6 -s rr -p 300
-a -f 47 -6 -r [fd00:2:1::2]:0 -m -w 1
-A -f 3000000000 -6 -s rr
-A -f 4000000000 -s nq
-a -f 4000000000 -r 10.2.1.2:0 -g -w 1
-A --sctp-service 10.9.0.1:3868 -s lc
-a --sctp-service 10.9.0.1:3868 -r 10.2.1.2:3868 -m -w 1
-A -u [fd00:9::1]:53 -s rr -o -p 120 -M 96
-a -u [fd00:9::1]:53 -r [fd00:2:1::2]:5353 -m -w 1
-A -t 10.9.0.1:443 -s wrr -p 360 -M 255.255.255.0
-a -t 10.9.0.1:443 -r 192.168.0.9:443 -i -w 100 -x 2000000000
-a -t 10.9.0.1:443 -r 10.2.1.2:443 -g -w 65535
-A -t 192.168.100.200:65535 -s rr -p
-a -t 192.168.100.200:65535 -r 192.168.100.201:65535 -g -w 1
-A -t 10.9.0.1:8443 -s sh -b sh-fallback,sh-port
-a -t 10.9.0.1:8443 -r 10.2.1.2:8443 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -t 10.9.0.1:8443 -r 10.2.2.2:8443 -i -w 1 --tun-type gue --tun-port 6081 --tun-csum
-a -t 10.9.0.1:8443 -r 10.2.3.2:8443 -i -w 1 --tun-type gue --tun-port 65535 --tun-remcsum
-a -t 10.9.0.1:8443 -r 10.2.4.2:8443 -i -w 1 --tun-type gre --tun-nocsum
-a -t 10.9.0.1:8443 -r 10.2.5.2:8443 -i -w 1 --tun-type gre --tun-csum
-a -t 10.9.0.1:8443 -r 10.2.6.2:8443 -i -w 0 --tun-type ipip
-A -t [fd00:9::1]:8443 -s mh -b mh-fallback,mh-port
-a -t [fd00:9::1]:8443 -r [fd00:2:1::2]:8443 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum
-a -t [fd00:9::1]:8443 -r 10.2.2.2:8443 -i -w 1 --tun-type gre --tun-csum
-A -t [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -s sed
-a -t [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -r \
[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535 -g -w 65535
-a -t [2001:db8:1111:2222:3333:4444:5555:6666]:65535 -r 100.64.0.9:65535 -i -w 1
-A -t 10.9.0.1:1001 -s rr
-A -t 10.9.0.1:1002 -s wrr
-A -t 10.9.0.1:1003 -s lc
-A -t 10.9.0.1:1004 -s wlc -b flag-1,flag-2,flag-3
-A -t 10.9.0.1:1005 -s lblc
-A -t 10.9.0.1:1006 -s lblcr
-A -t 10.9.0.1:1007 -s dh
-A -t 10.9.0.1:1008 -s sh
-A -t 10.9.0.1:1009 -s sh -b sh-fallback
-A -t 10.9.0.1:1010 -s sh -b sh-port
-A -t 10.9.0.1:1011 -s sed
-A -t 10.9.0.1:1012 -s nq
-A -t 10.9.0.1:1013 -s fo
-A -t 10.9.0.1:1014 -s ovf
-A -t 10.9.0.1:1015 -s mh
-A -t 10.9.0.1:1016 -s mh -b mh-fallback
-A -t 10.9.0.1:1017 -s mh -b mh-port
";
/// The daemons of synchronization. The kernel refuses them beside a real server of another
/// family than its service, so they run in the client's namespace.
const MASTER: [&str; 14] = [
    "--start-daemon",
    "master",
    "--mcast-interface",
    "uplink",
    "--syncid",
    "7",
    "--sync-maxlen",
    "1400",
    "--mcast-group",
    "224.0.1.44",
    "--mcast-port",
    "8849",
    "--mcast-ttl",
    "3",
];
const BACKUP: [&str; 6] = [
    "--start-daemon",
    "backup",
    "--mcast-interface",
    "uplink",
    "--syncid",
    "255",
];

/// The names of some addresses of the table, two of them too long for their columns.
const HOSTS: &str = "\
127.0.0.1 localhost
::1 localhost
10.9.0.1 vip.example.org
fd00:9::1 vip6.example.org
10.1.0.2 client.example.org
10.2.1.2 rs1.example.org
10.2.2.2 the-second-real-server-of-this-director.example.org
192.168.100.200 another-service-of-this-director.example.org
fd00:2:1::2 rs1-6.example.org
";

/// Real servers that exist; the table names others.
const SERVERS: u8 = 2;
const MARK: u32 = 47;
/// By its Call-ID the engine `sip` knows a call.
const INVITE: &str = "INVITE sip:b@example.org SIP/2.0\r\n\
                      Via: SIP/2.0/UDP 10.1.0.2:5060\r\n\
                      Call-ID: abcdef0123456789@host.example\r\n\r\n";

/// The director, with connections that stay open as long as it lives.
#[derive(Debug)]
pub struct Everything {
    _open: Vec<TcpStream>,
    /// Stopped before the namespaces go.
    _applications: Vec<Server>,
    lab: Lab,
}

impl Everything {
    /// Builds the table, sends the traffic, and waits until every counter that the kernel
    /// gives has come to rest.
    pub fn new() -> Result<Self> {
        fs::write("/etc/hosts", HOSTS).context("cannot write /etc/hosts")?;
        let lab = Lab::new(SERVERS)?;
        peers::output(lab.director(), IPVSADM, &["-R"], TABLE)?;
        for daemon in [&MASTER[..], &BACKUP] {
            peers::output(lab.client(), IPVSADM, daemon, "")?;
        }
        let applications = [(Vip::V4, 1), (Vip::V4, 2), (Vip::V6, 1)];
        let applications = applications
            .iter()
            .map(|(vip, server)| lab.start_server(*vip, *server, Duration::ZERO))
            .collect::<Result<_>>()?;
        let open = send_traffic(&lab)?;
        let everything = Self {
            _open: open,
            _applications: applications,
            lab,
        };
        everything.await_rest()?;
        Ok(everything)
    }

    /// The namespace with the table.
    pub fn director(&self) -> &Netns {
        self.lab.director()
    }

    /// The namespace with the daemons of synchronization.
    pub fn synchronized(&self) -> &Netns {
        self.lab.client()
    }

    /// The kernel copies its counters every two seconds, each service at its own time.
    fn await_rest(&self) -> Result<()> {
        let packets = self.lab.quiesce()?;
        wait::until("IPVS to copy its counters", wait::PATIENCE, || {
            let arguments = ["-Ln", "--stats", "--exact"];
            let statistics = peers::output(self.director(), IPVSADM, &arguments, "")?;
            Ok((sum(&statistics)? == packets).then_some(()))
        })?;
        ensure!(
            self.lab.packets()? == packets,
            "packets came after the director was idle"
        );
        Ok(())
    }
}

/// Sessions that are over, connections that stay, datagrams with and without an answer, and
/// a connection that nobody answers.
fn send_traffic(lab: &Lab) -> Result<Vec<TcpStream>> {
    traffic::sessions(lab.client(), Vip::V4.address(), 4, 1)?;
    traffic::sessions(lab.client(), Vip::V6.address(), 2, 3)?;
    let targets = [Vip::V4, Vip::V4, Vip::V6].map(Vip::address);
    let open = targets
        .iter()
        .map(|target| lab.client().run(|| open(*target)))
        .collect::<Result<_>>()?;
    for vip in [Vip::V4, Vip::V6] {
        lab.director().run(|| {
            let mut stream = traffic::open_marked(vip.address(), MARK)?;
            traffic::exchange(&mut stream)?;
            traffic::close(stream)
        })?;
    }
    for _ in 0..3 {
        datagram(lab, 1, 53, b"a question that nobody answers", &[])?;
    }
    datagram(lab, 2, 123, b"what time is it", b"late")?;
    datagram(lab, 1, 5060, INVITE.as_bytes(), b"SIP/2.0 200 OK\r\n\r\n")?;
    lab.client()
        .run(|| traffic::knock(SocketAddr::new(VIP_V6, 8080)))?;
    Ok(open)
}

fn open(target: SocketAddr) -> Result<TcpStream> {
    let mut stream = traffic::open(target)?;
    traffic::exchange(&mut stream)?;
    Ok(stream)
}

/// Sends a datagram to a port of the VIP, which real server `server` answers unless the
/// answer is empty.
fn datagram(lab: &Lab, server: u8, port: u16, question: &[u8], answer: &[u8]) -> Result<()> {
    let application = lab.server(server).run(|| bind(server_v4(server), port))?;
    let client = lab.client().run(|| bind(IpAddr::from([0; 4]), 0))?;
    client
        .send_to(question, (VIP_V4, port))
        .with_context(|| format!("cannot send a datagram to port {port}"))?;
    let mut buffer = [0; 512];
    let (length, from) = application
        .recv_from(&mut buffer)
        .with_context(|| format!("real server {server} got no datagram to port {port}"))?;
    ensure!(&buffer[..length] == question, "another datagram came");
    if answer.is_empty() {
        return Ok(());
    }
    application
        .send_to(answer, from)
        .context("cannot answer a datagram")?;
    let length = client
        .recv(&mut buffer)
        .with_context(|| format!("no answer came from port {port}"))?;
    ensure!(&buffer[..length] == answer, "another answer came");
    Ok(())
}

fn bind(address: IpAddr, port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((address, port))
        .with_context(|| format!("cannot bind port {port} of {address}"))?;
    socket.set_read_timeout(Some(wait::PATIENCE))?;
    Ok(socket)
}

/// Adds up the packets of the services, which are not indented, in what `ipvsadm --stats`
/// prints.
fn sum(statistics: &str) -> Result<PacketCounts> {
    let mut packets = PacketCounts::default();
    let is_service = |line: &&str| {
        ["TCP", "UDP", "SCTP", "FWM"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    for line in statistics.lines().filter(is_service) {
        let fields = line.split_whitespace().collect::<Vec<_>>();
        let [.., _connections, incoming, outgoing, _in_bytes, _out_bytes] = fields[..] else {
            continue;
        };
        packets.incoming += incoming.parse::<u64>().with_context(|| line.to_owned())?;
        packets.outgoing += outgoing.parse::<u64>().with_context(|| line.to_owned())?;
    }
    Ok(packets)
}
