//! The plugins that are compiled in. A native connector joins Kurier by a line here.

use kurier_builtin::{converters, predicates, providers, transforms};
use kurier_connector_bench::{GenSource, NullSink};
use kurier_connector_file::{FileStreamSink, FileStreamSource};
use kurier_runtime::registry::Registry;
use std::sync::Arc;

/// All of them.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add_source(Arc::new(FileStreamSource::default()));
    registry.add_sink(Arc::new(FileStreamSink::default()));
    registry.add_source(Arc::new(GenSource::default()));
    registry.add_sink(Arc::new(NullSink::default()));
    converters::converters().for_each(|plugin| registry.add_converter(plugin));
    converters::header_converters().for_each(|plugin| registry.add_header_converter(plugin));
    transforms::transforms().for_each(|plugin| registry.add_transform(plugin));
    predicates::predicates().for_each(|plugin| registry.add_predicate(plugin));
    providers::config_providers().for_each(|plugin| registry.add_config_provider(plugin));
    registry
}
