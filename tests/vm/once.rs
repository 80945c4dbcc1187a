//! What is the same on every kernel, since it is the agent's alone: its options and files, what it prints, how it makes
//! room. It is told once.

mod bad_input;
mod demo;
mod growth;
mod log;
mod options;
mod record;
mod recording;
mod stream;
mod text;
