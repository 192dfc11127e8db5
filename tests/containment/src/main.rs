//! Kurier with the connectors that misbehave on demand: the program itself, with a larger catalogue.
//!
//! A binary of its own: as a feature of `kurier` they would have the workspace build that binary twice into one place, and could be shipped by mistake.

use kurier_connector_fixtures::{
    BlockingSource, ErrantRecordSink, MonitorableSink, MonitorableSource, StruckTransform,
};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let mut plugins = kurier::catalogue();
    plugins.add_source(Arc::new(MonitorableSource::default()));
    plugins.add_source(Arc::new(BlockingSource::default()));
    plugins.add_sink(Arc::new(MonitorableSink::default()));
    plugins.add_sink(Arc::new(ErrantRecordSink::default()));
    plugins.add_transform(Arc::new(StruckTransform::default()));
    kurier::main(plugins)
}
