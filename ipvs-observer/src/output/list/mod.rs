//! What `list` prints: for people and for `ipvsadm -R` byte for byte as ipvsadm 1.31 does, and a format for each machine.
//!
//! A format is a pure function of a [`Listing`](crate::model::listing::Listing) and, where addresses are to be printed
//! by name, of the [`Names`] looked up for it; it writes as it goes. `list` gathers both and decides what is asked for.
//! Layouts of text are those of ipvsadm except where it is wrong:
//!
//! - counters of real servers have 64 bits, where ipvsadm keeps the lower 32;
//! - order is that of the numbers, where ipvsadm subtracts them and overflows;
//! - marks, weights and times of 2³¹ and more are what they are, where ipvsadm prints negative numbers;
//! - saved rules hold thresholds and whole names, where ipvsadm loses the first and cuts the second;
//! - what ipvsadm has no name for is a number, where it prints `?`, `(null)` or nothing, or crashes;
//! - bytes of a persistence engine that do not print are escaped, where ipvsadm sends them to the terminal;
//! - what is not known is `-`.

pub mod changes;
mod connections;
pub mod influx;
pub mod json;
mod names;
pub mod netdata;
pub mod openmetrics;
mod order;
mod page;
mod save;
mod scheduling;
mod state;
mod table;
mod tunnel;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod testing;

pub use self::{
    connections::Connections,
    names::Names,
    order::Order,
    save::save,
    state::{daemons, timeouts},
    table::{Columns, Options, table},
};
