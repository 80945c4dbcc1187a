//! Numbers that are known beforehand or that the kernel counts too: every one must be
//! met exactly.

mod all_netns;
mod bypass;
mod churn;
mod connections;
mod doctor;
mod drops;
mod environment;
mod firewall_mark;
mod flood;
mod forward;
mod headers;
mod icmp;
mod interrupted;
mod kernel_agrees;
mod large;
mod late;
mod live;
mod methods;
mod missed;
mod module;
mod nesting;
mod outcomes;
mod persistence;
mod rates;
mod records;
mod reopened;
mod repeated;
mod rights;
mod servers;
mod states;
pub(crate) mod stream;
mod synchronisation;
mod text_files;
mod two_cpus;
mod udp;
