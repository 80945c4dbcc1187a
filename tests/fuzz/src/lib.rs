//! The functions that the targets call, which are the lab's and are compiled here without the rest of it.

#[path = "../../src/fuzz.rs"]
pub mod targets;
