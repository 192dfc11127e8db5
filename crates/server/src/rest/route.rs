//! Which resource a path means, and which verbs it knows.

use axum::http::Method;
use kurier_runtime::unit::ConnectorName;
use std::sync::Arc;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Root,
    Health,
    Info,
    OpenApi,
    Connectors,
    Connector(ConnectorName),
    Config(ConnectorName),
    Status(ConnectorName),
    Restart(ConnectorName),
    Pause(ConnectorName),
    Resume(ConnectorName),
    Stop(ConnectorName),
    Tasks(ConnectorName),
    TaskStatus(ConnectorName, i32),
    TaskRestart(ConnectorName, i32),
    Topics(ConnectorName),
    TopicsReset(ConnectorName),
    Offsets(ConnectorName),
    Fence(ConnectorName),
    Plugins,
    PluginConfig(String),
    Validate(String),
    Loggers,
    Logger(String),
}

/// Finds the resource of a path; case counts.
pub(crate) fn find(segments: &[String]) -> Option<Resource> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let name = |text: &str| ConnectorName::from(Arc::<str>::from(text));
    Some(match segments[..] {
        [] => Resource::Root,
        ["health"] => Resource::Health,
        ["kurier", "info"] => Resource::Info,
        ["openapi.json"] => Resource::OpenApi,
        ["connectors"] => Resource::Connectors,
        ["connectors", c] => Resource::Connector(name(c)),
        ["connectors", c, "config"] => Resource::Config(name(c)),
        ["connectors", c, "status"] => Resource::Status(name(c)),
        ["connectors", c, "restart"] => Resource::Restart(name(c)),
        ["connectors", c, "pause"] => Resource::Pause(name(c)),
        ["connectors", c, "resume"] => Resource::Resume(name(c)),
        ["connectors", c, "stop"] => Resource::Stop(name(c)),
        ["connectors", c, "tasks"] => Resource::Tasks(name(c)),
        ["connectors", c, "tasks", t, "status"] => Resource::TaskStatus(name(c), t.parse().ok()?),
        ["connectors", c, "tasks", t, "restart"] => Resource::TaskRestart(name(c), t.parse().ok()?),
        ["connectors", c, "topics"] => Resource::Topics(name(c)),
        ["connectors", c, "topics", "reset"] => Resource::TopicsReset(name(c)),
        ["connectors", c, "offsets"] => Resource::Offsets(name(c)),
        ["connectors", c, "fence"] => Resource::Fence(name(c)),
        ["connector-plugins"] => Resource::Plugins,
        ["connector-plugins", p, "config"] => Resource::PluginConfig(p.to_owned()),
        ["connector-plugins", p, "config", "validate"] => Resource::Validate(p.to_owned()),
        ["admin", "loggers"] => Resource::Loggers,
        ["admin", "loggers", l] => Resource::Logger(l.to_owned()),
        _ => return None,
    })
}

impl Resource {
    /// The verbs besides HEAD (with GET) and OPTIONS.
    pub(crate) fn methods(&self) -> &'static [Method] {
        const DELETE: Method = Method::DELETE;
        const GET: Method = Method::GET;
        const PATCH: Method = Method::PATCH;
        const POST: Method = Method::POST;
        const PUT: Method = Method::PUT;
        match self {
            Self::Root | Self::Health | Self::Info | Self::OpenApi | Self::Status(_) | Self::TaskStatus(..) => &[GET],
            Self::Topics(_) | Self::Plugins | Self::PluginConfig(_) | Self::Loggers => &[GET],
            Self::Connectors | Self::Tasks(_) => &[GET, POST],
            Self::Connector(_) => &[GET, DELETE],
            Self::Config(_) => &[GET, PUT, PATCH],
            Self::Restart(_) | Self::TaskRestart(..) => &[POST],
            Self::Pause(_) | Self::Resume(_) | Self::Stop(_) | Self::TopicsReset(_) | Self::Fence(_) => &[PUT],
            Self::Validate(_) => &[PUT],
            Self::Offsets(_) => &[GET, PATCH, DELETE],
            Self::Logger(_) => &[GET, PUT],
        }
    }

    /// Whether it belongs to the admin listeners.
    pub(crate) fn is_admin(&self) -> bool {
        matches!(self, Self::Loggers | Self::Logger(_))
    }

    /// Whether it takes any bytes as its body, whatever their type.
    pub(crate) fn takes_any_type(&self, method: &Method) -> bool {
        matches!((self, method), (Self::Tasks(_), &Method::POST) | (Self::Fence(_), _))
    }

    /// The value of `Allow`.
    pub(crate) fn allow(&self) -> String {
        let mut names: Vec<&str> = self.methods().iter().map(Method::as_str).collect();
        if names.contains(&"GET") {
            names.push("HEAD");
        }
        names.push("OPTIONS");
        names.join(", ")
    }
}
