//! Transforms as plugins: name, settings, and how one is made.

use super::side::Side;
use super::{
    cast, drop_headers, extract_field, filter, flatten, header_from, hoist_field, insert_field, insert_header,
    mask_field, regex_router, replace_field, set_schema_metadata, timestamp_converter, timestamp_router, value_to_key,
};
use crate::converters::VERSION;
use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, ParsedConfig, Props};
use kurier_api::plugin::{Descriptor, Transform, TransformType};
use std::sync::Arc;

/// Makes a transform of settings that were read.
type Make = fn(&ParsedConfig, Side) -> Result<Box<dyn Transform>, ConnectError>;

/// A kind of transform that Apache Kafka ships.
pub struct BuiltinTransform {
    class: &'static str,
    side: Side,
    config: ConfigDef,
    make: Make,
}

impl std::fmt::Debug for BuiltinTransform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BuiltinTransform({})", self.class)
    }
}

impl TransformType for BuiltinTransform {
    fn descriptor(&self) -> Descriptor {
        Descriptor { class: self.class, version: VERSION }
    }

    fn config(&self) -> &ConfigDef {
        &self.config
    }

    fn create(&self, props: &Props) -> Result<Box<dyn Transform>, ConnectError> {
        (self.make)(&self.config.parse(props)?, self.side)
    }
}

macro_rules! both_sides {
    ($name:literal, $module:ident) => {
        [
            BuiltinTransform {
                class: concat!("org.apache.kafka.connect.transforms.", $name, "$Key"),
                side: Side::Key,
                config: $module::config(),
                make: $module::make,
            },
            BuiltinTransform {
                class: concat!("org.apache.kafka.connect.transforms.", $name, "$Value"),
                side: Side::Value,
                config: $module::config(),
                make: $module::make,
            },
        ]
    };
}

macro_rules! whole_record {
    ($name:literal, $module:ident) => {
        [BuiltinTransform {
            class: concat!("org.apache.kafka.connect.transforms.", $name),
            side: Side::Value,
            config: $module::config(),
            make: $module::make,
        }]
    };
}

/// All transforms.
pub fn transforms() -> impl Iterator<Item = Arc<dyn TransformType>> {
    let all = both_sides!("Cast", cast)
        .into_iter()
        .chain(whole_record!("DropHeaders", drop_headers))
        .chain(both_sides!("ExtractField", extract_field))
        .chain(whole_record!("Filter", filter))
        .chain(both_sides!("Flatten", flatten))
        .chain(both_sides!("HeaderFrom", header_from))
        .chain(both_sides!("HoistField", hoist_field))
        .chain(both_sides!("InsertField", insert_field))
        .chain(whole_record!("InsertHeader", insert_header))
        .chain(both_sides!("MaskField", mask_field))
        .chain(whole_record!("RegexRouter", regex_router))
        .chain(both_sides!("ReplaceField", replace_field))
        .chain(both_sides!("SetSchemaMetadata", set_schema_metadata))
        .chain(both_sides!("TimestampConverter", timestamp_converter))
        .chain(whole_record!("TimestampRouter", timestamp_router))
        .chain(whole_record!("ValueToKey", value_to_key));
    all.map(|kind| Arc::new(kind) as Arc<dyn TransformType>)
}
