//! The REST interface of Kafka Connect, byte for byte where clients look.
//!
//! [`bind`] takes the ports and tells the worker's address, [`Bound::serve`] answers on them. [`app`] does what an HTTP server does around resources,
//! [`route`] finds the resource, [`body`] reads bodies in Jackson's manner, [`connectors`], [`plugins`] and [`admin`] ask the herder, [`show`] writes
//! Java's JSON. Nothing here decides about connectors: that is the herder's.

mod admin;
mod answer;
mod app;
mod body;
mod config;
mod connectors;
mod extra_headers;
mod json;
mod loggers;
mod openapi;
mod path;
mod plugins;
mod route;
mod server;
mod show;

pub(crate) use config::RestConfig;
pub(crate) use loggers::{LogLevel, LoggerState, Loggers};
pub(crate) use server::{Bound, RestServer, bind};
