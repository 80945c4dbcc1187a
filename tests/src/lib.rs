//! The lab in which ipvs-observer is shown and tested: a director, its clients and
//! its real servers in the network namespaces of a disposable machine.
//!
//! Everything here needs root and a kernel with IPVS, veth and netem; `cargo xtask`
//! boots one. Nothing here but `peers` needs a tool that is not in this workspace.

pub mod agent;
pub mod application;
pub mod bench;
pub mod demo;
pub mod director;
pub mod everything;
pub mod extended;
pub mod farm;
pub mod flood;
pub mod forwarding;
pub mod fuzz;
pub mod genetlink;
pub mod guest;
pub mod ipvs_admin;
pub mod ipvsadm_text;
pub mod link;
pub mod netns;
pub mod peers;
pub mod proc_ipvs;
pub mod report;
pub mod rtnetlink;
pub mod schema;
pub mod services;
pub mod synchronisation;
pub mod tcp_counters;
pub mod traffic;
pub mod tunnel;
pub mod wait;
