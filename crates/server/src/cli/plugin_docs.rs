//! `docs/plugins.md`, from what the plugins declare.

use kurier_api::config::{ConfigDef, Key};
use kurier_api::plugin::PluginKind;
use kurier_runtime::registry::{ConnectorPlugin, Registry};
use std::fmt::Write;

const HEAD: &str = "\
# Plugins

Written by `cargo xtask docs` from what the plugins declare; change that, not this file.

What is compiled into `kurier`, under the names of Java's classes. The short names that Java takes (`FileStreamSource`, `Json`, …) work too. Settings that
every connector has (`name`, `tasks.max`, `transforms`, `errors.tolerance`, …) are Java's and not listed here;
`GET /connector-plugins/<class>/config` lists them all.
";

/// One section a kind, one part a plugin.
pub(super) fn markdown(registry: &Registry) -> String {
    let mut text = HEAD.to_owned();
    let mut last = None;
    for plugin in registry.list(false) {
        // A converter is listed as header converter again; its settings are the same.
        if plugin.kind == PluginKind::HeaderConverter && registry.converter(&plugin.class).is_some() {
            continue;
        }
        if last != Some(plugin.kind) {
            last = Some(plugin.kind);
            writeln!(text, "\n## {}", heading(plugin.kind)).expect("writing into memory does not fail");
        }
        writeln!(text, "\n### {}\n", plugin.class).expect("writing into memory does not fail");
        settings(&definition(registry, &plugin.class, plugin.kind), &mut text);
    }
    text.push_str("\n## Config providers\n\n");
    for class in registry.classes(PluginKind::ConfigProvider) {
        writeln!(text, "- `{class}`").expect("writing into memory does not fail");
    }
    text
}

fn heading(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Source => "Source connectors",
        PluginKind::Sink => "Sink connectors",
        PluginKind::Converter => "Converters",
        PluginKind::HeaderConverter => "Header converters",
        PluginKind::Transformation => "Transforms",
        PluginKind::Predicate => "Predicates",
        PluginKind::ConfigProvider => "Config providers",
        PluginKind::RestExtension => "REST extensions",
        PluginKind::OverridePolicy => "Override policies",
    }
}

fn definition(registry: &Registry, class: &str, kind: PluginKind) -> ConfigDef {
    let found = match kind {
        PluginKind::Source | PluginKind::Sink => registry.connector(class).ok().map(|connector| match connector {
            ConnectorPlugin::Source(source) => source.config().clone(),
            ConnectorPlugin::Sink(sink) => sink.config().clone(),
        }),
        PluginKind::Converter => registry.converter(class).map(|plugin| plugin.config().clone()),
        PluginKind::HeaderConverter => registry.header_converter(class).map(|plugin| plugin.config().clone()),
        PluginKind::Transformation => registry.transform(class).map(|plugin| plugin.config().clone()),
        PluginKind::Predicate => registry.predicate(class).map(|plugin| plugin.config().clone()),
        PluginKind::ConfigProvider | PluginKind::RestExtension | PluginKind::OverridePolicy => None,
    };
    found.unwrap_or_default()
}

fn settings(definition: &ConfigDef, text: &mut String) {
    // The runtime says this one to a converter; nobody writes it.
    let keys: Vec<&Key> = definition.all_keys().filter(|key| key.name != "converter.type").collect();
    if keys.is_empty() {
        text.push_str("No settings.\n");
        return;
    }
    text.push_str("| key | type | default | |\n|---|---|---|---|\n");
    for key in keys {
        let default = match (key.is_required(), key.default_text()) {
            (true, _) => "required".to_owned(),
            (false, None) => String::new(),
            (false, Some(default)) => format!("`{default}`"),
        };
        let valid = key.validator.as_ref().map(ToString::to_string).filter(|valid| !valid.is_empty());
        let valid = valid.map_or_else(String::new, |valid| format!(" Valid: {valid}."));
        let doc = format!("{}{valid}", key.documentation).replace('|', "\\|").replace('<', "&lt;");
        writeln!(text, "| `{}` | {} | {default} | {doc} |", key.name, key.kind.name().to_lowercase())
            .expect("writing into memory does not fail");
    }
}
