//! The kinds of converters, by the names of their Java classes.

use crate::bytes::ByteArrayConverter;
use crate::json::{JsonConverter, JsonConverterConfig};
use crate::numbers::{NumberConverter, NumberKind};
use crate::simple_header::SimpleHeaderConverter;
use crate::string::StringConverter;
use crate::values::Values;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, Props};
use kurier_api::plugin::{Converter, ConverterRole, ConverterType, Descriptor, HeaderConverter, HeaderConverterType};
use std::sync::{Arc, LazyLock};

/// The version that Java's own plugins state; tools compare it.
pub const VERSION: &str = "4.3.1";

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
        static NOTHING: LazyLock<ConfigDef> = LazyLock::new(ConfigDef::default);
        &NOTHING
    }
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
