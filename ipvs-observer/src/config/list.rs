//! What `list` shall do.

use std::time::Duration;

use super::{ConfigError, DEFAULT_INTERVAL, File, selection, time, window};
use crate::{
    cli::{CommonArguments, ListArguments, ListFormat, OutputFormat},
    model::{
        filter::{Selection, ServiceFilter},
        id::AddressFamily,
    },
    output::list::{Columns, Order, openmetrics::Form},
};

/// A checked configuration of `list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// What is listed.
    pub subject: Subject,
    /// Whether hosts and services are printed as numbers.
    pub numeric: bool,
    /// Whether counters are read live.
    pub live: bool,
    /// What is shown.
    pub selection: Selection,
    /// How often it is read; `None` is once.
    pub interval: Option<Duration>,
    /// When to end; `None` is at a signal.
    pub duration: Option<Duration>,
}

/// What `list` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The table for people.
    Table {
        /// What each line says.
        columns: Columns,
        /// Figures with all their digits.
        exact: bool,
        /// The order of lines.
        order: Order,
    },
    /// The commands that make the table.
    Save,
    /// The connections, with `engines` those of persistence.
    Connections {
        /// Whether engines and their data are printed.
        engines: bool,
    },
    /// The timeouts of connections.
    Timeouts,
    /// The synchronisation daemons.
    Daemons,
    /// Everything as JSON.
    Json,
    /// Telegraf's measurements.
    Influx {
        /// Also what Telegraf does not have.
        extra_fields: bool,
    },
    /// Families of `node_exporter`.
    Metrics(Form),
    /// Netdata's charts.
    Netdata,
    /// What has changed.
    Changes {
        /// As JSON.
        json: bool,
    },
}

impl Subject {
    /// Whether it is for people, who want to know when one of several readings was made.
    pub const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Table { .. } | Self::Connections { .. } | Self::Timeouts | Self::Daemons
        )
    }

    /// Whether it shows counters, which live ones can take the place of.
    pub const fn has_counters(self) -> bool {
        match self {
            Self::Table { columns, .. } => matches!(columns, Columns::Stats | Columns::Rate),
            Self::Json | Self::Influx { .. } => true,
            Self::Save
            | Self::Connections { .. }
            | Self::Timeouts
            | Self::Daemons
            | Self::Metrics(_)
            | Self::Netdata
            | Self::Changes { .. } => false,
        }
    }

    /// Whether it shows more of the table than `/proc/net/ip_vs` has, so that nothing can be shown without netlink.
    pub const fn needs_netlink(self) -> bool {
        match self {
            Self::Table { columns, .. } => !matches!(columns, Columns::Forwarding),
            Self::Save | Self::Timeouts | Self::Daemons => true,
            Self::Connections { .. }
            | Self::Json
            | Self::Influx { .. }
            | Self::Metrics(_)
            | Self::Netdata
            | Self::Changes { .. } => false,
        }
    }
}

impl List {
    pub(super) fn resolve(
        list: &ListArguments,
        common: &CommonArguments,
        file: &File,
    ) -> Result<Self, ConfigError> {
        let subject = subject(list, file)?;
        let mut selection = selection(common)?;
        if matches!(subject, Subject::Table { .. } | Subject::Save) {
            selection = with_families(selection);
        }
        let has_selection = selection != Selection::default();
        let subject_option = match subject {
            Subject::Connections { .. } => Some("-c"),
            Subject::Timeouts => Some("--timeout"),
            Subject::Daemons => Some("--daemon"),
            Subject::Netdata => Some("-o netdata"),
            Subject::Table { .. }
            | Subject::Save
            | Subject::Json
            | Subject::Influx { .. }
            | Subject::Metrics(_)
            | Subject::Changes { .. } => None,
        };
        if let Some(option) = subject_option.filter(|_| has_selection) {
            return Err(ConfigError::Conflict(option, "a service or real server"));
        }
        if list.live && !subject.has_counters() {
            return Err(ConfigError::Conflict("--live", "a list without counters"));
        }
        let typed = common.interval.as_ref().or(list.update_every.as_ref());
        let duration = common.duration.as_ref().or(file.duration.as_ref());
        let repeats = typed.is_some()
            || common.duration.is_some()
            || matches!(subject, Subject::Changes { .. } | Subject::Netdata);
        let interval = typed.or(file.interval.as_ref());
        let interval = interval.map_or(Ok(DEFAULT_INTERVAL), |text| window(text))?;
        Ok(Self {
            subject,
            numeric: list.numeric,
            live: list.live,
            selection,
            interval: repeats.then_some(interval),
            duration: duration.map(|text| time("duration", text)).transpose()?,
        })
    }
}

/// As ipvsadm has it, a mark without -6 is that of IPv4.
fn with_families(mut selection: Selection) -> Selection {
    for service in &mut selection.services {
        if let ServiceFilter::FirewallMark { family, .. } = service {
            family.get_or_insert(AddressFamily::Ipv4);
        }
    }
    selection
}

