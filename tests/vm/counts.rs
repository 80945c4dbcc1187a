//! Numbers that are known beforehand or that the kernel counts too: every one must be
//! met exactly.

mod all_netns;
mod bad_input;
mod bypass;
mod connections;
mod demo;
mod doctor;
mod drops;
mod environment;
mod firewall_mark;
mod forward;
mod icmp;
mod interrupted;
mod kernel_agrees;
mod large;
mod late;
mod live;
mod log;
mod methods;
mod missed;
mod module;
mod options;
mod outcomes;
mod persistence;
mod rates;
mod records;
mod reopened;
mod repeated;
mod rights;
mod servers;
mod states;
mod synchronisation;
mod text;
mod text_files;
mod udp;
