//! References to config providers: `${file:/etc/kurier/secrets.properties:password}`.
//!
//! A raw config goes through here whenever it is *used*; what is stored and shown stays raw. A reference to an unknown provider or to a key that the
//! provider does not have stays literal text, as in Java's `ConfigTransformer`. [`ConfigResolver::hide`] is the way back: what a connector says of
//! its tasks gets the references again. Providers read files: [`ConfigResolver::resolve`] blocks, [`ConfigResolver::resolved`] does it elsewhere.
#![expect(clippy::disallowed_methods, reason = "driver: providers block, so they are asked on blocking threads")]

use super::request::RawConfig;
use crate::registry::Registry;
use kurier_api::ConnectError;
use kurier_api::config::Props;
use kurier_api::plugin::ConfigProvider;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The config providers of a worker.
#[derive(Default)]
pub struct ConfigResolver {
    providers: BTreeMap<String, Box<dyn ConfigProvider>>,
}

/// A config with its references replaced. It may hold secrets, so it is not for printing.
#[derive(Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The values, nulls kept.
    pub config: RawConfig,
    /// How long what came from a path holds; what holds for ever is not named.
    pub ttls: BTreeMap<String, Duration>,
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved").field("keys", &self.config.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Resolved {
    /// After which times the connector shall start again, by the path of what ends then: none with `config.action.reload=none`, which is read as it
    /// was written. Java's `WorkerConfigTransformer`.
    ///
    /// # Errors
    /// Java's for another action.
    pub fn reloads(&self, raw: &RawConfig) -> Result<&BTreeMap<String, Duration>, ConnectError> {
        static NOTHING: BTreeMap<String, Duration> = BTreeMap::new();
        let action = raw.get("config.action.reload").and_then(Option::as_deref).unwrap_or("restart");
        match action.trim().to_uppercase().as_str() {
            "RESTART" => Ok(&self.ttls),
            "NONE" => Ok(&NOTHING),
            other => Err(ConnectError::of_class(
                "java.lang.IllegalArgumentException",
                format!("No enum constant org.apache.kafka.connect.runtime.Herder.ConfigReloadAction.{other}"),
            )),
        }
    }

    /// The settings as plugins take them.
    ///
    /// # Errors
    /// A null value, with Java's text: validation lets it pass for keys that the connector defines, starting does not.
    pub fn props(&self) -> Result<Props, ConnectError> {
        let text = |(key, value): (&String, &Option<String>)| match value {
            Some(value) => Ok((key.clone(), value.clone())),
            None => Err(ConnectError::of_class(
                "java.lang.ClassCastException",
                format!("Non-string value found in original settings for key {key}: null"),
            )),
        };
        self.config.iter().map(text).collect()
    }
}

