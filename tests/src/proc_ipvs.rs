//! What the kernel itself says about IPVS, and about the clients' TCP, read from the
//! text of `/proc/net`: the oracle of the tests.
//!
//! Pure: text in, numbers out. Who reads the files, and in which namespace, is the
//! caller's matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, bail};

/// Packets that IPVS counted, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// From clients.
    pub incoming: u64,
    /// From real servers.
    pub outgoing: u64,
}

impl PacketCounts {
    /// Both directions together.
    pub fn total(self) -> u64 {
        self.incoming + self.outgoing
    }

    /// What has come since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            incoming: self.incoming - earlier.incoming,
            outgoing: self.outgoing - earlier.outgoing,
        }
    }
}

/// A service as `/proc/net/ip_vs` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// `TCP`, `UDP`, `SCTP` or `FWM`.
    pub protocol: String,
    /// The VIP and port, or none where a firewall mark stands for them.
    pub address: Option<SocketAddr>,
    /// The scheduler's name.
    pub scheduler: String,
    /// Its real servers, as listed.
    pub servers: Vec<ServerRow>,
}

/// A real server as `/proc/net/ip_vs` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    /// Its address and port.
    pub address: SocketAddr,
    /// The forwarding method in ipvsadm's words.
    pub method: String,
    /// Its weight.
    pub weight: u32,
    /// Connections in an active state.
    pub active: u32,
    /// All others.
    pub inactive: u32,
}

/// Adds up the CPUs' rows of `/proc/net/ip_vs_stats_percpu`, which are live; the
/// total row below them is a copy up to two seconds old.
pub fn packets_per_cpu(text: &str) -> Result<PacketCounts> {
    let mut counts = PacketCounts::default();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [cpu, _connections, incoming, outgoing, _in_bytes, _out_bytes] = fields[..] else {
            continue;
        };
        if u32::from_str_radix(cpu, 16).is_err() {
            continue;
        }
        let number = |digits| {
            u64::from_str_radix(digits, 16)
                .with_context(|| format!("not a line of ip_vs_stats_percpu: {line:?}"))
        };
        counts.incoming += number(incoming)?;
        counts.outgoing += number(outgoing)?;
    }
    Ok(counts)
}

/// Reads `/proc/net/ip_vs`.
pub fn table(text: &str) -> Result<Vec<ServiceRow>> {
    let mut services: Vec<ServiceRow> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            ["->", address, method, weight, active, inactive] if method != "Forward" => {
                let service = services
                    .last_mut()
                    .with_context(|| format!("a real server without a service: {line:?}"))?;
                service.servers.push(ServerRow {
                    address: socket_address(address)?,
                    method: method.to_owned(),
                    weight: weight.parse().with_context(|| line.to_owned())?,
                    active: active.parse().with_context(|| line.to_owned())?,
                    inactive: inactive.parse().with_context(|| line.to_owned())?,
                });
            }
            [protocol @ ("TCP" | "UDP" | "SCTP"), address, scheduler, ..] => {
                services.push(ServiceRow {
                    protocol: protocol.to_owned(),
                    address: Some(socket_address(address)?),
                    scheduler: scheduler.to_owned(),
                    servers: Vec::new(),
                });
            }
            ["FWM", _mark, scheduler, ..] => services.push(ServiceRow {
                protocol: "FWM".to_owned(),
                address: None,
                scheduler: scheduler.to_owned(),
                servers: Vec::new(),
            }),
            _ => {}
        }
    }
    Ok(services)
}

/// A counter of `/proc/net/snmp`, such as `Tcp` `RetransSegs`: the first line of a
/// protocol has the names, the second the values.
pub fn snmp(text: &str, protocol: &str, counter: &str) -> Result<u64> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'));
    let names = lines.next().unwrap_or_default().split_whitespace();
    let values = lines.next().unwrap_or_default().split_whitespace();
    let value = names.zip(values).find(|(name, _)| *name == counter);
    let (_, value) = value.with_context(|| format!("no {protocol} {counter} in snmp"))?;
    value
        .parse()
        .with_context(|| format!("{protocol} {counter} is {value}"))
}

/// `0A090001:0050` or `[fd00:0009:…:0001]:0050`: the port is hexadecimal too.
fn socket_address(text: &str) -> Result<SocketAddr> {
    let (address, port) = text
        .rsplit_once(':')
        .with_context(|| format!("no port in {text:?}"))?;
    let port = u16::from_str_radix(port, 16).with_context(|| format!("bad port in {text:?}"))?;
    let address = match address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(v6) => IpAddr::V6(v6.parse::<Ipv6Addr>().with_context(|| text.to_owned())?),
        None if address.len() == 8 => {
            let bits = u32::from_str_radix(address, 16).with_context(|| text.to_owned())?;
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        None => bail!("not an address of /proc/net/ip_vs: {text:?}"),
    };
    Ok(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::{PacketCounts, packets_per_cpu, snmp, table};

    #[test]
    fn per_cpu_rows_are_hexadecimal_and_the_total_row_is_not_added() {
        let text = "       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        2       1F        B              3D4              2E1
  1        0        1        0               3C                0
  ~        2       12        B              3D4              2E1

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        0        0                0                0
";
        let counts = packets_per_cpu(text).expect("the text is well formed");
        assert_eq!(
            counts,
            PacketCounts {
                incoming: 0x20,
                outgoing: 0xb
            }
        );
    }

    #[test]
    fn table_reads_both_families_and_both_levels() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A090001:0050 rr  
  -> 0A020102:1F90      Masq    3      0          7         
TCP  [fd00:0009:0000:0000:0000:0000:0000:0001]:0050 wlc 
  -> [fd00:0002:0001:0000:0000:0000:0000:0002]:0050      Masq    1      2          0         
FWM  0000002F rr  persistent 300 FFFFFFFF
";
        let services = table(text).expect("the text is well formed");
        assert_eq!(services.len(), 3);
        assert_eq!(services[0].servers[0].address.to_string(), "10.2.1.2:8080");
        assert_eq!(services[0].servers[0].weight, 3);
        assert_eq!(services[0].servers[0].inactive, 7);
        let vip = services[1].address.expect("a TCP service has an address");
        assert_eq!(vip.to_string(), "[fd00:9::1]:80");
        assert_eq!(services[1].servers[0].active, 2);
        assert_eq!(services[2].address, None);
    }

    #[test]
    fn snmp_finds_a_value_by_its_name() {
        let text = "Ip: Forwarding\nIp: 2\nTcp: MaxConn ActiveOpens\nTcp: -1 17\n";
        assert_eq!(snmp(text, "Tcp", "ActiveOpens").expect("it is there"), 17);
        assert!(snmp(text, "Tcp", "RetransSegs").is_err());
    }
}
