//! What IPVS says about itself, over generic netlink and in text.
//!
//! [`wire`] is the format of the messages, [`table`] what they mean, and [`netlink`] the only code
//! of the agent that opens a netlink socket; [`procfs`] reads the text files. All of it reads:
//! nothing here changes a service or a server, nor makes the kernel load a module.

pub mod netlink;
pub mod procfs;
pub mod table;
pub mod wire;
