//! What `ipvsadm` 1.31 prints: read, and put right where ours prints something else on purpose.
//!
//! Pure: text in, text and numbers out. Two corrections are known and no others: marks of 2³¹
//! and more are what they are, and lines are in the order of their numbers. What `ipvsadm` leaves
//! out of a saved table is taken out of ours, not put into its.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, Result, bail, ensure};

/// The names in JSON of what `--stats` prints, in its order.
pub const COUNTERS: [&str; 5] = [
    "connections",
    "in_packets",
    "out_packets",
    "in_bytes",
    "out_bytes",
];

/// The last line before the services, from its start.
const HEADER_END: &str = "  -> RemoteAddress:Port";
/// How a line of a real server begins.
const ARROW: &str = "  -> ";
/// Where `ipvsadm` cuts an address with its port.
const LONGEST_ENDPOINT: usize = 59;

/// A service, or with its address a real server of it, by the names that they have with `-n`:
/// `TCP 10.9.0.1:80`, `FWM 47 IPv6`.
pub type Entry = (String, Option<String>);

/// The order in which the lines of a table belong, whatever is printed of it.
///
/// `ipvsadm` has the same order in all its forms, so the numbers that one form lacks are those of
/// the same line in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(Vec<usize>);

impl Order {
    /// Of the table that `ipvsadm -Ln` prints as `listed`.
    pub fn of(listed: &str) -> Result<Self> {
        let mut blocks = Vec::<(ServiceKey, usize, Vec<(ServerKey, usize)>)>::new();
        for (index, line) in body(listed)?.enumerate() {
            match line.strip_prefix(ARROW) {
                None => blocks.push((service_key(line)?, index, Vec::new())),
                Some(server) => {
                    let (_, _, servers) = blocks.last_mut().context("no service comes first")?;
                    servers.push((server_key(server)?, index));
                }
            }
        }
        blocks.sort();
        let lines = blocks.into_iter().flat_map(|(_, service, mut servers)| {
            servers.sort_unstable();
            let servers = servers.into_iter().map(|(_, index)| index);
            [service].into_iter().chain(servers)
        });
        Ok(Self(lines.collect()))
    }

    /// Puts the lines of another form in order; those before them stay where they are.
    pub fn apply(&self, form: &str) -> Result<String> {
        let lines: Vec<_> = form.split_inclusive('\n').collect();
        let header = lines.len().checked_sub(self.0.len());
        let header = header.with_context(|| format!("not the lines of the same table: {form}"))?;
        let (header, body) = lines.split_at(header);
        let body = self.0.iter().map(|&index| body[index]);
        Ok(header.iter().copied().chain(body).collect())
    }
}

/// Mark, IPv6 or not, protocol, address and port; of a marked service the mark alone.
type ServiceKey = (u32, bool, Option<(u8, SocketAddr)>);
/// The 16 bytes in which an address lies, of which IPv4 fills the first four, and the port.
type ServerKey = (u128, u16);

fn service_key(line: &str) -> Result<ServiceKey> {
    let wrong = || format!("no service: {line:?}");
    let mut words = line.split_whitespace();
    let protocol = match words.next().with_context(wrong)? {
        "FWM" => {
            let mark = words.next().and_then(unsigned).with_context(wrong)?;
            return Ok((mark, words.next() == Some("IPv6"), None));
        }
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        _ => bail!(wrong()),
    };
    let address: SocketAddr = words
        .next()
        .and_then(|word| word.parse().ok())
        .with_context(wrong)?;
    Ok((0, address.is_ipv6(), Some((protocol, address))))
}

