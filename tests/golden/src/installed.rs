//! The plugins of the worker that was recorded.

use kurier_builtin::converters::{converters, header_converters};
use kurier_builtin::predicates::predicates;
use kurier_builtin::providers::config_providers;
use kurier_builtin::transforms::transforms;
use kurier_connector_file::{FileStreamSink, FileStreamSource};
use kurier_runtime::registry::Registry;
use std::sync::{Arc, LazyLock};

/// What settings of connectors may name.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
        let mut registry = Registry::new();
        registry.add_source(Arc::new(FileStreamSource::default()));
        registry.add_sink(Arc::new(FileStreamSink::default()));
        converters().for_each(|plugin| registry.add_converter(plugin));
        header_converters().for_each(|plugin| registry.add_header_converter(plugin));
        transforms().for_each(|plugin| registry.add_transform(plugin));
        predicates().for_each(|plugin| registry.add_predicate(plugin));
        config_providers().for_each(|plugin| registry.add_config_provider(plugin));
        registry
    });
    &REGISTRY
}
