//! Parses JSON documents into models, so that an error names the field, what is wrong with it, and where it stands.
//!
//! The fast path is one pass. Only when it fails are the bytes parsed once more with a parser that remembers where it is: the
//! price of a good message is paid by those who need it.

use super::objects::Objects;
use anyhow::{Result, anyhow};
use serde::de::DeserializeOwned;

/// Parses a whole document, in which a struct of the model is an object and nothing else; `null` is no field.
///
/// # Errors
/// `process.user.uid: expected a whole number from 0 to 4294967295, found "root" at line 7 column 12`
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    whole(bytes).map_err(|first| {
        let parser = &mut serde_json::Deserializer::from_slice(bytes);
        match serde_path_to_error::deserialize::<_, T>(Objects::document(parser)) {
            Err(placed) if has_place(placed.path()) => anyhow!("{}: {}", placed.path(), words(placed.inner())),
            _ => anyhow!(words(&first)),
        }
    })
}

fn whole<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Objects::document(&mut parser))?;
    parser.end()?;
    Ok(value)
}

fn has_place(path: &serde_path_to_error::Path) -> bool {
    !matches!(path.to_string().as_str(), "." | "?" | "")
}

/// What serde calls the types that were expected, and what JSON calls them.
const EXPECTED: &[(&str, &str)] = &[
    ("a sequence", "an array"),
    ("a map", "an object"),
    ("a boolean", "true or false"),
    ("path string", "a string"),
    ("u16", "a whole number from 0 to 65535"),
    ("u32", "a whole number from 0 to 4294967295"),
    ("u64", "a whole number from 0 to 18446744073709551615"),
    ("i32", "a whole number from -2147483648 to 2147483647"),
    ("i64", "a whole number from -9223372036854775808 to 9223372036854775807"),
];

/// The words of JSON instead of serde's, which are those of Rust. serde_json's begin with a capital for its own syntax errors;
/// ours are all small.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let (what, place) = text.strip_suffix(&place).map_or((text.as_str(), ""), |what| (what, place.as_str()));
    let mismatch = what.strip_prefix("invalid type: ").or_else(|| what.strip_prefix("invalid value: "));
    if let Some((found, expected)) = mismatch.and_then(|mismatch| mismatch.rsplit_once(", expected ")) {
        return format!("expected {}, found {}{place}", of_json(expected), shown(found));
    }
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.starts_with("EOF") => first.to_lowercase().collect::<String>() + letters.as_str(),
        _ => text,
    }
}

fn of_json(expected: &str) -> &str {
    if expected.starts_with("struct ") {
        return "an object";
    }
    EXPECTED.iter().find(|(rust, _)| *rust == expected).map_or(expected, |(_, json)| json)
}

