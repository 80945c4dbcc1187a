//! Which latencies are measured, and with how much memory.

use ipvs_observer_common::Measure;

use super::ConfigError;

/// Bytes of kernel memory unless somebody says otherwise.
pub(super) const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;
/// Connections followed at the same time: enough for 4 300 new ones a second, of which IPVS keeps each for two minutes
/// after it is closed.
pub(super) const DEFAULT_CONNECTIONS: u32 = 1 << 19;

/// The measures that `list` names, in their own order.
///
/// A list that begins with a sign changes the default one; any other stands for itself.
pub(super) fn measures(list: Option<&str>) -> Result<Vec<Measure>, ConfigError> {
    let all = || Measure::ALL.into_iter();
    let mut chosen: Vec<Measure> = match list {
        Some(list) if !list.starts_with(['+', '-']) => Vec::new(),
        Some(_) | None => all().filter(|measure| measure.is_default()).collect(),
    };
    for item in list.iter().flat_map(|list| list.split(',')) {
        let item = item.trim();
        let (is_added, name) = match item.strip_prefix('-') {
            Some(name) => (false, name),
            None => (true, item.strip_prefix('+').unwrap_or(item)),
        };
        let named: Vec<Measure> = match name {
            "all" => all().collect(),
            "default" => all().filter(|measure| measure.is_default()).collect(),
            name => all().filter(|measure| measure.name() == name).collect(),
        };
        if named.is_empty() {
            return Err(ConfigError::Measure(name.to_owned()));
        }
        if is_added {
            chosen.extend(named);
        } else {
            chosen.retain(|measure| !named.contains(measure));
        }
    }
    if chosen.is_empty() {
        return Err(ConfigError::NoMeasure);
    }
    Ok(all().filter(|measure| chosen.contains(measure)).collect())
}

/// Every name that [`measures`] takes for one.
pub(super) fn names() -> String {
    Measure::ALL.map(Measure::name).join(", ")
}

/// A number of bytes with a unit of 1024 or without, as `512M` or `512MiB`.
pub(super) fn bytes(text: &str) -> Result<u64, ConfigError> {
    let refused = || ConfigError::Size(text.to_owned());
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(refused()),
    };
    let number: u64 = digits.trim().parse().map_err(|_not_a_number| refused())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(refused)?;
    (bytes > 0).then_some(bytes).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use ipvs_observer_common::Measure;

    use super::{bytes, measures};

    #[test]
    fn without_a_list_what_costs_packets_nothing_is_measured() {
        assert_eq!(
            measures(None).unwrap(),
            [
                Measure::Schedule,
                Measure::Connect,
                Measure::Client,
                Measure::Handshake,
                Measure::FirstByte,
                Measure::Duration
            ]
        );
        assert_eq!(measures(Some("all")).unwrap(), Measure::ALL);
    }

    #[test]
    fn a_list_stands_for_itself_unless_it_begins_with_a_sign() {
        assert_eq!(
            measures(Some("xmit, connect")).unwrap(),
            [Measure::Connect, Measure::Xmit]
        );
        assert_eq!(
            measures(Some("default,-schedule,+xmit")).unwrap(),
            measures(Some("-schedule,xmit")).unwrap()
        );
        assert!(
            !measures(Some("-duration"))
                .unwrap()
                .contains(&Measure::Duration)
        );
        assert_eq!(measures(Some("+hook")).unwrap().len(), 7);
    }

    #[test]
    fn what_is_no_measure_or_leaves_none_is_refused() {
        for list in ["", "latency", "connect,", "all,-all"] {
            assert!(measures(Some(list)).is_err(), "{list}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        for (text, expected) in [
            ("4096", 4096),
            ("200M", 200 << 20),
            ("1GiB", 1 << 30),
            ("8k", 8192),
        ] {
            assert_eq!(bytes(text).unwrap(), expected);
        }
        for text in ["", "M", "0", "5T", "-1", "99999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
