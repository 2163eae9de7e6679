//! The schema of `kiln.toml` says what the parser says: of the documentation's examples, of the policies that kiln ships, of each
//! key, and of what is wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::Workspace;

struct Schema {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
    value: Value,
}

impl Schema {
    fn new() -> Self {
        let printed = Workspace::new(&[("x", "")]).kiln(["policy", "schema"]).ok();
        let value: Value = serde_json::from_str(&printed.stdout).expect("JSON");
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        let name = "kiln.schema.json";
        compiler
            .add_resource(name, value.clone())
            .expect("a resource");
        let index = compiler
            .compile(name, &mut schemas)
            .expect("a valid JSON schema");
        Self {
            schemas,
            index,
            value,
        }
    }

    fn accepts(&self, text: &str) -> Result<(), String> {
        let value: toml::Value = toml::from_str(text).map_err(|error| error.to_string())?;
        let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
        let result = self.schemas.validate(&value, self.index);
        result.map_err(|error| format!("{error:#}"))
    }

    fn keys_of(&self, definition: &str) -> BTreeSet<String> {
        let properties = &self.value["$defs"][definition]["properties"];
        let properties = properties.as_object().expect("properties");
        properties.keys().cloned().collect()
    }
}

/// Whether kiln reads it.
fn is_read(text: &str) -> bool {
    let workspace = Workspace::new(&[
        ("Cargo.toml", &crate::support::manifest("policy-schema", "")),
        ("src/lib.rs", ""),
        ("kiln.toml", text),
    ]);
    let shown = workspace.kiln(["policy", "show", "--offline"]).run();
    shown.code == Some(0)
}

fn repository(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).expect("readable")
}

#[test]
fn examples_and_shipped_policies_fit() {
    let schema = Schema::new();
    let text = repository("docs/policy.md");
    let examples: Vec<&str> = text
        .split("```toml\n")
        .skip(1)
        .filter_map(|part| part.split("```").next())
        .collect();
    assert!(!examples.is_empty());
    for example in examples {
        assert_eq!(schema.accepts(example), Ok(()), "{example}");
        assert!(is_read(example), "{example}");
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policy");
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("readable");
        assert_eq!(schema.accepts(&text), Ok(()), "{}", path.display());
    }
}

#[test]
fn the_same_keys_are_in_schema_parser_and_documentation() {
    let schema = Schema::new();
    let text = repository("docs/policy.md");
    let section = |heading: &str| {
        let after = text.split(heading).nth(1).expect("the section");
        after.split("\n#").next().expect("text").to_owned()
    };
    // The first column of a table: `a`, or `a`, `b`.
    let documented = |section: &str| -> BTreeSet<String> {
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.filter_map(|row| row.split(" | ").next());
        let names = cells.flat_map(|cell| cell.split(", "));
        names
            .map(|name| {
                name.trim_matches('`')
                    .split(' ')
                    .next()
                    .unwrap_or("")
                    .to_owned()
            })
            .collect()
    };
    let crates = schema.keys_of("Crate");
    assert_eq!(documented(&section("## `[crate.NAME]`")), crates);
    assert_eq!(documented(&section("### Limits")), schema.keys_of("Limits"));
    let example = |key: &str| match key {
        "version" => json!("^1"),
        "source" => json!("crates-io"),
        "applies-to" => json!("users"),
        "defaults" => json!(false),
        "limits" => json!({ "wall-seconds": 5 }),
        "reason" => json!("why"),
        "set-env" => json!({ "A": "b" }),
        "use" => json!(["perl"]),
        "read" | "read-if-present" => json!(["/usr/share/x"]),
        _ => json!(["x"]),
    };
    let file = |key: &str, value: Value| {
        let value = toml::Value::try_from(value).expect("TOML");
        format!("[crate.policy-schema-absent]\n{key} = {value}\n")
    };
    let bundle = schema.keys_of("Bundle");
    for key in crates.iter().map(String::as_str) {
        let text = file(key, example(key));
        assert_eq!(schema.accepts(&text), Ok(()), "{text}");
        assert!(is_read(&text), "{text}");
        let text = text.replace("[crate.policy-schema-absent", "[bundle.x");
        let expected = bundle.contains(key);
        assert_eq!(schema.accepts(&text).is_ok(), expected, "{text}");
        assert_eq!(is_read(&text), expected, "{text}");
    }
    for text in [
        "[unknown]\n",
        "[crate.a]\nunknown = 1\n",
        "[[crate.a]]\nunknown = 1\n",
        "[crate.a]\nexec = \"perl\"\n",
        "[crate.a]\nlimits = { unknown = 1 }\n",
        "[crate.a]\napplies-to = \"nobody\"\n",
        "[bundle.a]\nversion = \"1\"\n",
        "[dev]\nunknown = 1\n",
        "[policy]\nbuild-scripts = \"approve\"\n",
        "[toolchain]\nrust-digest = \"abc\"\n",
        "[workspace]\nunknown = true\n",
    ] {
        assert!(schema.accepts(text).is_err(), "{text}");
        assert!(!is_read(text), "{text}");
    }
}
