//! The plugins of this worker, and the names they answer to.
//!
//! A plugin answers to its Java class name and, unless nested (`HoistField$Value`), to the simple name of the class with and without the suffix of
//! its kind: `FileStreamSource`. An alias that two classes share is nobody's, as in Java's `PluginUtils.computeAliases`. The registry only finds;
//! it configures and starts nothing. Filled once at start, then shared.

use crate::herder::request::PluginInfo;
use kurier_api::ConnectError;
use kurier_api::config::closest;
use kurier_api::plugin::{
    ConfigProviderType, ConverterType, Descriptor, HeaderConverterType, PluginKind, PredicateType, Sink, Source,
    TransformType,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A source or a sink.
#[derive(Clone)]
pub enum ConnectorPlugin {
    /// Reads an outside system.
    Source(Arc<dyn Source>),
    /// Writes to one.
    Sink(Arc<dyn Sink>),
}

impl ConnectorPlugin {
    /// Class name and version.
    pub fn descriptor(&self) -> Descriptor {
        match self {
            Self::Source(source) => source.descriptor(),
            Self::Sink(sink) => sink.descriptor(),
        }
    }

    /// Source or sink.
    pub fn kind(&self) -> PluginKind {
        match self {
            Self::Source(_) => PluginKind::Source,
            Self::Sink(_) => PluginKind::Sink,
        }
    }
}

/// Plugins of one kind by class name.
type Kind<T> = BTreeMap<&'static str, Arc<T>>;

/// The plugins of this worker.
#[derive(Default)]
pub struct Registry {
    sources: Kind<dyn Source>,
    sinks: Kind<dyn Sink>,
    converters: Kind<dyn ConverterType>,
    header_converters: Kind<dyn HeaderConverterType>,
    transforms: Kind<dyn TransformType>,
    predicates: Kind<dyn PredicateType>,
    config_providers: Kind<dyn ConfigProviderType>,
    /// Alias to the classes that would like it.
    aliases: BTreeMap<String, BTreeSet<&'static str>>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $add:ident $find:ident $field:ident $plugin:path, $kind:ident;)*) => {$(
        #[doc = concat!("Adds a plugin; one of the same class is replaced.")]
        pub fn $add(&mut self, plugin: Arc<dyn $plugin>) {
            let class = plugin.descriptor().class;
            self.learn_aliases(class, PluginKind::$kind);
            self.$field.insert(class, plugin);
        }

        $(#[$doc])*
        pub fn $find(&self, class_or_alias: &str) -> Option<&Arc<dyn $plugin>> {
            self.$field.get(self.class_of(class_or_alias))
        }
    )*};
}

impl Registry {
    /// A worker without plugins.
    pub fn new() -> Self {
        Self::default()
    }

    kinds! {
        /// The source of this class or alias.
        add_source source sources Source, Source;
        /// The sink of this class or alias.
        add_sink sink sinks Sink, Sink;
        /// The converter of this class or alias.
        add_converter converter converters ConverterType, Converter;
        /// The header converter of this class or alias.
        add_header_converter header_converter header_converters HeaderConverterType, HeaderConverter;
        /// The transform of this class or alias.
        add_transform transform transforms TransformType, Transformation;
        /// The predicate of this class or alias.
        add_predicate predicate predicates PredicateType, Predicate;
        /// The config provider of this class or alias.
        add_config_provider config_provider config_providers ConfigProviderType, ConfigProvider;
    }

    /// The connector of this class or alias.
    ///
    /// # Errors
    /// Java's texts: nothing of that name, or more than one.
    pub fn connector(&self, class_or_alias: &str) -> Result<ConnectorPlugin, ConnectError> {
        let class = self.class_of(class_or_alias);
        if let Some(source) = self.sources.get(class) {
            return Ok(ConnectorPlugin::Source(source.clone()));
        }
        if let Some(sink) = self.sinks.get(class) {
            return Ok(ConnectorPlugin::Sink(sink.clone()));
        }
        // What Java tries when the class loader does not know the name: an alias that connectors share is an error of its own.
        let named: Vec<_> = self
            .connectors()
            .filter(|(class, _, _)| {
                let simple = simple_name(class);
                simple == class_or_alias || simple.strip_suffix("Connector") == Some(class_or_alias)
            })
            .collect();
        if named.len() > 1 {
            let found = named.iter().map(describe).collect::<Vec<_>>().join(", ");
            return Err(ConnectError::connect(format!(
                "More than one connector matches alias {class_or_alias}. Please use full package and class name instead. \
                 Classes found: {found}"
            )));
        }
        let available = self.connectors().map(|c| describe(&c)).collect::<Vec<_>>().join(", ");
        let suggestion = match self.suggestion(class_or_alias) {
            Some(name) => format!(". Did you mean {name}?"),
            None => String::new(),
        };
        Err(ConnectError::connect(format!(
            "Failed to find any class that implements Connector and which name matches {class_or_alias}, available \
             connectors are: {available}{suggestion}"
        )))
    }

