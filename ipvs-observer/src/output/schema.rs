//! The JSON Schema of what is printed with `-o json`.
//!
//! It is written by hand, beside the encoders and not made of them: a field that is renamed or has no description fails the
//! tests, here and in the virtual machines.

use std::io;

use crate::cli::SchemaOf;

const SCHEMA: &str = include_str!("schema/schema.json");
/// Where the schema names the object that it is of.
const ROOT: &str = "#/$defs/ROOT";

/// The schema of what a command prints, in draft 2020-12.
pub fn schema(of: SchemaOf) -> String {
    let root = match of {
        SchemaOf::Top => "#/$defs/top",
        SchemaOf::Explain => "#/$defs/explanation",
        SchemaOf::List => "#/$defs/list",
        SchemaOf::Changes => "#/$defs/changes",
        SchemaOf::Doctor => "#/$defs/doctor",
        SchemaOf::Stream => "#/$defs/stream",
        SchemaOf::Report => "#/$defs/report",
        SchemaOf::Comparison => "#/$defs/comparison",
    };
    SCHEMA.replacen(ROOT, root, 1)
}

/// Writes it.
pub fn encode(of: SchemaOf, out: &mut impl io::Write) -> io::Result<()> {
    out.write_all(schema(of).as_bytes())
}

#[cfg(test)]
mod tests;