impl ConfigResolver {
    /// The providers that a worker's properties name (`config.providers`).
    ///
    /// # Errors
    /// Java's text for a class that is not installed; and what a provider says of its parameters.
    pub fn new(registry: &Registry, worker: &Props) -> Result<Self, ConnectError> {
        let mut providers = BTreeMap::new();
        let names = worker.get("config.providers").map_or("", String::as_str);
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let key = format!("config.providers.{name}.class");
            let Some(class) = worker.get(&key) else {
                continue; // Java ignores a provider without a class.
            };
            let kind = registry.config_provider(class.trim()).ok_or_else(|| {
                ConnectError::config(format!(
                    "Invalid value {class} for configuration {key}: Could not load config provider class or one of its \
                     dependencies"
                ))
            })?;
            let prefix = format!("config.providers.{name}.param.");
            let params = worker
                .range(prefix.clone()..)
                .map_while(|(key, value)| Some((key.strip_prefix(&prefix)?.to_owned(), value.clone())))
                .collect();
            providers.insert(name.to_owned(), kind.create(&params)?);
        }
        Ok(Self { providers })
    }

    /// Replaces every reference. Blocks.
    ///
    /// # Errors
    /// What a provider says: `Could not read properties from file F`.
    pub fn resolve(&self, raw: &RawConfig) -> Result<Resolved, ConnectError> {
        // One question per provider and path, as in Java: providers may be slow.
        let mut wanted: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
        for value in raw.values().flatten() {
            for (_, reference) in references(value).filter(|(_, r)| self.providers.contains_key(r.provider)) {
                wanted.entry((reference.provider, reference.path)).or_default().insert(reference.key.to_owned());
            }
        }
        let mut found: BTreeMap<(&str, &str), Props> = BTreeMap::new();
        let mut ttls = BTreeMap::new();
        for ((provider, path), keys) in wanted {
            let keys: Vec<String> = keys.into_iter().collect();
            let answer = self.providers[provider].get(path, Some(&keys))?;
            if let Some(ttl) = answer.ttl {
                // Two providers may hold the same path.
                let least = ttls.get(path).map_or(ttl, |other| ttl.min(*other));
                ttls.insert(path.to_owned(), least);
            }
            found.insert((provider, path), answer.data);
        }
        let replace = |value: &String| {
            let (mut text, mut from) = (String::with_capacity(value.len()), 0);
            for (range, reference) in references(value) {
                let answer = found.get(&(reference.provider, reference.path));
                if let Some(replacement) = answer.and_then(|data| data.get(reference.key)) {
                    text.push_str(&value[from..range.start]);
                    text.push_str(replacement);
                    from = range.end;
                }
            }
            text.push_str(&value[from..]);
            text
        };
        let config = raw.iter().map(|(key, value)| (key.clone(), value.as_ref().map(replace))).collect();
        Ok(Resolved { config, ttls })
    }

    /// A worker's own properties with their references replaced. Blocks.
    ///
    /// # Errors
    /// As [`Self::new`] and [`Self::resolve`].
    pub fn resolve_worker(registry: &Registry, worker: Props) -> Result<Props, ConnectError> {
        let resolver = Self::new(registry, &worker)?;
        let raw = worker.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let resolved = resolver.resolve(&raw)?;
        Ok(resolved.config.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }

    /// [`Self::resolve`] without holding up the caller's thread.
    ///
    /// # Errors
    /// Its errors, and a provider that panics.
    pub async fn resolved(self: &Arc<Self>, raw: &Arc<RawConfig>) -> Result<Resolved, ConnectError> {
        if !raw.values().flatten().any(|value| references(value).next().is_some()) {
            return Ok(Resolved { config: (**raw).clone(), ttls: BTreeMap::new() });
        }
        let (resolver, raw) = (self.clone(), raw.clone());
        tokio::task::spawn_blocking(move || resolver.resolve(&raw))
            .await
            .unwrap_or_else(|_| Err(ConnectError::connect("A config provider panicked")))
    }

    /// What a connector made of its config gets its references back: a value that is the resolved value of the connector's own setting of that
    /// name is replaced by the raw one. Java's `AbstractHerder.reverseTransform`.
    pub fn hide(raw: &RawConfig, resolved: &RawConfig, task: Props) -> RawConfig {
        task.into_iter()
            .map(|(key, value)| {
                let same = resolved.get(&key).is_some_and(|v| v.as_deref() == Some(value.as_str()));
                let hidden = raw.get(&key).filter(|_| same).cloned().flatten();
                (key, Some(hidden.unwrap_or(value)))
            })
            .collect()
    }
}

impl fmt::Debug for ConfigResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.providers.keys()).finish()
    }
}

/// The parts of `${provider:path:key}`.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    provider: &'a str,
    path: &'a str,
    key: &'a str,
}

