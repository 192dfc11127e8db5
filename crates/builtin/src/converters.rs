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

    fn string(props: &Props, role: ConverterRole) -> Result<StringConverter, ConnectError> {
        // Key, value and header may each have an encoding of their own besides the common one.
        let own = match role {
            ConverterRole::Key => "key.converter.encoding",
            ConverterRole::Value => "value.converter.encoding",
            ConverterRole::Header => "converter.encoding",
        };
        let encoding = props.get("converter.encoding").or_else(|| props.get(own));
        StringConverter::new(encoding.map_or("UTF-8", |name| name.trim()))
    }
}

/// [`SimpleHeaderConverter`] in the zone of this machine.
#[derive(Clone, Copy, Debug)]
struct SimpleHeader;
