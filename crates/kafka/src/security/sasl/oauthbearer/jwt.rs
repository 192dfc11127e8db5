//! What is in a token: reading the claims of a JWT, and the tokens that nobody signed.
//!
//! A client does not check signatures, only whether what it is about to send is a token that has not ended: Java's `ClientJwtValidator`. Tokens
//! without a signature are for tests and development; both Java's handler that makes them (`OAuthBearerUnsecuredLoginCallbackHandler`, the default of
//! clients) and the one that takes them (`OAuthBearerUnsecuredValidatorCallbackHandler`, the default of brokers) have their twin here.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value, json};

use super::{Token, validate_extensions};
use crate::security::jaas::JaasEntry;
use crate::security::secret::Secret;

const URL_SAFE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const STANDARD: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Names of the claims that a client looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimNames {
    /// `sasl.oauthbearer.scope.claim.name`.
    pub scope: String,
    /// `sasl.oauthbearer.sub.claim.name`.
    pub subject: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { scope: "scope".to_owned(), subject: "sub".to_owned() }
    }
}

/// Reads what a client has to know of a token, which is all that it checks.
///
/// # Errors
/// Java's words, without the token.
pub fn inspect(value: Secret, names: &ClaimNames) -> Result<Token, String> {
    let text = value.reveal().trim();
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, _signature] = parts.as_slice() else {
        return Err(format!(
            "Malformed JWT provided ({} parts); expected three sections (header, payload, and signature)",
            parts.len()
        ));
    };
    if header.is_empty() || payload.is_empty() {
        return Err("Malformed JWT provided; expected three sections (header, payload, and signature)".to_owned());
    }
    let claims = object(payload).map_err(|why| format!("Could not validate the access token: {why}"))?;
    let mut scopes = Vec::new();
    match claims.get(&names.scope) {
        Some(Value::String(scope)) => scopes.push(scope.trim().to_owned()),
        Some(Value::Array(list)) => scopes.extend(list.iter().map(|scope| plain(scope).trim().to_owned())),
        _ => {}
    }
    for (index, scope) in scopes.iter().enumerate() {
        if scope.is_empty() {
            return Err(format!("{} value must be non-empty", names.scope));
        }
        if scopes[..index].contains(scope) {
            return Err(format!("{} value must not contain duplicates - {scope} already present", names.scope));
        }
    }
    let expires = claims.get("exp").and_then(Value::as_f64).ok_or("exp value must be non-null")?;
    if expires < 0.0 {
        return Err(format!("exp value must be non-negative; value given was \"{expires}\""));
    }
    let start = claims.get("iat").and_then(Value::as_f64);
    if start.is_some_and(|start| start < 0.0) {
        return Err("iat value must be null or non-negative".to_owned());
    }
    let subject = claims.get(&names.subject).and_then(Value::as_str).map(str::trim);
    let subject = subject.ok_or_else(|| format!("{} value must be non-null", names.subject))?;
    if subject.is_empty() {
        return Err(format!("{} value must be non-empty", names.subject));
    }
    Ok(Token {
        principal: subject.to_owned(),
        // Whole seconds, as Java takes them here.
        start_ms: start.map(|start| millis(start.trunc())),
        expires_ms: millis(expires.trunc()),
        value: Secret::from(text),
        extensions: Vec::new(),
    })
}

/// Seconds as milliseconds; beyond the range of numbers, the last one.
fn millis(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

/// A part of a token as a JSON object. Both alphabets are taken, as there are both in the field.
fn object(part: &str) -> Result<Map<String, Value>, &'static str> {
    let bytes = URL_SAFE.decode(part).or_else(|_| STANDARD.decode(part));
    let bytes = bytes.map_err(|_| "malformed Base64 URL encoded value")?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err("malformed JSON"),
    }
}

/// A value as Jackson's `asText` has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => String::new(),
        other => other.to_string(),
    }
}

