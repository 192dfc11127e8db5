//! Kerberos: who this client is, by a keytab or a ticket cache, and the first token for a broker.
//!
//! The system's library (MIT krb5) does the work: it reads `/etc/krb5.conf`, asks the KDC and keeps tickets. What a keytab brings is kept in memory, in a
//! cache for each keytab and principal, and the library replaces it when half of its time is over; a ticket cache is read anew for every connection, so
//! whoever renews it need not tell us. Counterpart of Java's `KerberosLogin` and the JDK's `Krb5LoginModule`, whose thread that relogs in is not needed.
#![expect(clippy::disallowed_methods, reason = "driver: a thread for what asks the KDC, the system's resolver")]

mod credential;

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Weak};

use libgssapi::context::{ClientCtx, CtxFlags};
use libgssapi::credential::Cred;
use libgssapi::error::Error;
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_NT_HOSTBASED_SERVICE};
use parking_lot::Mutex;
use ring::digest;

use crate::error::KafkaError;
use crate::security::jaas::JaasEntry;
use crate::security::sasl::gssapi::GssapiClient;

/// The one login module.
pub(super) const MODULE: &str = "com.sun.security.auth.module.Krb5LoginModule";
/// Where the library's numbers for Kerberos begin: `ERROR_TABLE_BASE_krb5`. The protocol's own numbers are counted from here.
const FIRST_ERROR: i32 = -1_765_328_384;
/// What may work later: the KDC is overloaded, a clock is behind, a token came twice (Java's `KerberosError`), no KDC answers.
const TRANSIENT: [i32; 4] = [FIRST_ERROR + 29, FIRST_ERROR + 33, FIRST_ERROR + 34, FIRST_ERROR + 156];
/// The KDC does not know the broker.
const SERVER_NOT_FOUND: i32 = FIRST_ERROR + 7;

/// What clients with the same settings share, so that one of them at a time asks the KDC.
static SHARED: LazyLock<Mutex<HashMap<Settings, Weak<KerberosLogin>>>> = LazyLock::new(Mutex::default);

/// What the options of the login module come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Settings {
    /// The brokers' name: `sasl.kerberos.service.name`.
    service: String,
    principal: Option<String>,
    /// In the order in which they are tried.
    sources: Vec<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    /// A ticket cache; none for the library's default.
    Cache(Option<String>),
    Keytab(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(None) => f.write_str("the default ticket cache"),
            Self::Cache(Some(path)) => write!(f, "the ticket cache {path}"),
            Self::Keytab(path) => write!(f, "the keytab {path}"),
        }
    }
}

impl Settings {
    /// Reads the options of `Krb5LoginModule`; of those that are not looked at, none changes who a client without a terminal is.
    ///
    /// # Errors
    /// The property at fault and why.
    pub(super) fn read(entry: &JaasEntry, service_key: Option<&str>) -> Result<Self, (&'static str, String)> {
        let jaas = |why: &str| ("sasl.jaas.config", why.to_owned());
        let option = |key: &str| entry.option(key).map(str::trim).filter(|value| !value.is_empty());
        let flag = |key: &str| option(key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let service = match (option("serviceName"), service_key) {
            (Some(one), Some(other)) if one != other => {
                let why = format!(
                    "Conflicting serviceName values found in JAAS and Kafka configs value in JAAS file {one}, value in Kafka config {other}"
                );
                return Err(("sasl.kerberos.service.name", why));
            }
            (Some(service), _) | (None, Some(service)) => service.to_owned(),
            (None, None) => {
                let why = "No serviceName defined in either JAAS or Kafka config";
                return Err(("sasl.kerberos.service.name", why.to_owned()));
            }
        };
        if option("isInitiator").is_some_and(|value| !value.eq_ignore_ascii_case("true")) {
            return Err(jaas("with isInitiator=false there is nothing to authenticate a client with"));
        }
        let principal = option("principal").map(str::to_owned);
        let mut sources = Vec::new();
        if flag("useTicketCache") {
            sources.push(Source::Cache(option("ticketCache").map(str::to_owned)));
        }
        if flag("useKeyTab") {
            let missing =
                |key| jaas(&format!("the option `{key}` of the login module is missing, which useKeyTab=true needs"));
            sources.push(Source::Keytab(option("keyTab").ok_or_else(|| missing("keyTab"))?.to_owned()));
            if principal.is_none() {
                return Err(missing("principal"));
            }
        }
        if sources.is_empty() {
            return Err(jaas("nobody can be asked for a password; set useKeyTab=true or useTicketCache=true"));
        }
        let texts = sources.iter().filter_map(|source| match source {
            Source::Cache(path) => path.as_deref(),
            Source::Keytab(path) => Some(path.as_str()),
        });
        if texts.chain([service.as_str()]).chain(principal.as_deref()).any(|text| text.contains('\0')) {
            return Err(jaas("an option has a NUL in it"));
        }
        Ok(Self { service, principal, sources })
    }
}

/// A client's identity towards every broker.
#[derive(Debug)]
pub(crate) struct KerberosLogin {
    settings: Settings,
    /// Held by whoever asks the KDC.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl KerberosLogin {
    /// The login of these settings.
    pub(super) fn shared(settings: Settings) -> Arc<Self> {
        let mut shared = SHARED.lock();
        shared.retain(|_, login| login.strong_count() > 0);
        if let Some(login) = shared.get(&settings).and_then(Weak::upgrade) {
            return login;
        }
        let login = Arc::new(Self { settings: settings.clone(), turn: Arc::default() });
        shared.insert(settings, Arc::downgrade(&login));
        login
    }

