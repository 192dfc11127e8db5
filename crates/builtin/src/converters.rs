//! The kinds of converters, by the names of their Java classes.

use crate::bytes::ByteArrayConverter;
use crate::json::{JsonConverter, JsonConverterConfig};
use crate::numbers::{NumberConverter, NumberKind};
use crate::simple_header::SimpleHeaderConverter;
use crate::string::StringConverter;
use crate::values::Values;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Importance, Key, ParsedConfig, Props, Type, Validator};
use kurier_api::plugin::{Converter, ConverterRole, ConverterType, Descriptor, HeaderConverter, HeaderConverterType};
use std::sync::{Arc, LazyLock};

/// The version that Java's own plugins state; tools compare it.
pub const VERSION: &str = "4.3.1";

/// The setting that says what a converter is for.
const TYPE: &str = "converter.type";

/// A kind of converter that is a header converter too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltinConverter {
    /// [`JsonConverter`].
    Json,
    /// [`StringConverter`].
    String,
    /// [`ByteArrayConverter`].
    ByteArray,
    /// [`NumberConverter`].
    Number(NumberKind),
}

/// All converters.
pub fn converters() -> impl Iterator<Item = Arc<dyn ConverterType>> {
    BuiltinConverter::all().map(|kind| Arc::new(kind) as Arc<dyn ConverterType>)
}

/// All header converters.
pub fn header_converters() -> impl Iterator<Item = Arc<dyn HeaderConverterType>> {
    let both = BuiltinConverter::all().map(|kind| Arc::new(kind) as Arc<dyn HeaderConverterType>);
    both.chain([Arc::new(SimpleHeader) as Arc<dyn HeaderConverterType>])
}

impl BuiltinConverter {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Json, Self::String, Self::ByteArray].into_iter().chain(NumberKind::ALL.into_iter().map(Self::Number))
    }

    /// The Java class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Json => "org.apache.kafka.connect.json.JsonConverter",
            Self::String => "org.apache.kafka.connect.storage.StringConverter",
            Self::ByteArray => "org.apache.kafka.connect.converters.ByteArrayConverter",
            Self::Number(kind) => kind.class(),
        }
    }

    /// What it takes.
    fn definition(self) -> &'static ConfigDef {
        static JSON: LazyLock<ConfigDef> = LazyLock::new(crate::json::definition);
        static STRING: LazyLock<ConfigDef> = LazyLock::new(crate::string::definition);
        static PLAIN: LazyLock<ConfigDef> = LazyLock::new(common);
        match self {
            Self::Json => &JSON,
            Self::String => &STRING,
            Self::ByteArray | Self::Number(_) => &PLAIN,
        }
    }
}

/// What every converter takes. Java's `ConverterConfig`. The role that a converter is made for decides, whatever is given.
pub(crate) fn common() -> ConfigDef {
    ConfigDef::new().define(
        Key::new(TYPE, Type::String)
            .importance(Importance::Low)
            .validator(Validator::one_of(["key", "value", "header"]))
            .doc("What the converter is for; the worker sets it."),
    )
}

/// Reads settings of a converter, with its role as their `converter.type`.
pub(crate) fn parse(def: &ConfigDef, props: &Props, role: ConverterRole) -> Result<ParsedConfig, ConnectError> {
    let mut props = props.clone();
    let role = match role {
        ConverterRole::Key => "key",
        ConverterRole::Value => "value",
        ConverterRole::Header => "header",
    };
    props.insert(TYPE.to_owned(), role.to_owned());
    def.parse(&props)
}

impl ConverterType for BuiltinConverter {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: self.class(), version: VERSION }
    }

    fn config(&self) -> &ConfigDef {
        self.definition()
    }

    fn create(&self, props: &Props, role: ConverterRole) -> Result<Box<dyn Converter>, ConnectError> {
        Ok(match self {
            Self::Json => Box::new(JsonConverter::new(JsonConverterConfig::parse(props, role)?)?),
            Self::String => Box::new(StringConverter::parse(props, role)?),
            Self::ByteArray => Box::new(ByteArrayConverter),
            Self::Number(kind) => Box::new(NumberConverter::new(*kind)),
        })
    }
}

impl HeaderConverterType for BuiltinConverter {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: self.class(), version: VERSION }
    }

    fn config(&self) -> &ConfigDef {
        self.definition()
    }

    fn create(&self, props: &Props) -> Result<Box<dyn HeaderConverter>, ConnectError> {
        let role = ConverterRole::Header;
        Ok(match self {
            Self::Json => Box::new(JsonConverter::new(JsonConverterConfig::parse(props, role)?)?),
            Self::String => Box::new(StringConverter::parse(props, role)?),
            Self::ByteArray => Box::new(ByteArrayConverter),
            Self::Number(kind) => Box::new(NumberConverter::new(*kind)),
        })
    }
}

/// [`SimpleHeaderConverter`] in the zone of this machine.
#[derive(Clone, Copy, Debug)]
struct SimpleHeader;

impl HeaderConverterType for SimpleHeader {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: "org.apache.kafka.connect.storage.SimpleHeaderConverter", version: VERSION }
    }

    fn config(&self) -> &ConfigDef {
        static NOTHING: LazyLock<ConfigDef> = LazyLock::new(ConfigDef::default);
        &NOTHING
    }

    fn create(&self, _props: &Props) -> Result<Box<dyn HeaderConverter>, ConnectError> {
        Ok(Box::new(SimpleHeaderConverter::new(Values::system())))
    }
}
