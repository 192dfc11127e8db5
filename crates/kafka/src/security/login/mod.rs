//! Who this client says it is: `sasl.*`, and the exchange that proves it.
//!
//! Java finds a login module, a login, callback handlers and a SASL client by their class names. Here the mechanism decides; the class names that
//! Kafka ships are known and mean what they mean there, any other is refused, because what a Java class would do cannot be done. Read on in [`bearer`]
//! for tokens, [`refresh`] for when they are replaced and [`http`] for how they are asked for.

pub(crate) mod bearer;
mod http;
#[cfg(feature = "gssapi")]
mod kerberos;
mod refresh;

use std::sync::Arc;
use std::time::Duration;

use ring::digest;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::jaas::JaasEntry;
use super::sasl::oauthbearer::jwt::ClaimNames;
use super::sasl::oauthbearer::validate_extensions;
use super::sasl::{ClientExchange, Credentials, Mechanism};
use super::secret::Secret;
use super::tls::ClientTls;
use crate::config::Keys;
use crate::error::KafkaError;
use bearer::{BearerSettings, Endpoint, Source, Tokens};
use refresh::Refresh;

const PACKAGE: &str = "org.apache.kafka.common.security.";
/// Java waits for a token endpoint without end unless told otherwise; this is as long as anybody would.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How a client authenticates itself.
#[derive(Clone, Debug)]
pub struct ClientSasl(Login);

#[derive(Clone, Debug)]
enum Login {
    Password {
        mechanism: Mechanism,
        credentials: Credentials,
        token: bool,
    },
    Bearer(Arc<Tokens>),
    #[cfg(feature = "gssapi")]
    Kerberos(Arc<kerberos::KerberosLogin>),
}

impl ClientSasl {
    /// A user with a password.
    pub fn password(mechanism: Mechanism, user: &str, password: Secret) -> Self {
        let credentials = Credentials { user: user.to_owned(), password };
        Self(Login::Password { mechanism, credentials, token: false })
    }

    /// `sasl.mechanism`.
    pub(crate) fn mechanism(&self) -> &'static str {
        match &self.0 {
            Login::Password { mechanism, .. } => mechanism.name(),
            Login::Bearer(_) => Mechanism::OauthBearer.name(),
            #[cfg(feature = "gssapi")]
            Login::Kerberos(_) => "GSSAPI",
        }
    }

    /// Begins an exchange with a broker on a host, with a token or a ticket where one is needed.
    ///
    /// # Errors
    /// If there is none to be had; one that is retriable is no verdict, only bad luck.
    #[cfg_attr(not(feature = "gssapi"), expect(unused_variables, reason = "only tickets are for a host"))]
    pub(crate) async fn begin(&self, host: &str) -> Result<ClientExchange, KafkaError> {
        match &self.0 {
            Login::Password { mechanism: Mechanism::Scram(hash), credentials, token } => {
                Ok(ClientExchange::scram(*hash, credentials.clone(), *token, nonce()))
            }
            Login::Password { credentials, .. } => Ok(ClientExchange::plain(credentials.clone())),
            Login::Bearer(tokens) => {
                let token = tokens.token().await.map_err(KafkaError::sasl_authentication)?;
                Ok(ClientExchange::bearer(&token))
            }
            #[cfg(feature = "gssapi")]
            Login::Kerberos(login) => Ok(ClientExchange::Gssapi(login.begin(host).await?)),
        }
    }

    /// Reads `sasl.*`; none if there is a problem, which `keys` then knows.
    pub(crate) fn read(keys: &mut Keys<'_>) -> Option<Self> {
        let name = keys.text("sasl.mechanism").unwrap_or("GSSAPI");
        if name == "GSSAPI" {
            return gssapi(keys);
        }
        let Some(mechanism) = Mechanism::from_name(name) else {
            let known: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
            keys.refuse("sasl.mechanism", name, &format!("this client speaks {}, GSSAPI", known.join(", ")));
            return None;
        };
        if mechanism == Mechanism::OauthBearer {
            client_classes(
                keys,
                "oauthbearer.internals.OAuthBearerSaslClientCallbackHandler",
                "oauthbearer.internals.OAuthBearerRefreshingLogin",
            );
        } else {
            client_classes(keys, "authenticator.SaslClientCallbackHandler", "authenticator.DefaultLogin");
            login_handler(keys, None);
        }
        let (entry, text) = jaas(keys)?;
        let modules: &[&str] = match mechanism {
            Mechanism::OauthBearer => &["oauthbearer.OAuthBearerLoginModule"],
            // Java's two modules do the same for either mechanism: they pass on name and password.
            Mechanism::Plain | Mechanism::Scram(_) => &["plain.PlainLoginModule", "scram.ScramLoginModule"],
        };
        if !modules.iter().any(|module| entry.module.strip_prefix(PACKAGE) == Some(module)) {
            let why = format!("login module {} is not one for {mechanism}; {PACKAGE}{} is", entry.module, modules[0]);
            keys.refuse("sasl.jaas.config", text, &why);
            return None;
        }
        Some(Self(match mechanism {
            Mechanism::OauthBearer => Login::Bearer(bearer(keys, entry)?),
            Mechanism::Plain | Mechanism::Scram(_) => {
                let mut option = |key: &str| {
                    let value = entry.option(key);
                    if value.is_none() {
                        keys.refuse(
                            "sasl.jaas.config",
                            text,
                            &format!("the option `{key}` of the login module is missing"),
                        );
                    }
                    value
                };
                let (user, password) = (option("username"), option("password"));
                let credentials = Credentials { user: user?.to_owned(), password: password?.into() };
                let token = entry.module.ends_with("ScramLoginModule")
                    && entry.option("tokenauth").is_some_and(|value| value.eq_ignore_ascii_case("true"));
                Login::Password { mechanism, credentials, token }
            }
        }))
    }
}

