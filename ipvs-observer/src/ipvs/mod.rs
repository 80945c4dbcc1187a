//! What IPVS says about itself over generic netlink.
//!
//! [`wire`] is the format, [`table`] what it means, and [`netlink`] the only code of the agent
//! that opens a netlink socket. All of it reads: nothing here changes a service or a server,
//! nor makes the kernel load a module.

pub mod netlink;
pub mod table;
pub mod wire;