fn subject(list: &ListArguments, file: &File) -> Result<Subject, ConfigError> {
    if list.connection {
        return Ok(Subject::Connections {
            engines: list.persistent_conn,
        });
    }
    if list.timeout {
        return Ok(Subject::Timeouts);
    }
    if list.daemon {
        return Ok(Subject::Daemons);
    }
    if list.save {
        return Ok(Subject::Save);
    }
    let format = list.output.unwrap_or(match file.output {
        Some(OutputFormat::Json) => ListFormat::Json,
        Some(OutputFormat::Text) | None => ListFormat::Text,
    });
    let columns = columns(list);
    let has_text_options =
        columns != Columns::Forwarding || list.exact || list.sort || list.nosort || list.numeric;
    if format != ListFormat::Text && has_text_options {
        return Err(ConfigError::Conflict(
            "-o with a format for machines",
            "options of the text",
        ));
    }
    if list.extra_fields && format != ListFormat::Influx {
        return Err(ConfigError::Conflict(
            "--extra-fields",
            "another format than influx",
        ));
    }
    if list.update_every.is_some() && format != ListFormat::Netdata {
        return Err(ConfigError::Conflict(
            "SECONDS without -i",
            "another format than netdata",
        ));
    }
    if list.changes {
        return match format {
            ListFormat::Text | ListFormat::Json => Ok(Subject::Changes {
                json: format == ListFormat::Json,
            }),
            ListFormat::Influx
            | ListFormat::Openmetrics
            | ListFormat::Prometheus
            | ListFormat::Netdata => Err(ConfigError::Conflict(
                "--changes",
                "another format than text and json",
            )),
        };
    }
    Ok(match format {
        ListFormat::Text => Subject::Table {
            columns,
            exact: list.exact,
            order: if list.nosort {
                Order::Kernel
            } else {
                Order::Sorted
            },
        },
        ListFormat::Json => Subject::Json,
        ListFormat::Influx => Subject::Influx {
            extra_fields: list.extra_fields,
        },
        ListFormat::Openmetrics => Subject::Metrics(Form::OpenMetrics),
        ListFormat::Prometheus => Subject::Metrics(Form::Prometheus),
        ListFormat::Netdata => Subject::Netdata,
    })
}

const fn columns(list: &ListArguments) -> Columns {
    if list.stats {
        Columns::Stats
    } else if list.rate {
        Columns::Rate
    } else if list.thresholds {
        Columns::Thresholds
    } else if list.persistent_conn {
        Columns::PersistentConnections
    } else if list.tun_info {
        Columns::Tunnel
    } else {
        Columns::Forwarding
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser as _;

    use super::{List, Subject};
    use crate::{
        cli::Arguments,
        config::{ConfigError, Job, resolve},
        output::list::{Columns, Order, openmetrics::Form},
    };

    fn list(line: &str) -> Result<List, ConfigError> {
        let words = format!("ipvs-observer list {line}");
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        match resolve(arguments)? {
            (Job::List(list), _) => Ok(list),
            (other, _) => panic!("{other:?}"),
        }
    }

    const fn table(columns: Columns, exact: bool, order: Order) -> Subject {
        Subject::Table {
            columns,
            exact,
            order,
        }
    }

    #[test]
    fn options_of_ipvsadm_mean_what_they_mean_there() {
        let cases = [
            ("-n", table(Columns::Forwarding, false, Order::Sorted)),
            (
                "-n --stats --exact",
                table(Columns::Stats, true, Order::Sorted),
            ),
            (
                "--rate --nosort",
                table(Columns::Rate, false, Order::Kernel),
            ),
            (
                "--thresholds --sort",
                table(Columns::Thresholds, false, Order::Sorted),
            ),
            (
                "--persistent-conn",
                table(Columns::PersistentConnections, false, Order::Sorted),
            ),
            ("--tun-info", table(Columns::Tunnel, false, Order::Sorted)),
            ("-c", Subject::Connections { engines: false }),
            (
                "-n -c --persistent-conn",
                Subject::Connections { engines: true },
            ),
            ("--timeout", Subject::Timeouts),
            ("--daemon", Subject::Daemons),
            ("-S -n", Subject::Save),
            ("-o json", Subject::Json),
            (
                "-o influx",
                Subject::Influx {
                    extra_fields: false,
                },
            ),
            (
                "-o influx --extra-fields",
                Subject::Influx { extra_fields: true },
            ),
            ("-o openmetrics", Subject::Metrics(Form::OpenMetrics)),
            ("-o prometheus", Subject::Metrics(Form::Prometheus)),
            ("-o netdata", Subject::Netdata),
            ("--changes", Subject::Changes { json: false }),
            ("--changes -o json", Subject::Changes { json: true }),
        ];
        for (line, expected) in cases {
            assert_eq!(list(line).unwrap().subject, expected, "{line}");
        }
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        for line in [
            "--stats --rate",
            "--thresholds --persistent-conn",
            "--timeout --daemon",
            "--timeout --stats",
            "--sort --nosort",
            "-c --stats",
            "-c -S",
            "-c -o json",
            "-S --thresholds",
            "-S -o json",
            "--changes --stats",
            "--changes --live",
            "--live -c",
            "--extra-fields",
            "5",
            "-o netdata 5 -i 1",
        ] {
            let words = format!("ipvs-observer list {line}");
            assert!(
                Arguments::try_parse_from(words.split_whitespace()).is_err(),
                "{line}"
            );
        }
        for line in [
            "-c -t 192.0.2.1:80",
            "--timeout -f 47",
            "--daemon -r 10.0.0.1",
            "-o netdata -u 192.0.2.1",
            "--live",
            "--live --thresholds",
            "-o json --stats",
            "-o json --nosort",
            "-o influx -n",
            "-o json --extra-fields",
            "-o json 5",
            "--changes -o influx",
        ] {
            assert!(
                matches!(list(line), Err(ConfigError::Conflict(..))),
                "{line}"
            );
        }
    }

    #[test]
    fn a_list_is_made_once_unless_it_is_to_be_repeated() {
        let times = |line| {
            let list = list(line).unwrap();
            (list.interval, list.duration)
        };
        let s = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(times("-n"), (None, None));
        assert_eq!(times("-n -i 5"), (s(5), None));
        assert_eq!(times("-n -d 10"), (s(2), s(10)));
        assert_eq!(times("--changes"), (s(2), None));
        assert_eq!(times("-o netdata 5"), (s(5), None));
        assert_eq!(times("-o netdata"), (s(2), None));
    }
}
