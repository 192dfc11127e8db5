//! Which names stand for classes, and which classes may be used for what; the reasons are Java's.

use crate::registry::Registry;
use kurier_api::ConnectError;
use kurier_api::config::{Classes, Setting, Validator};
use kurier_api::plugin::PluginKind;

/// Class names that stand for a class: an installed plugin, or one that any Java worker has.
pub struct Installed<'a>(pub &'a Registry);

impl Classes for Installed<'_> {
    fn find(&self, name: &str) -> Option<String> {
        let class = self.0.class_of(name);
        let is_there = self.0.has_class(class)
            || JAVA_CLASSES.contains(&class)
            || INTERFACES.contains(&class)
            || class == NUMBER_CONVERTER
            || nested(class, &self.0.classes(PluginKind::Transformation)).next().is_some();
        is_there.then(|| class.to_owned())
    }
}

/// Classes without which no Java worker is, so that a config that names one gets Java's reason.
const JAVA_CLASSES: [&str; 2] = ["java.lang.String", "org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"];

/// What plugins implement.
const INTERFACES: [&str; 4] = [
    "org.apache.kafka.connect.storage.Converter",
    "org.apache.kafka.connect.storage.HeaderConverter",
    "org.apache.kafka.connect.transforms.Transformation",
    "org.apache.kafka.connect.transforms.predicates.Predicate",
];

/// What the converters of numbers extend: abstract, and both kinds of converter.
const NUMBER_CONVERTER: &str = "org.apache.kafka.connect.converters.NumberConverter";

/// The plugins `A$Key`, `A$Value` of the abstract class `A`.
fn nested<'c>(outer: &str, classes: &'c [&'static str]) -> impl Iterator<Item = &'c str> {
    classes.iter().copied().filter(move |class| class.strip_prefix(outer).is_some_and(|rest| rest.starts_with('$')))
}

/// The interface that a kind of plugin implements.
fn interface(kind: PluginKind) -> &'static str {
    match kind {
        PluginKind::HeaderConverter => INTERFACES[1],
        PluginKind::Transformation => INTERFACES[2],
        PluginKind::Predicate => INTERFACES[3],
        _ => INTERFACES[0],
    }
}

/// Why a class that there is cannot be used as a plugin of this kind, of which these are installed. Java's `Utils.ensureConcreteSubclass`.
///
/// # Errors
/// Java's `ConfigException`.
pub(crate) fn ensure_concrete(class: &str, kind: PluginKind, installed: &[&'static str]) -> Result<(), ConnectError> {
    if installed.contains(&class) {
        return Ok(());
    }
    let fail = |message: String| Err(ConnectError::config(message));
    const ABSTRACT: &str = "This class is abstract and cannot be created.";
    let meant: Vec<&str> = nested(class, installed).collect();
    if !meant.is_empty() {
        return fail(format!("{ABSTRACT} Did you mean {}?", meant.join(", ")));
    }
    let is_converter = matches!(kind, PluginKind::Converter | PluginKind::HeaderConverter);
    if class == interface(kind) || is_converter && class == NUMBER_CONVERTER {
        return fail(ABSTRACT.to_owned());
    }
    let what = if INTERFACES.contains(&class) { "interface" } else { "class" };
    fail(format!("Class {what} {class} does not implement the {} interface", simple(interface(kind))))
}

fn simple(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or(class)
}

/// Takes the classes of a kind, and null. Java's `ConcreteSubClassValidator` with `InstantiableClassValidator`.
pub(crate) fn concrete(kind: PluginKind, registry: &Registry) -> Validator {
    let text = format!("A concrete subclass of {}, A class with a public, no-argument constructor", interface(kind));
    let installed = registry.classes(kind);
    Validator::custom(&text, move |_, value| match value {
        Setting::Class(class) => ensure_concrete(class, kind, &installed),
        _ => Ok(()),
    })
}