/// ``integer `7` `` is 7 and `string "root"` is "root".
fn shown(found: &str) -> &str {
    match found {
        "sequence" => "an array",
        "map" => "an object",
        "unit value" | "Option value" => "null",
        _ if found.starts_with("string \"") => found.trim_start_matches("string "),
        _ => found.split_once('`').map_or(found, |(_, value)| value.trim_end_matches('`')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Process, Resources};
    use serde_json::Value;

    /// A document with every field of the model.
    fn every_field() -> Value {
        serde_json::from_str(include_str!("../../tests/data/every-field.json")).unwrap()
    }

    /// JSON pointers to every value in `value`.
    fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, part)| pointers(part, &format!("{at}/{name}"), found));
            }
            Value::Array(parts) => {
                parts.iter().enumerate().for_each(|(i, part)| pointers(part, &format!("{at}/{i}"), found));
            }
            _ => {}
        }
    }

    fn all_pointers() -> Vec<String> {
        let mut found = Vec::new();
        pointers(&every_field(), "", &mut found);
        found
    }

    fn read(document: &Value) -> Result<Config> {
        parse(document.to_string().as_bytes())
    }

    #[test]
    fn the_document_has_every_field_and_none_is_lost() {
        let document = every_field();
        assert_eq!(serde_json::to_value(read(&document).unwrap()).unwrap(), document);
        let model = [
            include_str!("mod.rs"),
            include_str!("process.rs"),
            include_str!("linux.rs"),
            include_str!("resources.rs"),
            include_str!("seccomp.rs"),
        ];
        let fields: Vec<&str> =
            model.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("    pub ")).collect();
        let kinds = |document: &Value| document.to_string().matches("\":").count();
        assert!(kinds(&document) > fields.len(), "{} of {} fields", kinds(&document), fields.len());
    }

    #[test]
    fn wherever_an_object_belongs_an_array_is_refused_with_its_place() {
        let document = every_field();
        let objects = all_pointers().into_iter().filter(|at| document.pointer(at).unwrap().is_object());
        let mut seen = 0;
        for at in objects {
            let whole = document.pointer(&at).unwrap().as_object().unwrap();
            let positional: Vec<Value> = whole.values().cloned().collect();
            for array in [Value::Array(Vec::new()), Value::from(vec![Value::Null]), Value::from(positional)] {
                let mut wrong = document.clone();
                *wrong.pointer_mut(&at).unwrap() = array;
                let error = read(&wrong).map(|_| ()).unwrap_err().to_string();
                let place = at.trim_start_matches('/').split('/').next().unwrap();
                assert!(error.contains("expected an object, found an array"), "{at}: {error}");
                assert!(error.starts_with(place), "{at}: {error}");
            }
            seen += 1;
        }
        assert!(seen > 50, "{seen} objects");
    }

    #[test]
    fn null_in_a_field_is_no_field_and_elsewhere_refused() {
        let document = every_field();
        for at in all_pointers().into_iter().filter(|at| !at.is_empty()) {
            let (object, name) = at.rsplit_once('/').unwrap();
            let is_map = ["annotations", "timeOffsets", "netDevices", "sysctl", "unified", "rdma"]
                .iter()
                .any(|map| object.ends_with(&format!("/{map}")));
            let is_field = document.pointer(object).unwrap().is_object() && !is_map;
            let mut null = document.clone();
            *null.pointer_mut(&at).unwrap() = Value::Null;
            if is_field {
                let mut without = document.clone();
                without.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(name);
                assert_eq!(read(&null).unwrap(), read(&without).unwrap(), "{at}");
            } else {
                assert!(read(&null).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn what_update_and_exec_read_is_an_object_too() {
        let said = |refused: Result<()>| refused.unwrap_err().to_string();
        let resources = |text: &str| said(parse::<Resources>(text.as_bytes()).map(drop));
        assert_eq!(resources("[]"), "expected an object, found an array at line 1 column 2");
        assert_eq!(resources(r#"{"memory":[]}"#), "memory: expected an object, found an array at line 1 column 12");
        assert_eq!(
            resources(r#"{"memory":[33554432]}"#),
            "memory: expected an object, found an array at line 1 column 11"
        );
        let process = |text: &str| said(parse::<Process>(text.as_bytes()).map(drop));
        assert_eq!(process(r#"["ps"]"#), "expected an object, found an array at line 1 column 1");
        assert_eq!(
            process(r#"{"user": [1000, 1000]}"#),
            "user: expected an object, found an array at line 1 column 10"
        );
    }

    #[test]
    fn a_mismatch_is_told_in_the_words_of_json() {
        let rows = [
            (
                r#"{"pids":{"limit":true}}"#,
                "pids.limit: expected a whole number from -9223372036854775808 to 9223372036854775807, found true",
            ),
            (
                r#"{"pids":{"limit":1.5}}"#,
                "pids.limit: expected a whole number from -9223372036854775808 to 9223372036854775807, found 1.5",
            ),
            (r#"{"blockIO":{"weight":65536}}"#, "blockIO.weight: expected a whole number from 0 to 65535, found 65536"),
            (r#"{"unified":{"a":null}}"#, "unified.a: expected a string, found null"),
            (r#"{"unified":[]}"#, "unified: expected an object, found an array"),
            (r#"{"devices":{}}"#, "devices: expected an array, found an object"),
            (
                r#"{"memory":{"useHierarchy":"a, expected b"}}"#,
                "memory.useHierarchy: expected true or false, found \"a, expected b\"",
            ),
        ];
        for (text, expected) in rows {
            let error = parse::<Resources>(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(error.split(" at line").next().unwrap(), expected, "{text}");
        }
    }
}