/// Every reference in a text with its place. As Java's pattern `\$\{([^}]*?):(([^}]*?):)?([^}]*?)\}` finds them: up to the first `}`, the provider up
/// to the first colon, the path up to the second if there is one, the key to the end.
fn references(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, Reference<'_>)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text[from..].find("${")?;
            let end = start + text[start..].find('}')?;
            from = end + 1;
            // Without a colon before the `}`, no reference begins anywhere before it.
            if let Some((provider, rest)) = text[start + 2..end].split_once(':') {
                let (path, key) = rest.split_once(':').unwrap_or(("", rest));
                return Some((start..from, Reference { provider, path, key }));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kurier_api::plugin::{ConfigProviderType, Descriptor, ProvidedConfig};

    #[test]
    fn references_are_found_where_java_finds_them() {
        let cases: [(&str, &[(&str, &str, &str)]); 8] = [
            ("plain", &[]),
            ("${env:HOME}", &[("env", "", "HOME")]),
            ("a${file:/p:k}b${file:/q:l}", &[("file", "/p", "k"), ("file", "/q", "l")]),
            ("${file:c:/x:k}", &[("file", "c", "/x:k")]),
            ("${p:${p:k}}", &[("p", "${p", "k")]),
            ("${none} ${env:X}", &[("env", "", "X")]),
            ("${env:X", &[]),
            ("${ a : b : c }", &[(" a ", " b ", " c ")]),
        ];
        for (text, expected) in cases {
            let found: Vec<_> = references(text).map(|(_, r)| (r.provider, r.path, r.key)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    /// Knows the keys `a` and `b` of every path but `bad`.
    struct Vault(Option<Duration>);

    impl ConfigProvider for Vault {
        fn get(&self, path: &str, keys: Option<&[String]>) -> Result<ProvidedConfig, ConnectError> {
            if path == "bad" {
                return Err(ConnectError::config("Could not read bad"));
            }
            let keys = keys.unwrap_or_default().iter().filter(|key| ["a", "b"].contains(&key.as_str()));
            Ok(ProvidedConfig { data: keys.map(|k| (k.clone(), format!("{path}/{k}"))).collect(), ttl: self.0 })
        }
    }

    impl ConfigProviderType for Vault {
        fn descriptor(&self) -> Descriptor {
            Descriptor { class: "test.Vault", version: "1" }
        }

        fn create(&self, props: &Props) -> Result<Box<dyn ConfigProvider>, ConnectError> {
            Ok(Box::new(Self(props.get("ttl").and_then(|ttl| ttl.parse().ok()).map(Duration::from_secs))))
        }
    }

    fn resolver() -> ConfigResolver {
        let mut registry = Registry::new();
        registry.add_config_provider(Arc::new(Vault(None)));
        let worker = [
            ("config.providers", "v, short,nameless"),
            ("config.providers.v.class", "test.Vault"),
            ("config.providers.short.class", "Vault"),
            ("config.providers.short.param.ttl", "7"),
        ];
        ConfigResolver::new(&registry, &worker.map(|(k, v)| (k.to_owned(), v.to_owned())).into()).unwrap()
    }

    fn raw(pairs: &[(&str, &str)]) -> RawConfig {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), Some((*v).to_owned()))).collect()
    }

    #[test]
    fn values_are_replaced_and_what_is_unknown_stays() {
        let config = raw(&[("x", "<${v:p:a}${v:p:b}>"), ("y", "${v:p:none} ${w:p:a}"), ("z", "${v:a}")]);
        let resolved = resolver().resolve(&config).unwrap();
        assert_eq!(resolved.config, raw(&[("x", "<p/ap/b>"), ("y", "${v:p:none} ${w:p:a}"), ("z", "/a")]));
        assert_eq!(resolved.ttls, BTreeMap::new());
        let short = raw(&[("x", "${short:p:a}")]);
        let ends = resolver().resolve(&short).unwrap();
        assert_eq!(ends.reloads(&short).unwrap(), &BTreeMap::from([("p".to_owned(), Duration::from_secs(7))]));
        let kept = raw(&[("x", "${short:p:a}"), ("config.action.reload", " none ")]);
        assert_eq!(ends.reloads(&kept).unwrap(), &BTreeMap::new());
        let error = resolver().resolve(&raw(&[("x", "${v:bad:a}")])).unwrap_err();
        assert_eq!(error.message(), Some("Could not read bad"));
    }

    #[test]
    fn tasks_show_references_again() {
        let config = raw(&[("password", "${v:p:a}"), ("user", "me")]);
        let resolved = resolver().resolve(&config).unwrap();
        let mut task = resolved.props().unwrap();
        task.insert("part".to_owned(), "p/a".to_owned());
        let hidden = ConfigResolver::hide(&config, &resolved.config, task);
        assert_eq!(hidden["password"].as_deref(), Some("${v:p:a}"));
        assert_eq!(hidden["user"].as_deref(), Some("me"));
        assert_eq!(hidden["part"].as_deref(), Some("p/a"), "only the setting of the same name is a secret's place");
    }

    #[test]
    fn nulls_pass_here_and_fail_a_start() {
        let config = RawConfig::from([("file".to_owned(), None)]);
        let error = resolver().resolve(&config).unwrap().props().unwrap_err();
        assert_eq!(
            error.headline(),
            "java.lang.ClassCastException: Non-string value found in original settings for key file: null"
        );
    }

    #[test]
    fn a_provider_that_is_not_installed_is_said_with_its_key() {
        let worker = [("config.providers", "f"), ("config.providers.f.class", "x")];
        let error = ConfigResolver::new(&Registry::new(), &worker.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        assert_eq!(
            error.unwrap_err().message(),
            Some(
                "Invalid value x for configuration config.providers.f.class: Could not load config provider class or one \
                 of its dependencies"
            )
        );
    }
}
