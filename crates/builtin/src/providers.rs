//! The config providers of Apache Kafka: values that lie in files, folders and the environment instead of in configs.

use crate::converters::VERSION;
use kurier_api::ConnectError;
use kurier_api::config::{Props, properties};
use kurier_api::plugin::{ConfigProvider, ConfigProviderType, Descriptor, ProvidedConfig};
use kurier_api::regex::JavaRegex;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// A kind of config provider.
#[derive(Clone, Copy, Debug)]
enum Kind {
    File,
    Directory,
    EnvVar,
}

/// All config providers.
pub fn config_providers() -> impl Iterator<Item = Arc<dyn ConfigProviderType>> {
    [Kind::Directory, Kind::EnvVar, Kind::File].into_iter().map(|kind| Arc::new(kind) as Arc<dyn ConfigProviderType>)
}

impl ConfigProviderType for Kind {
    fn descriptor(&self) -> Descriptor {
        let class = match self {
            Self::File => "org.apache.kafka.common.config.provider.FileConfigProvider",
            Self::Directory => "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
            Self::EnvVar => "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
        };
        Descriptor { class, version: VERSION }
    }

    fn create(&self, props: &Props) -> Result<Box<dyn ConfigProvider>, ConnectError> {
        Ok(match self {
            Self::File => Box::new(FileProvider(AllowedPaths::parse(props)?)),
            Self::Directory => Box::new(DirectoryProvider(AllowedPaths::parse(props)?)),
            Self::EnvVar => Box::new(EnvVarProvider::parse(props, std::env::vars_os())?),
        })
    }
}

/// `allowed.paths`: where a provider may read. None given allows every path.
#[derive(Debug, Default)]
struct AllowedPaths(Option<Vec<PathBuf>>);

impl AllowedPaths {
    fn parse(props: &Props) -> Result<Self, ConnectError> {
        let Some(text) = props.get("allowed.paths").filter(|text| !text.is_empty()) else { return Ok(Self(None)) };
        let mut paths = Vec::new();
        for part in text.split(',') {
            let path = normal(Path::new(part));
            if !path.is_absolute() {
                return Err(ConnectError::config(format!("Path {part} is not absolute")));
            }
            if !path.exists() {
                return Err(ConnectError::config(format!("Path {part} does not exist")));
            }
            paths.push(path);
        }
        Ok(Self(Some(paths)))
    }

    /// The path without `.` and `..`, if it may be read.
    fn allow(&self, path: &str) -> Option<PathBuf> {
        let Some(allowed) = &self.0 else { return Some(PathBuf::from(path)) };
        let path = normal(Path::new(path));
        if allowed.iter().any(|folder| path.starts_with(folder)) {
            return Some(path);
        }
        tracing::warn!("The path {} is not allowed to be accessed", path.display());
        None
    }
}

/// Java's `Path.normalize`: without looking at the disk.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            Component::ParentDir if out.has_root() => {}
            other => out.push(other),
        }
    }
    out
}

fn wanted<'a>(keys: Option<&'a [String]>) -> impl Fn(&str) -> bool + 'a {
    move |key| keys.is_none_or(|keys| keys.iter().any(|wanted| wanted == key))
}

/// `${file:/path:key}`: a value of a properties file.
struct FileProvider(AllowedPaths);

impl ConfigProvider for FileProvider {
    fn get(&self, path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError> {
        let allowed = if path.is_empty() { None } else { self.0.allow(path) };
        let Some(file) = allowed else { return Ok(ProvidedConfig::default()) };
        let unreadable = || ConnectError::config(format!("Could not read properties from file {path}"));
        let bytes = std::fs::read(&file).map_err(|error| {
            tracing::error!("Could not read properties from file {path}: {error}");
            unreadable()
        })?;
        // Java reads the file with the platform's charset, which is UTF-8.
        let props = properties::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| {
            tracing::error!("Could not read properties from file {path}: {error}");
            ConnectError::illegal_argument("Malformed \\uxxxx encoding.")
        })?;
        let wanted = wanted(keys);
        Ok(ProvidedConfig { data: props.into_iter().filter(|(key, _)| wanted(key)).collect(), ttl: None })
    }
}

/// `${dir:/folder:file}`: what a file of a folder holds.
struct DirectoryProvider(AllowedPaths);

impl ConfigProvider for DirectoryProvider {
    fn get(&self, path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError> {
        let allowed = if path.is_empty() { None } else { self.0.allow(path) };
        let Some(folder) = allowed.filter(|folder| folder.is_dir()) else { return Ok(ProvidedConfig::default()) };
        let unlistable = |_| ConnectError::config(format!("Could not list directory {path}"));
        let wanted = wanted(keys);
        let mut data = Props::new();
        for entry in std::fs::read_dir(&folder).map_err(unlistable)? {
            let entry = entry.map_err(unlistable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !wanted(&name) || !entry.path().is_file() {
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).map_err(|error| {
                tracing::error!("Could not read file {}: {error}", entry.path().display());
                ConnectError::config(format!("Could not read file {} for property {name}", entry.path().display()))
            })?;
            data.insert(name, text);
        }
        Ok(ProvidedConfig { data, ttl: None })
    }
}

/// An EnvVarConfigProvider over an environment that is given.
///
/// # Errors
/// `ConfigException` for an `allowlist.pattern` that is no regular expression.
pub fn environment(
    props: &Props,
    environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> Result<Box<dyn ConfigProvider>, ConnectError> {
    Ok(Box::new(EnvVarProvider::parse(props, environment)?))
}

/// `${env::NAME}`: a variable of the environment the worker was started in.
struct EnvVarProvider {
    variables: Props,
}

impl EnvVarProvider {
    fn parse(
        props: &Props,
        environment: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, ConnectError> {
        let allowed = match props.get("allowlist.pattern") {
            Some(pattern) => Some(
                JavaRegex::new(pattern)
                    .map_err(|error| ConnectError::of_class("java.util.regex.PatternSyntaxException", error))?,
            ),
            None => None,
        };
        let mut variables = Props::new();
        for (name, value) in environment {
            let (name, value) = (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned());
            if allowed.as_ref().map_or(Ok(true), |pattern| pattern.matches(&name))? {
                variables.insert(name, value);
            }
        }
        Ok(Self { variables })
    }
}

impl ConfigProvider for EnvVarProvider {
    fn get(&self, path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError> {
        if !path.is_empty() {
            tracing::error!("Path is not supported for EnvVarConfigProvider, invalid value '{path}'");
            return Err(ConnectError::config(format!(
                "Path is not supported for EnvVarConfigProvider, invalid value '{path}'"
            )));
        }
        let wanted = wanted(keys);
        let data = self.variables.iter().filter(|(name, _)| wanted(name));
        Ok(ProvidedConfig { data: data.map(|(name, value)| (name.clone(), value.clone())).collect(), ttl: None })
    }
}
