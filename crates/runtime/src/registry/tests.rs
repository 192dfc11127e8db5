use super::*;
use async_trait::async_trait;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::plugin::{Connector, ConnectorContext, Converter, ConverterRole, SourceTask, SourceTaskContext};

struct Named(&'static str, ConfigDef);

#[async_trait]
impl Source for Named {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: self.0, version: "4.3.1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.1
    }

    async fn connect(&self, _: &Props, _: Arc<dyn ConnectorContext>) -> Result<Box<dyn Connector>, ConnectError> {
        Err(ConnectError::connect("not for starting"))
    }

    async fn start_task(&self, _: &Props, _: Arc<dyn SourceTaskContext>) -> Result<Box<dyn SourceTask>, ConnectError> {
        Err(ConnectError::connect("not for starting"))
    }
}

impl ConverterType for Named {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: self.0, version: "4.3.1" }
    }

    fn config(&self) -> &ConfigDef {
        &self.1
    }

    fn create(&self, _: &Props, _: ConverterRole) -> Result<Box<dyn Converter>, ConnectError> {
        Err(ConnectError::connect("not for starting"))
    }
}

fn registry(sources: &[&'static str]) -> Registry {
    let mut registry = Registry::new();
    for class in sources {
        registry.add_source(Arc::new(Named(class, ConfigDef::default())));
    }
    registry
}

#[test]
fn names_and_aliases() {
    let registry = registry(&[
        "org.x.FileStreamSourceConnector",
        "org.x.Outer$NestedConnector",
        "a.TwinConnector",
        "b.TwinConnector",
    ]);
    let cases = [
        ("org.x.FileStreamSourceConnector", Ok("org.x.FileStreamSourceConnector")),
        ("FileStreamSourceConnector", Ok("org.x.FileStreamSourceConnector")),
        ("FileStreamSource", Ok("org.x.FileStreamSourceConnector")),
        ("filestreamsource", Err("which name matches filestreamsource, available")),
        ("FileStreamSorce", Err("Did you mean FileStreamSource?")),
        ("org.x.Outer$NestedConnector", Ok("org.x.Outer$NestedConnector")),
        ("NestedConnector", Err("Failed to find any class that implements Connector")),
        ("Twin", Err("More than one connector matches alias Twin. Please use full package and class name instead.")),
        ("b.TwinConnector", Ok("b.TwinConnector")),
        ("", Err("which name matches , available connectors are: PluginDesc{klass=class a.TwinConnector")),
    ];
    for (name, expected) in cases {
        match (registry.connector(name), expected) {
            (Ok(plugin), Ok(class)) => assert_eq!(plugin.descriptor().class, class),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{name}: {error}"),
            (found, _) => panic!("{name}: {:?}", found.map(|p| p.descriptor().class)),
        }
    }
}

#[test]
fn a_converter_answers_to_its_kinds_suffix() {
    let mut registry = registry(&["a.JsonSourceConnector"]);
    registry.add_converter(Arc::new(Named("org.x.JsonConverter", ConfigDef::default())));
    for name in ["Json", "JsonConverter", "org.x.JsonConverter"] {
        assert!(registry.converter(name).is_some(), "{name}");
    }
    assert!(registry.converter("a.JsonSourceConnector").is_none());
    let kinds: Vec<_> = registry.list(false).iter().map(|p| (p.class.clone(), p.kind.name())).collect();
    assert_eq!(
        kinds,
        [("a.JsonSourceConnector".to_owned(), "source"), ("org.x.JsonConverter".to_owned(), "converter")]
    );
    assert_eq!(registry.list(true).len(), 1);
}