/// Something that was never said before.
fn nonce() -> String {
    let mut bytes = [0; 20];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `sasl.jaas.config`, read and as it was given.
fn jaas<'a>(keys: &mut Keys<'a>) -> Option<(JaasEntry, &'a str)> {
    let Some(text) = keys.text("sasl.jaas.config") else {
        keys.refuse(
            "sasl.jaas.config",
            "null",
            "Could not find a 'KafkaClient' entry in the JAAS configuration. System property 'java.security.auth.login.config' is not set",
        );
        return None;
    };
    match JaasEntry::parse(text) {
        Ok(entry) => Some((entry, text)),
        Err(why) => {
            keys.refuse("sasl.jaas.config", text, &why);
            None
        }
    }
}

/// GSSAPI in a build that does not have it. What belongs to it is looked at nevertheless, as in one that has.
#[cfg(not(feature = "gssapi"))]
fn gssapi(keys: &mut Keys<'_>) -> Option<ClientSasl> {
    keys.text("sasl.kerberos.service.name");
    let why = "this build does not speak Kerberos, which needs a library of the system; build it with the cargo feature `gssapi`";
    keys.refuse("sasl.mechanism", "GSSAPI", why);
    None
}

/// Reads who somebody is to Kerberos.
#[cfg(feature = "gssapi")]
fn gssapi(keys: &mut Keys<'_>) -> Option<ClientSasl> {
    client_classes(keys, "authenticator.SaslClientCallbackHandler", "kerberos.KerberosLogin");
    login_handler(keys, Some("kerberos.KerberosClientCallbackHandler"));
    let service = keys.text("sasl.kerberos.service.name");
    let (entry, text) = jaas(keys)?;
    if entry.module != kerberos::MODULE {
        let why = format!("login module {} is not one for GSSAPI; {} is", entry.module, kerberos::MODULE);
        keys.refuse("sasl.jaas.config", text, &why);
        return None;
    }
    match kerberos::Settings::read(&entry, service) {
        Ok(settings) => Some(ClientSasl(Login::Kerberos(kerberos::KerberosLogin::shared(settings)))),
        Err((key, why)) => {
            keys.refuse(key, service.unwrap_or("null"), &why);
            None
        }
    }
}