    /// Begins an exchange with a broker. The library waits for the KDC, so it does in a thread of its own; whoever stops waiting stops nothing.
    pub(super) async fn begin(self: &Arc<Self>, host: &str) -> Result<GssapiClient, KafkaError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (login, host) = (Arc::clone(self), host.to_owned());
        let beginning = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            login.ask(&host)
        });
        let ended = || KafkaError::other("the program ends");
        beginning.await.unwrap_or_else(|_| Err(ended()))
    }

    fn ask(&self, host: &str) -> Result<GssapiClient, KafkaError> {
        let credential = self.credential().map_err(|error| {
            let sources: Vec<_> = self.settings.sources.iter().map(Source::to_string).collect();
            let whom = self.settings.principal.as_deref().unwrap_or("whomever it is of");
            let words = format!(
                "javax.security.auth.login.LoginException: {error}; tried {}, for {whom}",
                sources.join(", then ")
            );
            kafka_error(words, &error)
        })?;
        // Java asks for the name of an address too: tickets are for names.
        let name = host.parse::<IpAddr>().ok().and_then(|ip| dns_lookup::lookup_addr(&ip).ok());
        let host = name.as_deref().unwrap_or(host);
        let service = format!("{}@{host}", self.settings.service);
        self.context(credential, &service).map_err(|error| {
            let mut words = format!(
                "An error: (javax.security.sasl.SaslException: GSS initiate failed [Caused by GSSException: {error}]) occurred when evaluating SASL token \
                 received from the Kafka Broker."
            );
            if number(&error) == SERVER_NOT_FOUND {
                words.push_str(&format!(
                    " The KDC does not know {service}: `sasl.kerberos.service.name` and the host, as `bootstrap.servers` or the brokers' `advertised.listeners` \
                     name it, are the name of the brokers' principal."
                ));
            }
            words.push_str(" Kafka Client will go to AUTHENTICATION_FAILED state.");
            kafka_error(words, &error)
        })
    }

    /// The first source that has something.
    fn credential(&self) -> Result<Cred, Error> {
        let principal = self.settings.principal.as_deref();
        let mut outcome = Err(Error { major: libgssapi::error::MajorFlags::GSS_S_NO_CRED, minor: 0 });
        for source in &self.settings.sources {
            outcome = match source {
                Source::Cache(None) => credential::acquire(principal, &[]),
                Source::Cache(Some(path)) => credential::acquire(principal, &[(c"ccache", c_string(path))]),
                Source::Keytab(path) => {
                    let cache = memory(path, principal.unwrap_or_default());
                    credential::acquire(principal, &[(c"client_keytab", c_string(path)), (c"ccache", c_string(&cache))])
                }
            };
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn context(&self, credential: Cred, service: &str) -> Result<GssapiClient, Error> {
        let target = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE))?;
        let flags = CtxFlags::GSS_C_MUTUAL_FLAG | CtxFlags::GSS_C_INTEG_FLAG;
        let mut context = ClientCtx::new(Some(credential), target, flags, Some(GSS_MECH_KRB5));
        let first = context.step(None, None)?;
        Ok(GssapiClient::new(context, first.map_or_else(Vec::new, |token| token.to_vec())))
    }
}