    /// All plugins in the order of `GET /connector-plugins`.
    pub fn list(&self, connectors_only: bool) -> Vec<PluginInfo> {
        fn all<T: ?Sized>(
            plugins: &Kind<T>,
            kind: PluginKind,
            descriptor: impl Fn(&T) -> Descriptor,
        ) -> impl Iterator<Item = PluginInfo> {
            plugins.values().map(move |plugin| {
                let Descriptor { class, version } = descriptor(plugin);
                PluginInfo { class: class.to_owned(), kind, version: version.to_owned() }
            })
        }
        let mut list: Vec<_> = all(&self.sinks, PluginKind::Sink, |p| p.descriptor())
            .chain(all(&self.sources, PluginKind::Source, |p| p.descriptor()))
            .collect();
        if !connectors_only {
            list.extend(all(&self.transforms, PluginKind::Transformation, |p| p.descriptor()));
            list.extend(all(&self.predicates, PluginKind::Predicate, |p| p.descriptor()));
            list.extend(all(&self.converters, PluginKind::Converter, |p| p.descriptor()));
            list.extend(all(&self.header_converters, PluginKind::HeaderConverter, |p| p.descriptor()));
        }
        list
    }

    /// Class names of one kind, sorted: what a form offers.
    pub fn classes(&self, kind: PluginKind) -> Vec<&'static str> {
        match kind {
            PluginKind::Source => self.sources.keys().copied().collect(),
            PluginKind::Sink => self.sinks.keys().copied().collect(),
            PluginKind::Converter => self.converters.keys().copied().collect(),
            PluginKind::HeaderConverter => self.header_converters.keys().copied().collect(),
            PluginKind::Transformation => self.transforms.keys().copied().collect(),
            PluginKind::Predicate => self.predicates.keys().copied().collect(),
            PluginKind::ConfigProvider => self.config_providers.keys().copied().collect(),
            PluginKind::RestExtension | PluginKind::OverridePolicy => Vec::new(),
        }
    }

    /// Whether a class is installed, as whatever kind of plugin.
    pub fn has_class(&self, class: &str) -> bool {
        !self.versions(class).is_empty()
    }

    /// The installed versions of a class, one for each kind of plugin that it is.
    pub fn versions(&self, class: &str) -> Vec<&'static str> {
        let all = [
            self.sources.get(class).map(|p| p.descriptor()),
            self.sinks.get(class).map(|p| p.descriptor()),
            self.converters.get(class).map(|p| p.descriptor()),
            self.header_converters.get(class).map(|p| p.descriptor()),
            self.transforms.get(class).map(|p| p.descriptor()),
            self.predicates.get(class).map(|p| p.descriptor()),
        ];
        all.into_iter().flatten().map(|descriptor| descriptor.version).collect()
    }

    /// The class that a name stands for: an alias of exactly one class, or the name itself.
    pub fn class_of<'a>(&self, class_or_alias: &'a str) -> &'a str
    where
        Self: 'a,
    {
        match self.aliases.get(class_or_alias) {
            Some(classes) if classes.len() == 1 => classes.first().copied().unwrap_or(class_or_alias),
            _ => class_or_alias,
        }
    }

    fn learn_aliases(&mut self, class: &'static str, kind: PluginKind) {
        if class.contains('$') {
            return;
        }
        let simple = simple_name(class);
        let pruned = simple.strip_suffix(suffix(kind)).filter(|pruned| !pruned.is_empty()).unwrap_or(simple);
        for alias in [simple, pruned] {
            self.aliases.entry(alias.to_owned()).or_default().insert(class);
        }
    }

    fn connectors(&self) -> impl Iterator<Item = (&'static str, &'static str, PluginKind)> {
        let sinks = self.sinks.values().map(|p| (p.descriptor(), PluginKind::Sink));
        let sources = self.sources.values().map(|p| (p.descriptor(), PluginKind::Source));
        sinks.chain(sources).map(|(d, kind)| (d.class, d.version, kind))
    }

    /// The connector name that was probably meant; none if nothing is near.
    fn suggestion(&self, name: &str) -> Option<&'static str> {
        let candidates = self.connectors().flat_map(|(class, _, _)| {
            let simple = simple_name(class);
            [class, simple, simple.strip_suffix("Connector").unwrap_or(simple)]
        });
        closest(name, candidates)
    }
}

fn simple_name(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

fn suffix(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::Source | PluginKind::Sink => "Connector",
        PluginKind::Converter => "Converter",
        PluginKind::HeaderConverter => "HeaderConverter",
        PluginKind::Transformation => "Transformation",
        PluginKind::Predicate => "Predicate",
        PluginKind::ConfigProvider => "ConfigProvider",
        PluginKind::RestExtension => "ConnectRestExtension",
        PluginKind::OverridePolicy => "ConnectorClientConfigOverridePolicy",
    }
}

/// Java's text of a `PluginDesc`.
fn describe((class, version, kind): &(&str, &str, PluginKind)) -> String {
    let kind = kind.name();
    format!(
        "PluginDesc{{klass=class {class}, name='{class}', version='{version}', encodedVersion={version}, type={kind}, \
         typeName='{kind}', location='classpath'}}"
    )
}

#[cfg(test)]
mod tests;
