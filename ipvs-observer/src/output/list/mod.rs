//! The table as `list` prints it: a format for each of its readers.
//!
//! A format is a pure function of a [`Listing`](crate::model::listing::Listing), which writes as it goes.

mod flags;
pub mod influx;
pub mod json;
pub mod netdata;
pub mod openmetrics;

#[cfg(test)]
mod fixture;