fn server_key(server: &str) -> Result<ServerKey> {
    let address = server.split_whitespace().next();
    let address: SocketAddr = address
        .and_then(|word| word.parse().ok())
        .with_context(|| format!("no real server: {server:?}"))?;
    let bytes = match address.ip() {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    Ok((bytes, address.port()))
}

/// A mark as `ipvsadm` prints it, which takes it for signed.
fn unsigned(mark: &str) -> Option<u32> {
    let signed = mark.parse::<i32>().map(i32::cast_unsigned);
    signed.or_else(|_| mark.parse()).ok()
}

/// Makes the marks of a table or of saved rules unsigned. A column after them stays where it is.
pub fn unsigned_marks(form: &str) -> String {
    form.split_inclusive('\n').map(unsigned_mark).collect()
}

fn unsigned_mark(line: &str) -> String {
    for before in ["FWM  ", "-A -f ", "-a -f "] {
        if let Some(rest) = line.strip_prefix(before)
            && let Some((mark, after)) = rest.split_once(' ')
            && let Some(right) = unsigned(mark).map(|mark| mark.to_string())
        {
            let shorter = " ".repeat(mark.len().saturating_sub(right.len()));
            let after = match after.split_once("  ") {
                Some((name, figures)) => format!("{name}  {shorter}{figures}"),
                // Of a mark alone, whose first blank of the column was taken already.
                None => after.to_owned(),
            };
            return format!("{before}{right} {after}");
        }
    }
    line.to_owned()
}

/// The rules of ours without what `ipvsadm` does not save: thresholds, and what is beyond the
/// longest address.
pub fn as_ipvsadm_saves(rules: &str) -> String {
    rules.split_inclusive('\n').map(as_saved).collect()
}

fn as_saved(rule: &str) -> String {
    let mut kept = Vec::new();
    let mut words = rule.split(' ');
    while let Some(word) = words.next() {
        match word {
            "-x" | "-y" => {
                // A rule that ends here keeps its end.
                if words.next().is_some_and(|limit| limit.ends_with('\n')) {
                    return kept.join(" ") + "\n";
                }
            }
            "-t" | "-u" | "--sctp-service" | "-r" => {
                let endpoint = words.next().unwrap_or_default();
                kept.extend([word, endpoint.get(..LONGEST_ENDPOINT).unwrap_or(endpoint)]);
            }
            other => kept.push(other),
        }
    }
    kept.join(" ")
}

/// The last `N` words of every line that ends in so many numbers: of a table printed with `-n` and
/// `--exact` five of `--stats` and `--rate`, four of `--persistent-conn` for real servers alone.
pub fn figures<const N: usize>(form: &str) -> Result<BTreeMap<Entry, [u64; N]>> {
    let mut figures = BTreeMap::new();
    let mut service = String::new();
    for line in body(form)? {
        let mut words = line.split_whitespace();
        let entry = if line.starts_with(ARROW) {
            (service.clone(), words.nth(1).map(str::to_owned))
        } else {
            service = name(line);
            (service.clone(), None)
        };
        let numbers: Vec<u64> = words
            .rev()
            .map_while(|word| word.parse().ok())
            .take(N)
            .collect();
        if let Ok(mut numbers) = <[u64; N]>::try_from(numbers) {
            numbers.reverse();
            let before = figures.insert(entry, numbers);
            ensure!(before.is_none(), "twice in the table: {line:?}");
        }
    }
    Ok(figures)
}

fn name(service: &str) -> String {
    let words: Vec<_> = service.split_whitespace().take(3).collect();
    match words[..] {
        ["FWM", mark, "IPv6"] => format!("FWM {mark} IPv6"),
        [protocol, address, ..] => format!("{protocol} {address}"),
        _ => service.to_owned(),
    }
}

/// The lines of services and real servers.
fn body(form: &str) -> Result<impl Iterator<Item = &str>> {
    let mut lines = form.lines();
    lines
        .by_ref()
        .find(|line| line.starts_with(HEADER_END))
        .with_context(|| format!("no table: {form}"))?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::{Order, as_ipvsadm_saves, figures, unsigned_marks};

    /// As `ipvsadm` sorts it: by differences that overflow.
    const LISTED: &str = "\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
FWM  -1294967296 IPv6 rr
FWM  -294967296 nq
  -> 10.2.1.2:0                   Route   1      0          0         
TCP  192.168.100.200:65535 rr
UDP  10.9.0.1:53 rr
TCP  10.9.0.1:80 rr
  -> 192.168.0.9:80               Masq    1      1          2         
  -> [a00::1]:80                  Masq    1      1          2         
  -> 10.2.1.2:80                  Masq    1      1          2         
TCP  [fd00:9::1]:80 wlc
FWM  47 rr
FWM  47 IPv6 rr
";

    #[test]
    fn lines_belong_in_the_order_of_their_numbers() {
        let order = Order::of(LISTED).expect("it is a table");
        let form = "0 1 2 3 4 5 6 7 8 9 10 11 ".replace(' ', "\n");
        let sorted = "header\n5\n7\n8\n6\n3\n4\n9\n10\n11\n0\n1\n2\n";
        let applied = order.apply(&format!("header\n{form}"));
        assert_eq!(applied.expect("it has as many lines"), sorted);
        assert!(order.apply("header\n").is_err());
        assert!(Order::of("nothing").is_err());
    }

    #[test]
    fn marks_are_unsigned_and_columns_stay() {
        for (printed, right) in [
            (
                "FWM  -1294967296 IPv6                    0        1\n",
                "FWM  3000000000 IPv6                     0        1\n",
            ),
            (
                "FWM  -294967296                          0        1\n",
                "FWM  4000000000                          0        1\n",
            ),
            ("FWM  -1 nq\n", "FWM  4294967295 nq\n"),
            ("FWM  47 IPv6 rr\n", "FWM  47 IPv6 rr\n"),
            (
                "-a -f -294967296 -r 10.2.1.2:0 -g -w 1\n",
                "-a -f 4000000000 -r 10.2.1.2:0 -g -w 1\n",
            ),
            ("TCP  10.9.0.1:80 rr\n", "TCP  10.9.0.1:80 rr\n"),
        ] {
            assert_eq!(unsigned_marks(printed), right);
        }
    }

    #[test]
    fn what_is_not_saved_is_taken_out() {
        let long = "a".repeat(56);
        let rules = format!(
            "-A -t 10.9.0.1:80 -s rr\n\
             -a -t 10.9.0.1:80 -r 10.2.1.2:80 -i -w 1 -x 10 -y 5 --tun-type ipip\n\
             -a -t 10.9.0.1:80 -r {long}:http -m -w 1 -x 10\n"
        );
        let saved = format!(
            "-A -t 10.9.0.1:80 -s rr\n\
             -a -t 10.9.0.1:80 -r 10.2.1.2:80 -i -w 1 --tun-type ipip\n\
             -a -t 10.9.0.1:80 -r {long}:ht -m -w 1\n"
        );
        assert_eq!(as_ipvsadm_saves(&rules), saved);
    }

    #[test]
    fn figures_are_those_behind_the_names() {
        let four = figures::<4>(LISTED).expect("it is a table");
        assert_eq!(four.len(), 0, "a method is no number");
        let three = figures::<3>(LISTED).expect("it is a table");
        assert_eq!(three.len(), 4);
        let server = Some("[a00::1]:80".to_owned());
        assert_eq!(three[&("TCP 10.9.0.1:80".to_owned(), server)], [1, 1, 2]);
        let stats = LISTED.replace("FWM  47 IPv6 rr", "FWM  47 IPv6        7        8");
        let two = figures::<2>(&stats).expect("it is a table");
        assert_eq!(two[&("FWM 47 IPv6".to_owned(), None)], [7, 8]);
        assert!(
            figures::<2>(&stats.replace("TCP  [fd00:9::1]:80 wlc", "FWM  47 IPv6 7 8")).is_err()
        );
    }
}