/// The library's name of the cache in memory of a keytab and a principal.
fn memory(keytab: &str, principal: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in [keytab, principal] {
        context.update(&text.len().to_be_bytes());
        context.update(text.as_bytes());
    }
    let name: String = context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("MEMORY:kurier-{name}")
}

fn c_string(text: &str) -> CString {
    CString::new(text).expect("the settings were read without a NUL")
}

/// The number that Kerberos itself gives.
fn number(error: &Error) -> i32 {
    error.minor.cast_signed()
}

fn kafka_error(words: String, error: &Error) -> KafkaError {
    let retriable = TRANSIENT.contains(&number(error));
    KafkaError { retriable, ..KafkaError::sasl_authentication(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &str, service: Option<&str>) -> Result<Settings, (&'static str, String)> {
        Settings::read(&JaasEntry::parse(&format!("{MODULE} required {options};")).unwrap(), service)
    }

    #[test]
    fn the_options_of_javas_login_module_are_read() {
        let keytab = Source::Keytab("/k".to_owned());
        let cases = [
            (
                "useKeyTab=true keyTab=\"/k\" principal=\"a@R\" storeKey=true debug=true",
                Some("a@R"),
                vec![keytab.clone()],
            ),
            ("useTicketCache=TRUE", None, vec![Source::Cache(None)]),
            ("useTicketCache=true ticketCache=\"/t\" renewTGT=true", None, vec![Source::Cache(Some("/t".to_owned()))]),
            (
                "useKeyTab=true keyTab=\"/k\" principal=a useTicketCache=true doNotPrompt=true isInitiator=true",
                Some("a"),
                vec![Source::Cache(None), keytab.clone()],
            ),
            ("useKeyTab=false useTicketCache=true keyTab=\"/k\"", None, vec![Source::Cache(None)]),
        ];
        for (options, principal, sources) in cases {
            let settings = read(options, Some("kafka")).unwrap();
            assert_eq!((settings.principal.as_deref(), settings.sources), (principal, sources), "{options}");
        }
        for (option, key, expected) in
            [("serviceName=a", None, "a"), ("", Some("b"), "b"), ("serviceName=a", Some("a"), "a")]
        {
            assert_eq!(read(&format!("useTicketCache=true {option}"), key).unwrap().service, expected);
        }
    }

    #[test]
    fn options_that_let_nobody_log_in_are_refused() {
        let cases = [
            ("", Some("k"), "sasl.jaas.config", "nobody can be asked for a password"),
            ("useKeyTab=true principal=a", Some("k"), "sasl.jaas.config", "`keyTab` of the login module is missing"),
            (
                "useKeyTab=true keyTab=\"/k\"",
                Some("k"),
                "sasl.jaas.config",
                "`principal` of the login module is missing",
            ),
            ("useTicketCache=true isInitiator=false", Some("k"), "sasl.jaas.config", "isInitiator=false"),
            ("useTicketCache=true principal=\"a\\000b\"", Some("k"), "sasl.jaas.config", "NUL"),
            (
                "useTicketCache=true",
                None,
                "sasl.kerberos.service.name",
                "No serviceName defined in either JAAS or Kafka config",
            ),
            (
                "useTicketCache=true serviceName=a",
                Some("b"),
                "sasl.kerberos.service.name",
                "Conflicting serviceName values",
            ),
        ];
        for (options, service, key, why) in cases {
            let refused = read(options, service).unwrap_err();
            assert!(refused.0 == key && refused.1.contains(why), "{options}: {refused:?}");
        }
    }

    #[test]
    fn clients_with_the_same_settings_share_a_login() {
        let login = |options: &str| KerberosLogin::shared(read(options, Some("kafka")).unwrap());
        let first = login("useTicketCache=true ticketCache=\"/shared\"");
        assert!(Arc::ptr_eq(&first, &login("ticketCache=\"/shared\" useTicketCache=true")));
        assert!(!Arc::ptr_eq(&first, &login("ticketCache=\"/other\" useTicketCache=true")));
        assert_ne!(memory("a", "b"), memory("ab", ""));
    }
}
