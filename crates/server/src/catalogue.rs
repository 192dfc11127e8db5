//! The plugins that are compiled in. A family of native connectors joins Kurier by a cargo feature and a function here.

use kurier_builtin::{converters, predicates, providers, transforms};
use kurier_runtime::registry::Registry;
#[cfg(any(feature = "bench", feature = "file"))]
use std::sync::Arc;

/// All of them.
#[must_use]
pub fn catalogue() -> Registry {
    let mut registry = Registry::new();
    #[cfg(feature = "bench")]
    bench(&mut registry);
    #[cfg(feature = "file")]
    file(&mut registry);
    converters::converters().for_each(|plugin| registry.add_converter(plugin));
    converters::header_converters().for_each(|plugin| registry.add_header_converter(plugin));
    transforms::transforms().for_each(|plugin| registry.add_transform(plugin));
    predicates::predicates().for_each(|plugin| registry.add_predicate(plugin));
    providers::config_providers().for_each(|plugin| registry.add_config_provider(plugin));
    registry
}

#[cfg(feature = "bench")]
fn bench(registry: &mut Registry) {
    registry.add_source(Arc::new(kurier_connector_bench::GenSource::default()));
    registry.add_sink(Arc::new(kurier_connector_bench::NullSink::default()));
}

#[cfg(feature = "file")]
fn file(registry: &mut Registry) {
    registry.add_source(Arc::new(kurier_connector_file::FileStreamSource::default()));
    registry.add_sink(Arc::new(kurier_connector_file::FileStreamSink::default()));
}
