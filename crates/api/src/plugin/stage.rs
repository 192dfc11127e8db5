//! What stands between a connector and Kafka: converters, transforms, predicates; and config providers.
#![expect(clippy::wrong_self_convention, reason = "converters keep the names of Java's methods")]

use super::connector::Descriptor;
use crate::config::{ConfigDef, Props};
use crate::data::{SchemaAndValue, SchemaRef, Value};
use crate::error::ConnectError;
use crate::record::{Headers, Record};
use std::time::Duration;

/// What a converter instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConverterRole {
    Key,
    Value,
    Header,
}

/// Whether a converter wrote bytes or the record's key or value is null in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Presence {
    Null,
    Bytes,
}

/// A kind of converter.
pub trait ConverterType: Send + Sync {
    /// Class name and version.
    fn descriptor(&self) -> Descriptor;

    /// The settings it takes.
    fn config(&self) -> &ConfigDef;

    /// A configured converter.
    ///
    /// # Errors
    /// `ConfigException` for a setting that it cannot take.
    fn create(&self, props: &Props, role: ConverterRole) -> Result<Box<dyn Converter>, ConnectError>;
}

/// Turns values into a record's bytes and back. Counterpart of Java's `Converter`. An instance belongs to one task, so it may cache.
pub trait Converter: Send {
    /// Appends the bytes of a value to `out`; on an error `out` may hold a part, which the caller cuts off.
    ///
    /// # Errors
    /// `DataException` as in Java.
    fn from_connect_data(
        &mut self,
        topic: &str,
        headers: &mut Headers,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError>;

    /// Reads bytes; none stand for a null in Kafka.
    ///
    /// # Errors
    /// `DataException` as in Java.
    fn to_connect_data(
        &mut self,
        topic: &str,
        headers: &Headers,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError>;
}

/// A kind of header converter.
pub trait HeaderConverterType: Send + Sync {
    /// Class name and version.
    fn descriptor(&self) -> Descriptor;

    /// The settings it takes.
    fn config(&self) -> &ConfigDef;

    /// A configured header converter.
    ///
    /// # Errors
    /// `ConfigException` for a setting that it cannot take.
    fn create(&self, props: &Props) -> Result<Box<dyn HeaderConverter>, ConnectError>;
}

/// Turns header values into bytes and back. Counterpart of Java's `HeaderConverter`.
pub trait HeaderConverter: Send {
    /// Appends the bytes of a header value to `out`.
    ///
    /// # Errors
    /// `DataException` as in Java.
    fn from_connect_header(
        &mut self,
        topic: &str,
        name: &str,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError>;

    /// Reads a header's bytes.
    ///
    /// # Errors
    /// `DataException` as in Java.
    fn to_connect_header(
        &mut self,
        topic: &str,
        name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError>;
}

/// A converter that looks at neither topic nor headers, so that it serves keys, values and header values alike: who implements this has
/// [`Converter`] and [`HeaderConverter`].
pub trait PlainConverter: Send {
    /// Appends the bytes of a value to `out`; on an error `out` may hold a part, which the caller cuts off.
    ///
    /// # Errors
    /// `DataException` as in Java.
    fn encode(
        &mut self,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError>;

    /// Reads bytes; none stand for a null in Kafka.
    ///
    /// # Errors
    /// `DataException` as in Java.
    fn decode(&mut self, bytes: Option<&[u8]>) -> Result<SchemaAndValue, ConnectError>;
}

impl<C: PlainConverter> Converter for C {
    fn from_connect_data(
        &mut self,
        _topic: &str,
        _headers: &mut Headers,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        self.encode(schema, value, out)
    }

    fn to_connect_data(
        &mut self,
        _topic: &str,
        _headers: &Headers,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        self.decode(bytes)
    }
}

impl<C: PlainConverter> HeaderConverter for C {
    fn from_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        schema: Option<&SchemaRef>,
        value: &Value,
        out: &mut Vec<u8>,
    ) -> Result<Presence, ConnectError> {
        self.encode(schema, value, out)
    }

    fn to_connect_header(
        &mut self,
        _topic: &str,
        _name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<SchemaAndValue, ConnectError> {
        self.decode(bytes)
    }
}

/// What a transform decides about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verdict {
    Keep,
    Drop,
}

/// What has become of a record on its way through the stages.
#[derive(Clone, Debug, Default)]
pub enum Fate {
    /// It goes on.
    #[default]
    Live,
    /// A transform dropped it.
    Dropped,
    /// A stage failed on it.
    Failed(ConnectError),
}

/// A kind of transform.
pub trait TransformType: Send + Sync {
    /// Class name and version.
    fn descriptor(&self) -> Descriptor;

    /// The settings it takes.
    fn config(&self) -> &ConfigDef;

    /// A configured transform.
    ///
    /// # Errors
    /// `ConfigException` for a setting that it cannot take.
    fn create(&self, props: &Props) -> Result<Box<dyn Transform>, ConnectError>;
}

/// Changes or drops records. Counterpart of Java's `Transformation`. An instance belongs to one task, so it may cache.
pub trait Transform: Send {
    /// Changes a record in place. After an error the record is not used again, unless the error says [`crate::NextStep::Retry`]: then it is
    /// unchanged.
    ///
    /// # Errors
    /// `DataException` as in Java.
    fn apply(&mut self, record: &mut Record) -> Result<Verdict, ConnectError>;

    /// Applies itself to the live records of a batch; one virtual call a batch.
    fn apply_batch(&mut self, records: &mut [Record], fates: &mut [Fate]) {
        for (record, fate) in records.iter_mut().zip(fates) {
            if matches!(fate, Fate::Live) {
                match self.apply(record) {
                    Ok(Verdict::Keep) => {}
                    Ok(Verdict::Drop) => *fate = Fate::Dropped,
                    Err(error) => *fate = Fate::Failed(error),
                }
            }
        }
    }
}

/// A kind of predicate.
pub trait PredicateType: Send + Sync {
    /// Class name and version.
    fn descriptor(&self) -> Descriptor;

    /// The settings it takes.
    fn config(&self) -> &ConfigDef;

    /// A configured predicate.
    ///
    /// # Errors
    /// `ConfigException` for a setting that it cannot take.
    fn create(&self, props: &Props) -> Result<Box<dyn Predicate>, ConnectError>;
}

/// Decides whether a transform applies to a record. Counterpart of Java's `Predicate`.
pub trait Predicate: Send {
    /// Whether the record meets it.
    ///
    /// # Errors
    /// Count as errors of the guarded transform.
    fn test(&mut self, record: &Record) -> Result<bool, ConnectError>;
}

/// A kind of config provider.
pub trait ConfigProviderType: Send + Sync {
    /// Class name and version.
    fn descriptor(&self) -> Descriptor;

    /// A configured provider.
    ///
    /// # Errors
    /// `ConfigException` for a setting that it cannot take.
    fn create(&self, props: &Props) -> Result<Box<dyn ConfigProvider>, ConnectError>;
}

/// What a config provider answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvidedConfig {
    /// The values found.
    pub data: Props,
    /// How long they hold; none if for ever.
    pub ttl: Option<Duration>,
}

/// Resolves references `${provider:path:key}`. Counterpart of Java's `ConfigProvider`.
pub trait ConfigProvider: Send + Sync {
    /// The values under a path: those of `keys`, or all where none are named. Missing keys are missing in the answer.
    ///
    /// # Errors
    /// `ConfigException` as in Java.
    fn get(&self, path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError>;
}
