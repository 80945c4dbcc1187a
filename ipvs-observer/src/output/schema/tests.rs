//! What is printed is what the schema describes, all of it and nothing else.

use std::sync::Arc;

use ipvs_observer_common::{Event, Loss, Measure, TCP_STATE_NAMES};
use jsonschema::Validator;
use serde_json::{Map, Value};

use super::schema;
use crate::{
    cli::{OutputFormat, SchemaOf},
    model::{
        changes::Known,
        latency::Percentiles,
        listing::Listing,
        snapshot::{Run, Snapshot},
        split::{OwnCost, Part},
    },
    output::{
        doctor, explain, json,
        list::{
            self,
            fixture::{least, listing},
        },
        report::tests as report,
        stream::tests as stream,
        testing::{distribution, draining, of_all_netns, whole_run, window},
    },
};

const EVERY: [SchemaOf; 8] = [
    SchemaOf::Report,
    SchemaOf::Comparison,
    SchemaOf::Stream,
    SchemaOf::Top,
    SchemaOf::Explain,
    SchemaOf::List,
    SchemaOf::Changes,
    SchemaOf::Doctor,
];

fn described(of: SchemaOf) -> Value {
    serde_json::from_str(&schema(of)).unwrap()
}

fn validator(of: SchemaOf) -> Validator {
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&described(of)).unwrap()
}

/// The definitions, which are the same in every schema.
fn definitions() -> Map<String, Value> {
    described(SchemaOf::Top)["$defs"]
        .as_object()
        .unwrap()
        .clone()
}

fn names(properties: &Value) -> Vec<&str> {
    properties
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names
}

/// Objects of every kind of window.
fn windows() -> Vec<Value> {
    let mut live = window(2);
    for service in live.services.values_mut() {
        service.row.read_at = Some(live.at.monotonic);
        service.row.since = Some(live.at);
    }
    let mut gone = window(1);
    for service in gone.services.values_mut() {
        service.facts = None;
        for server in service.destinations.values_mut() {
            (server.facts, server.row.traffic, server.row.gone) = (None, None, true);
        }
    }
    let mut measured = window(1);
    let mut run = Run::clone(&measured.run);
    run.measures = Measure::ALL.to_vec();
    measured.run = Arc::new(run);
    let parse = |window: Snapshot| serde_json::from_str(&json::encode(&window)).unwrap();
    let windows = vec![
        window(2),
        whole_run(1),
        live,
        gone,
        measured,
        draining(3),
        draining(0),
        of_all_netns(),
    ];
    windows.into_iter().map(parse).collect()
}

/// Objects of every kind of explanation.
fn explanations() -> Vec<Value> {
    let mut measured = window(1);
    measured.own_cost = Some(OwnCost {
        runs: 3,
        run_time_ns: 900,
    });
    let mut run = Run::clone(&measured.run);
    run.measures = Measure::ALL.to_vec();
    measured.run = Arc::new(run);
    for service in measured.services.values_mut() {
        service.row.total.latencies[Measure::Hook as usize] =
            distribution(Measure::Hook, &[1000], 1);
    }
    let parse = |window: Snapshot| serde_json::from_str(&explain::encode(&window)).unwrap();
    [measured, window(2), whole_run(1), of_all_netns()]
        .map(parse)
        .into()
}

