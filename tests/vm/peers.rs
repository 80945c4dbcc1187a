//! What ours says beside what the programs of others say of the same director.

mod comparison;
mod everything;
mod influx;
mod json;
mod metrics;
mod name_server;
mod names;
mod programs;
mod refused;
mod saved;
mod text;
