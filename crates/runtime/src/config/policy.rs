//! Which settings of its Kafka clients a connector may override: Java's `ConnectorClientConfigOverridePolicy` and its four classes.

use kurier_api::ConnectError;
use kurier_api::config::{ConfigDef, ConfigValue, Importance, Key, Props, Setting, Type, Validator};

const POLICY: &str = "connector.client.config.override.policy";
const ALLOWLIST: &str = "connector.client.config.override.allowlist";
const PACKAGE: &str = "org.apache.kafka.connect.connector.policy.";
const SUFFIX: &str = "ConnectorClientConfigOverridePolicy";

/// What a connector may override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverridePolicy {
    /// Everything.
    All,
    /// Nothing.
    None,
    /// Who it is to the brokers.
    Principal,
    /// These.
    Allowlist(Vec<String>),
}

impl OverridePolicy {
    /// The policy that a worker's properties name.
    ///
    /// # Errors
    /// Java's: no class of that name, or settings of the policy that cannot be read.
    pub fn of_worker(worker: &Props) -> Result<Self, ConnectError> {
        Self::named(worker.get(POLICY).map_or("All", |name| name.trim()), worker)
    }

    /// The policy of a class name or alias, with its settings.
    ///
    /// # Errors
    /// As [`Self::of_worker`].
    pub fn named(name: &str, worker: &Props) -> Result<Self, ConnectError> {
        let simple = match name.strip_prefix(PACKAGE) {
            Some(class) => class.strip_suffix(SUFFIX),
            None => Some(name.strip_suffix(SUFFIX).unwrap_or(name)),
        };
        Ok(match simple {
            Some("All") => Self::All,
            Some("None") => Self::None,
            Some("Principal") => Self::Principal,
            Some("Allowlist") => Self::Allowlist(allowlist(worker)?),
            _ => {
                return Err(ConnectError::connect(format!(
                    "Failed to find any class that implements interface {PACKAGE}{SUFFIX} and which name matches {name}"
                )));
            }
        })
    }

    /// The name in texts.
    pub fn name(&self) -> &'static str {
        match self {
            Self::All => "All",
            Self::None => "None",
            Self::Principal => "Principal",
            Self::Allowlist(_) => "Allowlist",
        }
    }

    /// Whether a client's setting may be overridden; its name comes without `producer.override.` and the like.
    pub fn allows(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Principal => matches!(key, "sasl.jaas.config" | "sasl.mechanism" | "security.protocol"),
            Self::Allowlist(allowed) => allowed.iter().any(|allowed| allowed == key),
        }
    }

    /// What the policy says of an override.
    pub fn validate(&self, key: &str, value: Setting) -> ConfigValue {
        let mut said = ConfigValue::new(key);
        said.setting = value;
        if !self.allows(key) {
            said.errors.push(self.refusal(key));
        }
        said
    }

    /// Why an override is refused.
    pub fn refusal(&self, key: &str) -> String {
        format!("The '{}' policy does not allow '{key}' to be overridden in the connector configuration.", self.name())
    }
}

/// Whether a name is that of an override policy.
pub(crate) fn is_policy(name: &str) -> bool {
    name.ends_with(SUFFIX) && OverridePolicy::named(name, &Props::new()).is_ok()
}

fn allowlist(worker: &Props) -> Result<Vec<String>, ConnectError> {
    let def = ConfigDef::new().define(
        Key::new(ALLOWLIST, Type::List)
            .default("")
            .validator(Validator::ValidList { of: Vec::new(), empty: true, null: false })
            .importance(Importance::Medium)
            .doc("Settings of clients that connectors may override; empty for none."),
    );
    Ok(def.parse(worker)?.get_list(ALLOWLIST).into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_answer_to_class_and_alias_and_nothing_else() {
        let list = OverridePolicy::Allowlist(vec!["a".to_owned(), "b".to_owned()]);
        let cases = [
            ("All", Some(OverridePolicy::All)),
            ("NoneConnectorClientConfigOverridePolicy", Some(OverridePolicy::None)),
            (
                "org.apache.kafka.connect.connector.policy.PrincipalConnectorClientConfigOverridePolicy",
                Some(OverridePolicy::Principal),
            ),
            ("Allowlist", Some(list)),
            ("none", None),
            ("", None),
            ("org.apache.kafka.connect.connector.policy.None", None),
        ];
        let worker: Props = [(ALLOWLIST.to_owned(), "a , b".to_owned())].into();
        for (name, expected) in cases {
            assert_eq!(OverridePolicy::named(name, &worker).ok(), expected, "{name}");
        }
        let error = OverridePolicy::of_worker(&[(POLICY.to_owned(), " none ".to_owned())].into()).unwrap_err();
        assert!(error.to_string().ends_with("and which name matches none"), "{error}");
    }
}