/// A token as the options `unsecuredLogin…` describe it; none if there are no options.
///
/// # Errors
/// Java's words for options that make no token.
pub fn unsecured(entry: &JaasEntry, now_ms: i64) -> Result<Option<Token>, String> {
    let mut extensions = Vec::new();
    let (mut claims, mut options) = (Map::new(), 0);
    for (key, value) in entry.options() {
        let value = value.reveal();
        if let Some(name) = key.strip_prefix("unsecuredLoginExtension_") {
            extensions.push((name.to_owned(), value.to_owned()));
            continue;
        }
        options += 1;
        let claim = |prefix| key.strip_prefix(prefix).filter(|name: &&str| !name.is_empty());
        let (name, value) = if let Some(name) = claim("unsecuredLoginStringClaim_") {
            (name, json!(value))
        } else if let Some(name) = claim("unsecuredLoginNumberClaim_") {
            let number: Option<f64> = value.trim().parse().ok().filter(|number: &f64| number.is_finite());
            (name, json!(number.ok_or_else(|| format!("the claim {name} is not a number"))?))
        } else if let Some(name) = claim("unsecuredLoginListClaim_") {
            (name, json!(list(value)))
        } else {
            continue;
        };
        if ["iat", "exp"].contains(&name) {
            return Err(format!("Cannot explicitly set the '{name}' claim"));
        }
        claims.insert(name.to_owned(), value);
    }
    if options == 0 {
        return if extensions.is_empty() {
            Ok(None)
        } else {
            Err("Extensions provided in login context without a token".to_owned())
        };
    }
    validate_extensions(&extensions)?;
    let lifetime = entry.option("unsecuredLoginLifetimeSeconds").unwrap_or("3600");
    let lifetime: i64 = lifetime.parse().map_err(|_| format!("For input string: \"{lifetime}\""))?;
    let now = now_ms as f64 / 1_000.0;
    claims.insert("exp".to_owned(), json!(now + lifetime as f64));
    claims.insert("iat".to_owned(), json!(now));
    let named = |option: &str, default: &str| {
        let name = entry.option(option).map(str::trim).filter(|name| !name.is_empty());
        name.unwrap_or(default).to_owned()
    };
    let names = ClaimNames {
        subject: named("unsecuredLoginPrincipalClaimName", "sub"),
        scope: named("unsecuredLoginScopeClaimName", "scope"),
    };
    let claims = Value::Object(claims).to_string();
    let value = format!("{}.{}.", URL_SAFE.encode("{\"alg\":\"none\"}"), URL_SAFE.encode(claims));
    let token = read_unsecured(&Secret::from(value), &names).map_err(|refusal| refusal.why)?.token;
    Ok(Some(Token { extensions, ..token }))
}

/// A list in Java's form: the first character separates what follows. If anything is empty, one more empty element comes at the end.
fn list(text: &str) -> Vec<String> {
    let mut chars = text.chars();
    let Some(separator) = chars.next() else { return Vec::new() };
    let rest = chars.as_str();
    if rest.is_empty() {
        return Vec::new();
    }
    let twice: String = [separator, separator].iter().collect();
    let mut elements: Vec<String> = rest.split(separator).map(str::to_owned).collect();
    // Java's `split` drops what is empty at the end.
    while elements.last().is_some_and(String::is_empty) {
        elements.pop();
    }
    if rest.starts_with(separator) || rest.ends_with(separator) || rest.contains(&twice) {
        elements.push(String::new());
    }
    elements
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the log.
    pub why: String,
    /// The scope that is needed, if that is it.
    pub scope: Option<String>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, scope: None }
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

struct Unsecured {
    token: Token,
    scopes: Vec<String>,
    issued_at: Option<f64>,
    expires: f64,
}

