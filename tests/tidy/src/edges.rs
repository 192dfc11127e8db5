//! Dependencies point one way. A new edge is a decision: make it in ARCHITECTURE.md first, then here.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate of ours may use of ours, outside its tests. Connectors are one row: they know `api` and nothing else.
const ALLOWED: &[(&str, &[&str])] = &[
    ("kurier-api", &[]),
    ("kurier-kafka", &[]),
    ("kurier-broker", &["kurier-kafka"]),
    ("kurier-builtin", &["kurier-api"]),
    ("kurier-runtime", &["kurier-api", "kurier-kafka"]),
    (
        "kurier",
        &[
            "kurier-api",
            "kurier-broker",
            "kurier-builtin",
            "kurier-connector-bench",
            "kurier-connector-file",
            "kurier-kafka",
            "kurier-runtime",
        ],
    ),
    ("kurier-connector-bench", &["kurier-api"]),
    ("kurier-connector-file", &["kurier-api"]),
    ("kurier-connector-fixtures", &["kurier-api"]),
    ("kurier-sim", &["kurier-api", "kurier-broker", "kurier-kafka", "kurier-runtime"]),
];

/// What only the crates named here may use: each keeps a heavy or telling dependency on its side of a boundary.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("tokio", &["kurier-kafka", "kurier-broker", "kurier-runtime", "kurier"]),
    ("kafka-protocol", &["kurier-kafka", "kurier-broker", "kurier-sim"]),
    ("axum", &["kurier"]),
    ("clap", &["kurier"]),
    ("libgssapi", &["kurier-kafka"]),
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages
        .iter()
        .map(|package| {
            let used = package["dependencies"].as_array().into_iter().flatten();
            let used = used.filter(|d| d["kind"].as_str() != Some("dev")).map(|d| text(&d["name"]));
            (text(&package["name"]), used.collect())
        })
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let packages = dependencies();
    for (package, used) in &packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == package) else {
            assert!(
                !package.starts_with("kurier-connector-"),
                "the connector crate {package} is new: add its row to ALLOWED in tests/tidy/src/edges.rs, with kurier-api and nothing else"
            );
            continue; // Test crates and xtask may know everybody.
        };
        for name in used.iter().filter(|name| packages.contains_key(*name)) {
            assert!(
                allowed.contains(&name.as_str()),
                "{package} must not use {name}: dependencies point one way, see \"Crates\" in ARCHITECTURE.md. Move what is shared towards kurier-api, \
                 or argue for the new edge there and add it here"
            );
        }
        for (name, users) in OUTSIDE {
            assert!(
                !used.contains(*name) || users.contains(&package.as_str()),
                "{package} must not use {name}: that dependency stays behind the boundary of {users:?}"
            );
        }
    }
    for (name, _) in ALLOWED {
        assert!(packages.contains_key(*name), "{name} is gone: take its row out of ALLOWED in tests/tidy/src/edges.rs");
    }
}
