//! Values as text and text as values: Java's `org.apache.kafka.connect.data.Values`.
//!
//! `SimpleHeaderConverter`, `InsertHeader` and `Cast` rest on it. [`Values::parse_string`] guesses what a text is; [`Values::convert_to_string`]
//! writes what it can read again, mostly. Both know times in the zone of the machine, as Java does, so the zone is part of a [`Values`].

mod convert;
mod infer;
mod parse;
mod text;
pub mod time;

pub use infer::infer_schema;

use convert::Conversion;
use kurier_api::ConnectError;
use kurier_api::data::{Schema, SchemaAndValue, Value, logical};
use time::Zone;

/// Conversions in a time zone.
#[derive(Clone, Debug)]
pub struct Values {
    zone: Zone,
}

macro_rules! conversions {
    ($($(#[$doc:meta])* $name:ident $convert:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// `DataException` if there is no such conversion.
        pub fn $name(&self, schema: Option<&Schema>, value: &Value) -> Result<Value, ConnectError> {
            Conversion { values: self, from: schema }.$convert(value.clone())
        }
    )*};
}

impl Values {
    /// Conversions in this zone.
    pub fn new(zone: Zone) -> Self {
        Self { zone }
    }

    /// Conversions in the zone of this machine.
    pub fn system() -> Self {
        Self::new(Zone::system())
    }

    fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The value that a text looks like, and its schema; neither for the text `null`.
    pub fn parse_string(&self, text: &str) -> SchemaAndValue {
        parse::parse_string(self, text)
    }

    /// Appends the text of a value.
    ///
    /// # Errors
    /// `DataException` for objects of Java classes that have no text form.
    pub fn append(&self, value: &Value, out: &mut String) -> Result<(), ConnectError> {
        text::append(self, value, false, out)
    }

    /// A decimal, of whatever scale the value has; bytes are digits of the given scale.
    ///
    /// # Errors
    /// `DataException` if there is no such conversion.
    pub fn convert_to_decimal(
        &self,
        schema: Option<&Schema>,
        value: &Value,
        scale: i32,
    ) -> Result<Value, ConnectError> {
        Conversion { values: self, from: schema }.to_decimal(value.clone(), &logical::decimal(scale))
    }

    conversions! {
        /// The text of a value; null stays null.
        convert_to_string to_text;
        /// Numbers are true unless zero; null stays null.
        convert_to_boolean to_bool;
        /// A byte, cut off as Java casts; null stays null.
        convert_to_byte to_i8;
        /// A short, cut off as Java casts; null stays null.
        convert_to_short to_i16;
        /// An int, cut off as Java casts; null stays null.
        convert_to_integer to_i32;
        /// A long, cut off as Java casts; null stays null.
        convert_to_long to_i64;
        /// A float; null stays null.
        convert_to_float to_f32;
        /// A double; null stays null.
        convert_to_double to_f64;
        /// A list, or a text that is one.
        convert_to_list to_array;
        /// A map, or a text that is one.
        convert_to_map to_map;
        /// A struct.
        convert_to_struct to_struct;
        /// A date; a number counts days.
        convert_to_date to_date;
        /// A time of day; a number counts milliseconds.
        convert_to_time to_time;
        /// A timestamp; a number counts milliseconds.
        convert_to_timestamp to_timestamp;
    }
}