/// Java's `OAuthBearerUnsecuredJws`.
fn read_unsecured(value: &Secret, names: &ClaimNames) -> Result<Unsecured, Refusal> {
    let text = value.reveal();
    if text.contains("..") {
        return Err("Malformed compact serialization contains '..'".into());
    }
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else {
        return Err("Unsecured JWS compact serializations must have 3 dot-separated Base64URL-encoded values".into());
    };
    let (header, claims) = (object(header)?, object(payload)?);
    if header.get("alg").and_then(Value::as_str) != Some("none") {
        return Err("Unsecured JWS must have 'none' for an algorithm".into());
    }
    if !signature.is_empty() {
        return Err("Unsecured JWS must not contain a digital signature".into());
    }
    let number = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(Refusal::from(format!("The '{name}' claim was not of type Number"))),
    };
    let scopes = match claims.get(&names.scope) {
        Some(Value::Array(list)) => list.iter().map(plain).collect(),
        Some(value) => vec![plain(value)],
        None => Vec::new(),
    };
    let scopes = scopes.iter().map(|scope| scope.trim().to_owned()).filter(|scope| !scope.is_empty()).collect();
    let expires = number("exp")?.ok_or("No expiration time in JWT")?;
    let issued_at = number("iat")?;
    let principal = claims.get(&names.subject).map(plain).filter(|principal| !principal.trim().is_empty());
    let principal = principal.ok_or_else(|| format!("No principal name in JWT claim: {}", names.subject))?;
    let token = Token {
        value: value.clone(),
        principal,
        start_ms: issued_at.map(millis),
        expires_ms: millis(expires),
        extensions: Vec::new(),
    };
    Ok(Unsecured { token, scopes, issued_at, expires })
}

/// Takes tokens that nobody signed, as Java's brokers do unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsecuredValidator {
    names: ClaimNames,
    required_scope: Vec<String>,
    skew_ms: u32,
}

impl UnsecuredValidator {
    /// With the options `unsecuredValidator…`.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn new(entry: &JaasEntry) -> Result<Self, String> {
        let option = |key: &str| entry.option(key).map(str::trim).filter(|value| !value.is_empty());
        let skew = option("unsecuredValidatorAllowableClockSkewMs").unwrap_or("0");
        let skew: i32 = skew.parse().map_err(|_| format!("For input string: \"{skew}\""))?;
        let skew_ms =
            u32::try_from(skew).map_err(|_| format!("Allowable clock skew millis must not be negative: {skew}"))?;
        let names = ClaimNames {
            subject: option("unsecuredValidatorPrincipalClaimName").unwrap_or("sub").to_owned(),
            scope: option("unsecuredValidatorScopeClaimName").unwrap_or("scope").to_owned(),
        };
        let required = option("unsecuredValidatorRequiredScope").unwrap_or_default();
        let required_scope = required.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        Ok(Self { names, required_scope, skew_ms })
    }

    /// Checks a token at a time.
    ///
    /// # Errors
    /// If it does not count.
    pub fn validate(&self, value: &Secret, now_ms: i64) -> Result<Token, Refusal> {
        let Unsecured { token, scopes, issued_at, expires } = read_unsecured(value, &self.names)?;
        let (now, skew) = (now_ms as f64, f64::from(self.skew_ms));
        if issued_at.is_some_and(|issued_at| issued_at * 1_000.0 > now + skew) {
            return Err("The Issued At value was after the indicated time plus allowable clock skew".into());
        }
        if now - skew >= expires * 1_000.0 {
            return Err(
                "The indicated time minus allowable clock skew was on or after the Expiration Time value".into()
            );
        }
        if issued_at.is_some_and(|issued_at| expires <= issued_at) {
            return Err("The Expiration Time time was not after the Issued At time".into());
        }
        if let Some(missing) = self.required_scope.iter().find(|scope| !scopes.contains(scope)) {
            let required = format!("[{}]", self.required_scope.join(", "));
            let why = format!("The provided scope was missing a required scope ({missing})");
            return Err(Refusal { why, scope: Some(required) });
        }
        Ok(token)
    }
}
