//! Holds the agent's JSON against the schema that it prints of it.
//!
//! Every line that a test reads goes through here, so that a field that is not documented fails it.

use std::sync::LazyLock;

use anyhow::{Context as _, Result, ensure};
use ipvs_observer::{cli::SchemaOf, output::schema::schema};
use jsonschema::Validator;
use serde_json::Value;

static TOP: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::Top));
static EXPLAIN: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::Explain));
static LIST: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::List));
static CHANGES: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::Changes));
static DOCTOR: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::Doctor));
static STREAM: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::Stream));
static REPORT: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::Report));
static COMPARISON: LazyLock<Result<Validator>> = LazyLock::new(|| validator(SchemaOf::Comparison));

/// Reads a line that a command printed, and names all that its schema does not say of it.
pub fn checked(of: SchemaOf, line: &str) -> Result<Value> {
    let value = serde_json::from_str(line)
        .with_context(|| format!("the agent printed what is not JSON: {line}"))?;
    let validator = match of {
        SchemaOf::Top => &TOP,
        SchemaOf::Explain => &EXPLAIN,
        SchemaOf::List => &LIST,
        SchemaOf::Changes => &CHANGES,
        SchemaOf::Doctor => &DOCTOR,
        SchemaOf::Stream => &STREAM,
        SchemaOf::Report => &REPORT,
        SchemaOf::Comparison => &COMPARISON,
    };
    let validator = validator
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let errors: Vec<_> = validator
        .iter_errors(&value)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    ensure!(
        errors.is_empty(),
        "the schema does not say {} of {line}",
        errors.join("; ")
    );
    Ok(value)
}

fn validator(of: SchemaOf) -> Result<Validator> {
    let schema = serde_json::from_str(&schema(of)).context("the schema is not JSON")?;
    let options = jsonschema::options().should_validate_formats(true);
    options
        .build(&schema)
        .map_err(|error| anyhow::anyhow!("cannot use the schema: {error}"))
}