/// Objects of every kind of listing.
fn listings() -> Vec<Value> {
    let parse = |listing: Listing| {
        let mut out = Vec::new();
        list::json::encode(&listing, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    let mut elsewhere = listing();
    elsewhere.netns = Some("blue".to_owned());
    [listing(), elsewhere, least()].map(parse).into()
}

/// Objects of every kind of change.
fn changes() -> Vec<Value> {
    let mut none = listing();
    none.netns = Some("blue".to_owned());
    none.table.services.clear();
    let mut other = listing();
    for service in &mut other.table.services {
        service.scheduler.push('x');
        service.engine = Some("sip".to_owned());
        for server in &mut service.destinations {
            server.weight += 1;
            if let Some(tunnel) = &mut server.tunnel {
                tunnel.flags ^= 0x10;
            }
        }
    }
    let mut out = Vec::new();
    for (old, new) in [
        (&listing(), &none),
        (&none, &listing()),
        (&listing(), &other),
        (&none, &least()),
    ] {
        let known = Known::new(old.table.clone());
        list::changes::json(&known.changes(&new.table), new, &mut out).unwrap();
    }
    let lines = out
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// Reports of hosts where everything is there, where nothing is, and where something is refused.
fn doctors() -> Vec<Value> {
    let reports = [
        doctor::testing::report(),
        doctor::testing::bare(),
        doctor::testing::refused(),
    ];
    let parse = |report| {
        let text = doctor::encode(&report, OutputFormat::Json);
        serde_json::from_str(&text).unwrap()
    };
    reports.map(parse).into()
}

fn printed(of: SchemaOf) -> Vec<Value> {
    match of {
        SchemaOf::Top => windows(),
        SchemaOf::Explain => explanations(),
        SchemaOf::List => listings(),
        SchemaOf::Changes => changes(),
        SchemaOf::Doctor => doctors(),
        SchemaOf::Stream => stream::every_line(),
        SchemaOf::Report => report::reports(),
        SchemaOf::Comparison => report::comparisons(),
    }
}

/// JSON pointers to `value`, which is at `pointer`, and to all objects in it.
fn objects(value: &Value, pointer: &str) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object
            .iter()
            .map(|(name, child)| (name.clone(), child))
            .collect(),
        Value::Array(items) => (0..)
            .map(|index: usize| index.to_string())
            .zip(items)
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let below = children
        .into_iter()
        .flat_map(|(name, child)| objects(child, &format!("{pointer}/{name}")));
    let own = value.is_object().then(|| pointer.to_owned());
    own.into_iter().chain(below).collect()
}

#[test]
fn a_schema_is_one_of_draft_2020_12_and_of_its_command() {
    for of in EVERY {
        let schema = described(of);
        assert!(jsonschema::draft202012::meta::is_valid(&schema));
        let root = schema["$ref"].as_str().unwrap();
        assert!(
            schema.pointer(root.trim_start_matches('#')).is_some(),
            "{root}"
        );
    }
    for of in EVERY {
        for other in EVERY.into_iter().filter(|other| *other != of) {
            assert!(!validator(of).is_valid(&printed(other)[0]));
        }
    }
}

#[test]
fn all_that_is_printed_is_described() {
    for of in EVERY {
        let validator = validator(of);
        let printed = printed(of);
        assert!(printed.len() > 2);
        for object in printed {
            let errors: Vec<_> = validator
                .iter_errors(&object)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert_eq!(errors, [] as [String; 0], "{object}");
        }
    }
}

#[test]
fn a_field_that_is_not_described_is_refused_in_every_object() {
    for of in EVERY {
        let validator = validator(of);
        let object = &printed(of)[0];
        for pointer in objects(object, "") {
            let mut changed = object.clone();
            let fields = changed.pointer_mut(&pointer).unwrap();
            fields["undescribed"] = Value::Bool(true);
            assert!(!validator.is_valid(&changed), "{pointer} of {object}");
        }
    }
}

#[test]
fn every_field_has_a_description_and_a_type_and_every_object_ends_there() {
    fn check(path: &str, value: &Value, definitions: &Map<String, Value>) {
        let target = value.get("$ref").and_then(Value::as_str);
        let target = target.map(|target| &definitions[target.trim_start_matches("#/$defs/")]);
        let described = [Some(value), target].into_iter().flatten();
        let mut descriptions = described.filter_map(|value| value["description"].as_str());
        assert!(
            descriptions.any(|text| text.ends_with('.')),
            "{path} is not described"
        );
        let kinds = ["$ref", "type", "enum", "oneOf"];
        assert!(
            kinds.iter().any(|kind| value.get(kind).is_some()),
            "{path} may be anything, null too"
        );
        if value["type"] == "object" {
            let closed = value["additionalProperties"] == false;
            assert!(closed || path == "sysctls", "{path} takes everything");
        }
        let properties = value.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            check(&format!("{path}/{name}"), property, definitions);
        }
        if let Some(items) = value.get("items").filter(|items| items.is_object()) {
            check(&format!("{path}/[]"), items, definitions);
        }
    }
    let definitions = definitions();
    for (name, definition) in &definitions {
        check(name, definition, &definitions);
    }
}

#[test]
fn every_name_that_is_data_is_described() {
    let definitions = definitions();
    let properties = |name: &str| &definitions[name]["properties"];
    assert_eq!(
        names(properties("losses")),
        sorted(Loss::ALL.map(Loss::name))
    );
    let measures = Measure::ALL.map(Measure::name);
    let of = |of_host| {
        let all = Measure::ALL.into_iter();
        let measures = all.filter(move |measure| measure.is_of_host() == of_host);
        sorted(measures.map(Measure::name))
    };
    assert_eq!(names(properties("latencies")), of(false));
    assert_eq!(names(properties("host_latencies")), of(true));
    assert_eq!(
        definitions["measure"]["enum"],
        Value::from(measures.to_vec())
    );
    let parts = Part::ALL.map(Part::name);
    assert_eq!(names(properties("means_ns")), sorted(parts));
    assert_eq!(definitions["largest"]["enum"], Value::from(parts.to_vec()));
    let events = Event::ALL.map(Event::name);
    assert_eq!(
        names(properties("counters")),
        sorted(events.into_iter().chain(["dropped"]))
    );
    assert_eq!(names(properties("tcp_states")), sorted(TCP_STATE_NAMES));
    let percentiles = Percentiles::SHOWN.map(|(_, name)| name);
    let others = ["count", "sum_ns", "min_ns", "max_ns", "buckets"];
    assert_eq!(
        names(properties("latency")),
        sorted(percentiles.into_iter().chain(others))
    );
}

#[test]
fn every_description_is_of_something_that_is_printed() {
    fn collect(value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                for (name, child) in object {
                    names.push(name.clone());
                    collect(child, names);
                }
            }
            Value::Array(items) => {
                for item in items {
                    collect(item, names);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut seen = Vec::new();
    for of in EVERY {
        for object in printed(of) {
            collect(&object, &mut seen);
        }
    }
    seen.extend(Loss::ALL.map(|loss| loss.name().to_owned()));
    seen.extend(Measure::ALL.map(|measure| measure.name().to_owned()));
    for definition in definitions().values() {
        for name in definition
            .get("properties")
            .map(names)
            .into_iter()
            .flatten()
        {
            assert!(
                seen.iter().any(|seen| seen == name),
                "{name} is never printed"
            );
        }
    }
}
