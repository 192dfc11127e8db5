//! What goes wrong in a plugin, with the Java class that names it.
//!
//! Dead letters, traces and REST bodies carry Java class names and messages, so every error here has both. Nobody decides by the text of a
//! message: [`ConnectError::next_step`] says what the runtime does.

use std::borrow::Cow;
use std::fmt;

/// What the runtime does with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Try the same again later. Java's `RetriableException`.
    Retry,
    /// Give the record up where `errors.tolerance` allows it, else fail the task.
    Fail,
}

/// An error of a plugin or of the runtime on its behalf. One pointer wide; cloning copies the chain of causes.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectError(Box<Inner>);

#[derive(Clone, Debug, PartialEq)]
struct Inner {
    class: Cow<'static, str>,
    message: Option<String>,
    next_step: NextStep,
    cause: Option<ConnectError>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $class:literal),*) => {$(
        $(#[$doc])*
        #[doc = concat!("`", $class, "`.")]
        pub fn $name(message: impl Into<String>) -> Self {
            Self::of_class($class, message)
        }
    )*};
}

impl ConnectError {
    kinds!(
        /// The general failure:
        connect "org.apache.kafka.connect.errors.ConnectException",
        /// Data that does not fit its schema or its format:
        data "org.apache.kafka.connect.errors.DataException",
        /// A setting that is missing or wrong:
        config "org.apache.kafka.common.config.ConfigException",
        /// A schema that breaks the builder's rules:
        schema_builder "org.apache.kafka.connect.errors.SchemaBuilderException",
        /// A value that cannot be projected to another schema:
        schema_projector "org.apache.kafka.connect.errors.SchemaProjectorException",
        /// An argument that makes no sense:
        illegal_argument "java.lang.IllegalArgumentException",
        /// A number that cannot be read:
        number_format "java.lang.NumberFormatException",
        /// Bytes or text that a serde refuses:
        serialization "org.apache.kafka.common.errors.SerializationException",
        /// Something that is not there:
        not_found "org.apache.kafka.connect.errors.NotFoundException",
        /// Something that is there already:
        already_exists "org.apache.kafka.connect.errors.AlreadyExistsException",
        /// A call that the worker's state forbids:
        illegal_worker_state "org.apache.kafka.connect.errors.IllegalWorkerStateException"
    );

    /// An error of any Java class.
    pub fn of_class(class: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            class: class.into(),
            message: Some(message.into()),
            next_step: NextStep::Fail,
            cause: None,
        }))
    }

    /// An error without a message, as Java code throws some.
    pub fn without_message(class: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { class: class.into(), message: None, next_step: NextStep::Fail, cause: None }))
    }

    /// `org.apache.kafka.connect.errors.RetriableException`: the same call may succeed later.
    pub fn retriable(message: impl Into<String>) -> Self {
        Self::of_class("org.apache.kafka.connect.errors.RetriableException", message).with_next_step(NextStep::Retry)
    }

    /// Says what the runtime shall do.
    #[must_use]
    pub fn with_next_step(mut self, next_step: NextStep) -> Self {
        self.0.next_step = next_step;
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<ConnectError>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// What the runtime does next.
    pub fn next_step(&self) -> NextStep {
        self.0.next_step
    }

    /// The Java class name.
    pub fn class(&self) -> &str {
        &self.0.class
    }

    /// The message, if there is one.
    pub fn message(&self) -> Option<&str> {
        self.0.message.as_deref()
    }

    /// The cause, if there is one.
    pub fn cause(&self) -> Option<&ConnectError> {
        self.0.cause.as_ref()
    }

    /// The text that stands for Java's stack trace: class and message, then every cause on a line of its own.
    pub fn trace(&self) -> String {
        let mut text = self.headline();
        let mut next = self.cause();
        while let Some(cause) = next {
            text.push_str("\nCaused by: ");
            text.push_str(&cause.headline());
            next = cause.cause();
        }
        text.push('\n');
        text
    }

    /// Java's `Throwable.toString()`: `class: message`.
    pub fn headline(&self) -> String {
        match self.message() {
            Some(message) => format!("{}: {message}", self.class()),
            None => self.class().to_owned(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message().unwrap_or(self.class()))
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause().map(|cause| cause as _)
    }
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        Self::of_class("java.io.IOException", error.to_string())
    }
}
