//! The state of IPVS's tables and estimators: `/proc/net/ip_vs_status`, of kernels after 7.0.
//!
//! A list of names and texts, which every version may lengthen: all of it is kept, in the
//! kernel's order, and what has a meaning here is read out of it on request.

use std::io::BufRead;

use super::{
    ProcfsError,
    line::{Lines, decimal, word},
};

/// The file's name in `/proc/net`.
pub const STATUS: &str = "ip_vs_status";

/// All that the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The lines in the kernel's order.
    pub entries: Vec<StatusEntry>,
}

/// A line of the file, such as `Conn buckets: 256 (8 bits, lfactor -2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEntry {
    /// What stands before the colon.
    pub name: String,
    /// What stands behind it.
    pub value: String,
}

impl Status {
    /// Connections in this network namespace, templates among them.
    pub fn connections(&self) -> Option<u32> {
        self.number("Conns")
    }

    /// Buckets of the connection table, in which a connection has one or two places; 0 before
    /// the first service.
    pub fn connection_buckets(&self) -> Option<u32> {
        self.number("Conn buckets")
    }

    /// Virtual services in this network namespace.
    pub fn services(&self) -> Option<u32> {
        self.number("Services")
    }

    /// Buckets of the table of services; 0 before the first one.
    pub fn service_buckets(&self) -> Option<u32> {
        self.number("Service buckets")
    }

    /// The number with which the value begins.
    fn number(&self, name: &str) -> Option<u32> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        let number = entry.value.split_whitespace().next()?;
        decimal(number.as_bytes())
    }
}

/// Reads the file.
pub fn status(reader: impl BufRead) -> Result<Status, ProcfsError> {
    let mut lines = Lines::new(STATUS, reader);
    let mut status = Status::default();
    while let Some(line) = lines.next()? {
        let parts = word(line.text()).and_then(|text| text.split_once(':'));
        let (name, value) = parts.ok_or_else(|| line.error("the name"))?;
        status.entries.push(StatusEntry {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
        });
    }
    if status.entries.is_empty() {
        return Err(ProcfsError::Short {
            file: STATUS,
            missing: "its first line",
        });
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::{StatusEntry, status};

    /// A guest of Linux 7.2.13 (Debian) with one service of three real servers.
    const TEXT: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/data/ipvs/7.2/proc/thread-self/net/ip_vs_status"
    ));

    #[test]
    fn every_line_is_kept_in_order_and_known_numbers_are_read() {
        let status = status(TEXT.as_bytes()).unwrap();
        let names: Vec<_> = status
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "Conns",
                "Conn buckets",
                "Conn buckets empty",
                "Conn buckets len-1",
                "Conn buckets len-2",
                "Services",
                "Service buckets",
                "Service buckets empty",
                "Service buckets len-1",
                "Stats thread slots",
                "Stats chain max len",
                "Stats thread ests",
            ]
        );
        assert_eq!(
            status.entries[1],
            StatusEntry {
                name: "Conn buckets".to_owned(),
                value: "256 (8 bits, lfactor -2)".to_owned(),
            }
        );
        assert_eq!(status.connections(), Some(30));
        assert_eq!(status.connection_buckets(), Some(256));
        assert_eq!(status.services(), Some(1));
        assert_eq!(status.service_buckets(), Some(16));
    }

    #[test]
    fn what_is_missing_or_no_number_is_not_known() {
        let status = status(&b"Conns:\tmany\nSomething new:\nServices:\t-1\n"[..]).unwrap();
        assert_eq!(status.connections(), None);
        assert_eq!(status.connection_buckets(), None);
        assert_eq!(status.services(), None);
        assert_eq!(status.entries[1].value, "");
    }

    #[test]
    fn other_text_is_an_error_with_its_place() {
        let error = status(&b"Conns:\t1\nnothing\n"[..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot make sense of the name in line 2 of /proc/net/ip_vs_status: \"nothing\""
        );
        let error = status(&b"Conns:\t1\nServices\xff:\t2\n"[..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot make sense of the name in line 2 of /proc/net/ip_vs_status: \"Services\\xff:\\t2\""
        );
        let error = status(&b""[..]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc/net/ip_vs_status ends before its first line"
        );
    }
}
