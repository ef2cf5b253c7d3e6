//! The JSON Schema of `wheelbarrow.toml` and `[tool.wheelbarrow]`, for editors.
//! `docs/reference/wheelbarrow.schema.json` is generated from the table of shapes; descriptions of keys come
//! from the comments in `docs/reference/settings.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::{Map, Value, json};
use toml::de::DeTable;

use super::keys::TOP;
use super::shape::{self, SHAPES, Shape};

const FILE: &str = "docs/reference/wheelbarrow.schema.json";
const PAGE: &str = "docs/reference/settings.md";

/// As TOML has the key: what is below `release` is written with underscores.
fn spelling(example: &str, key: &str) -> String {
    let written = example.split(" = ").next().unwrap_or_default();
    let last = key.rsplit('.').next().unwrap_or(key);
    if written.replace('_', "-") == last { written.to_owned() } else { last.to_owned() }
}

fn of_shape(shape: Shape) -> Value {
    let text = || json!({"type": "string"});
    let texts = || json!({"type": "array", "items": text()});
    let whole = || json!({"type": "integer", "minimum": 0});
    let command = || json!({"anyOf": [text(), {"type": "array", "items": text(), "minItems": 1}]});
    match shape {
        Shape::Text => text(),
        Shape::Texts => texts(),
        Shape::Whole => whole(),
        Shape::Wholes => json!({"type": "array", "items": whole()}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Command => command(),
        Shape::Commands => json!({"type": "array", "items": command()}),
        Shape::Hook => {
            let table = json!({
                "type": "object",
                "properties": {"run": command(), "required": {"type": "boolean"}, "timeout": whole()},
                "required": ["run"],
                "additionalProperties": false,
            });
            let one = json!({"anyOf": [text(), table]});
            json!({"anyOf": [text(), table, {"type": "array", "items": {"anyOf": [command(), one]}}]})
        }
        Shape::OneOf(words) => json!({"enum": words}),
        Shape::Variables => json!({"anyOf": [text(), {"type": "object", "additionalProperties": text()}]}),
        Shape::Table => json!({"type": "object"}),
        Shape::Tables => json!({"type": "array"}),
    }
}

/// The comments of the page, by key with dashes.
fn comments() -> BTreeMap<String, String> {
    let text = fs::read_to_string(path(PAGE)).unwrap();
    let (mut found, mut table, mut in_block) = (BTreeMap::new(), String::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            in_block = line == "```toml";
            table.clear();
        } else if in_block && line.starts_with('[') {
            table = line.split(']').next().unwrap_or_default().trim_start_matches('[').to_owned() + ".";
        } else if let (true, Some((key, rest))) = (in_block, line.split_once(" = "))
            && let Some((_, comment)) = rest.rsplit_once("  # ").or_else(|| rest.rsplit_once(" # "))
        {
            found.insert(format!("{table}{key}").replace('_', "-"), comment.trim().to_owned());
        }
    }
    found
}

fn schema() -> Value {
    let comments = comments();
    let mut root = Map::new();
    for (key, shape, example) in SHAPES {
        let mut value = of_shape(*shape);
        if let (Some(comment), Some(object)) = (comments.get(*key), value.as_object_mut()) {
            object.insert("description".to_owned(), json!(comment));
        }
        insert(&mut root, key, &spelling(example, key), value);
    }
    let mut schema = table(&root);
    // A check is a table, or `false`.
    let check = &mut schema["properties"]["release"]["properties"]["check"];
    *check = json!({"anyOf": [check.take(), {"const": false}]});
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "wheelbarrow.toml, and [tool.wheelbarrow] in pyproject.toml",
    });
    let (Value::Object(mut head), Value::Object(rest)) = (head, schema) else { unreachable!() };
    head.extend(rest);
    Value::Object(head)
}

fn table(properties: &Map<String, Value>) -> Value {
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// Puts a key into the tables above it, which are made as they are needed.
fn insert(properties: &mut Map<String, Value>, key: &str, written: &str, value: Value) {
    match key.split_once('.') {
        None => {
            let known = properties.entry(written.to_owned()).or_insert_with(|| json!({}));
            let (Some(known), Value::Object(value)) = (known.as_object_mut(), value) else { unreachable!() };
            for (name, value) in value {
                known.entry(name).or_insert(value);
            }
        }
        Some((first, rest)) => {
            let is_list = SHAPES.iter().any(|(known, shape, _)| {
                let last = known.rsplit('.').next();
                last == Some(first) && matches!(shape, Shape::Tables)
            });
            let inner = properties.entry(first.to_owned()).or_insert_with(|| json!({}));
            let place = if is_list {
                inner["type"] = json!("array");
                &mut inner["items"]
            } else {
                inner
            };
            if place["properties"].is_null() {
                place["type"] = json!("object");
                place["additionalProperties"] = json!(false);
                place["properties"] = json!({});
            }
            let Some(below) = place["properties"].as_object_mut() else { unreachable!() };
            insert(below, rest, written, value);
        }
    }
}

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

#[test]
fn the_schema_is_made_from_the_shapes() {
    let wanted = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("WHEELBARROW_UPDATE").is_some() {
        fs::write(path(FILE), wanted).unwrap();
        return;
    }
    let found = fs::read_to_string(path(FILE)).unwrap_or_default();
    assert!(found == wanted, "{FILE} is stale: run this test with WHEELBARROW_UPDATE=1");
}

#[test]
fn the_schema_has_every_key_of_a_table_at_the_top() {
    let schema = schema();
    for key in TOP {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

/// Every key on the page has a shape, and each value there fits it.
#[test]
fn the_page_shows_keys_that_are_known() {
    let text = fs::read_to_string(path(PAGE)).unwrap();
    for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let document = DeTable::parse(block).unwrap();
        shape::check(Path::new(PAGE), block, document.get_ref()).unwrap();
    }
    for key in comments().into_keys() {
        assert!(SHAPES.iter().any(|(known, ..)| *known == key), "{key} has no shape");
    }
}
