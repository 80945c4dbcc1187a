//! The tests that need neither root nor a kernel of their own.

mod allocations;
mod boundaries;
mod corpora;
mod page;