const NO_TWIN: &str = "Java classes cannot be loaded, and this one has no native twin";

/// Refuses classes other than Kafka's own for the mechanism, which have twins here.
fn client_classes(keys: &mut Keys<'_>, client: &str, login: &str) {
    for (key, twin) in [("sasl.client.callback.handler.class", client), ("sasl.login.class", login)] {
        if let Some(class) = keys.text(key).filter(|class| class.strip_prefix(PACKAGE) != Some(twin)) {
            keys.refuse(key, class, NO_TWIN);
        }
    }
}

/// As [`client_classes`], for the handler of logins.
fn login_handler(keys: &mut Keys<'_>, twin: Option<&str>) {
    let handler = "sasl.login.callback.handler.class";
    let is_twin = |class: &str| twin.is_some_and(|twin| class.strip_prefix(PACKAGE) == Some(twin));
    if let Some(class) = keys.text(handler).filter(|class| !is_twin(class)) {
        keys.refuse(handler, class, NO_TWIN);
    }
}

/// Reads where tokens come from.
fn bearer(keys: &mut Keys<'_>, entry: JaasEntry) -> Option<Arc<Tokens>> {
    let refresh = Refresh {
        factor: keys.number("sasl.login.refresh.window.factor", 0.8, 0.5),
        jitter: keys.number("sasl.login.refresh.window.jitter", 0.05, 0.0),
        min_period_ms: 1_000 * keys.number("sasl.login.refresh.min.period.seconds", 60, 0),
        buffer_ms: 1_000 * keys.number("sasl.login.refresh.buffer.seconds", 300, 0),
    };
    let names = ClaimNames {
        scope: keys.text("sasl.oauthbearer.scope.claim.name").unwrap_or("scope").to_owned(),
        subject: keys.text("sasl.oauthbearer.sub.claim.name").unwrap_or("sub").to_owned(),
    };
    let handler = "sasl.login.callback.handler.class";
    let (source, extensions) = match keys.text(handler) {
        None => (Source::Unsecured(entry), Vec::new()),
        Some(class) => match class.strip_prefix(PACKAGE).unwrap_or_default() {
            "oauthbearer.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler" => {
                (Source::Unsecured(entry), Vec::new())
            }
            "oauthbearer.OAuthBearerLoginCallbackHandler" | "oauthbearer.secured.OAuthBearerLoginCallbackHandler" => {
                let extensions: Vec<_> = entry
                    .options()
                    .filter_map(|(key, value)| {
                        Some((key.strip_prefix("extension_")?.to_owned(), value.reveal().to_owned()))
                    })
                    .collect();
                if let Err(why) = validate_extensions(&extensions) {
                    keys.refuse("sasl.jaas.config", "", &why);
                    return None;
                }
                (issued(keys, &entry)?, extensions)
            }
            _ => {
                keys.refuse(handler, class, NO_TWIN);
                return None;
            }
        },
    };
    let mut digest = digest::Context::new(&digest::SHA256);
    for (key, value) in keys.starting_with("sasl.").chain(keys.starting_with("ssl.")) {
        for text in [key, value] {
            digest.update(&text.len().to_be_bytes());
            digest.update(text.as_bytes());
        }
    }
    let key = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Tokens::shared(key, BearerSettings { source, names, extensions, refresh }))
}

