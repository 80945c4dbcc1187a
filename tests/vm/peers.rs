//! What ours says beside what the programs of others say of the same director.

mod everything;
mod programs;