/// Reads which file or endpoint issues tokens.
fn issued(keys: &mut Keys<'_>, entry: &JaasEntry) -> Option<Source> {
    let retriever = keys.text("sasl.oauthbearer.jwt.retriever.class").unwrap_or_default();
    let kind = retriever.strip_prefix(PACKAGE).and_then(|class| class.strip_prefix("oauthbearer."));
    match kind {
        None if retriever.is_empty() => {}
        Some("DefaultJwtRetriever" | "ClientCredentialsJwtRetriever" | "FileJwtRetriever") => {}
        _ => {
            let why = "tokens come from a file or for client credentials; no other retriever has a native twin";
            keys.refuse("sasl.oauthbearer.jwt.retriever.class", retriever, why);
            return None;
        }
    }
    if let Some(validator) = keys.text("sasl.oauthbearer.jwt.validator.class") {
        let known = ["oauthbearer.DefaultJwtValidator", "oauthbearer.ClientJwtValidator"];
        if !validator.strip_prefix(PACKAGE).is_some_and(|class| known.contains(&class)) {
            let why = "a client looks at the claims of its token and checks no signature; no other validator has a native twin";
            keys.refuse("sasl.oauthbearer.jwt.validator.class", validator, why);
            return None;
        }
    }
    let url_key = "sasl.oauthbearer.token.endpoint.url";
    let Some(url) = keys.text(url_key) else {
        keys.refuse(
            url_key,
            "null",
            "The OAuth configuration option sasl.oauthbearer.token.endpoint.url value is required",
        );
        return None;
    };
    if let Some(path) = url.strip_prefix("file:") {
        if kind == Some("ClientCredentialsJwtRetriever") {
            keys.refuse(url_key, url, "client credentials are for http and https");
            return None;
        }
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            keys.refuse(url_key, url, "a file is named by its absolute path, as in file:///etc/token");
            return None;
        }
        return Some(Source::File(path.into()));
    }
    let endpoint = match http::parse_url(url) {
        Ok(_) if kind == Some("FileJwtRetriever") => Err("a token file is named by a file URL".to_owned()),
        parsed => parsed,
    };
    let endpoint = endpoint.map_err(|why| keys.refuse(url_key, url, &why)).ok()?;
    // The newer keys count more than the options that they replace.
    let mut either = |key: &'static str, option: &str| {
        let value = keys.text(key).or_else(|| entry.option(option)).map(str::trim).filter(|value| !value.is_empty());
        value.map(str::to_owned)
    };
    let scope = either("sasl.oauthbearer.scope", "scope");
    let id_key = "sasl.oauthbearer.client.credentials.client.id";
    let secret_key = "sasl.oauthbearer.client.credentials.client.secret";
    let (id, secret) = (either(id_key, "clientId"), either(secret_key, "clientSecret"));
    for (key, option, value) in [(id_key, "clientId", &id), (secret_key, "clientSecret", &secret)] {
        if value.is_none() {
            keys.refuse(
                key,
                "null",
                &format!("it is needed for a token, here or as option `{option}` of the login module"),
            );
        }
    }
    let (backoff_key, max_key) = ("sasl.login.retry.backoff.ms", "sasl.login.retry.backoff.max.ms");
    let backoff = keys.millis(backoff_key, Duration::from_millis(100));
    let backoff_max = keys.millis(max_key, Duration::from_secs(10));
    if backoff_max < backoff {
        let why = format!("it is less than {backoff_key} ({})", backoff.as_millis());
        keys.refuse(max_key, &backoff_max.as_millis().to_string(), &why);
    }
    let tls = if endpoint.scheme_str() == Some("https") { Some(endpoint_tls(keys, entry)?) } else { None };
    Some(Source::Endpoint(Box::new(Endpoint {
        url: endpoint,
        client_id: id?,
        client_secret: secret?.into(),
        scope,
        encode_header: keys.flag("sasl.oauthbearer.header.urlencode", false),
        connect_timeout: keys.millis("sasl.login.connect.timeout.ms", LOGIN_TIMEOUT),
        read_timeout: keys.millis("sasl.login.read.timeout.ms", LOGIN_TIMEOUT),
        backoff,
        backoff_max,
        tls,
    })))
}

/// TLS towards a token endpoint is set up by `ssl.*` among the options of the login module, as in Java.
fn endpoint_tls(keys: &mut Keys<'_>, entry: &JaasEntry) -> Option<ClientTls> {
    let given = entry.options().filter(|(key, _)| key.starts_with("ssl."));
    let given = given.map(|(key, value)| (key.to_owned(), value.reveal().to_owned())).collect();
    let read = ClientTls::read(&given, &|key| format!("{key} (an option of sasl.jaas.config)"));
    read.map_err(|problems| problems.into_iter().for_each(|problem| keys.problem(problem))).ok()
}
