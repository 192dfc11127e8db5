//! SCRAM, RFC 5802 and 7677: both sides prove that they know the password, and neither shows it.
//!
//! As in Kafka there is no channel binding and no SASLprep: names and passwords are taken as the UTF-8 they are (Java's `ScramFormatter.normalize`).
//! The server's signature is always checked. Counterparts: Java's `ScramSaslClient`, `ScramSaslServer`, `ScramMessages`.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

use super::{Credentials, SaslError};

/// Fewest rounds that either side accepts: Java's `ScramMechanism.minIterations`.
pub const MIN_ITERATIONS: u32 = 4_096;
/// Most rounds that a credential of the broker may have: Java's `ScramMechanism.maxIterations`.
pub const MAX_ITERATIONS: u32 = 16_384;
/// Most rounds that a server may ask of this client, about a second's work. Java's client has no such bound.
const MAX_CLIENT_ITERATIONS: u32 = 1_000_000;
/// The GS2 header that every client of Kafka sends: no channel binding, no other identity.
const GS2_HEADER: &str = "n,,";

/// What the mechanism hashes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScramHash {
    /// SCRAM-SHA-256.
    Sha256,
    /// SCRAM-SHA-512.
    Sha512,
}

impl ScramHash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    /// The name as Java's `ScramMechanism` prints it.
    fn java_name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM_SHA_256",
            Self::Sha512 => "SCRAM_SHA_512",
        }
    }

    fn sign(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac(), key), message).as_ref().to_vec()
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.digest(), bytes).as_ref().to_vec()
    }

    /// RFC 5802's `Hi`: as many milliseconds of work as there are thousands of rounds.
    pub fn salted_password(self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Vec<u8> {
        let mut salted = vec![0; self.digest().output_len()];
        pbkdf2::derive(self.pbkdf2(), iterations, salt, password.as_bytes(), &mut salted);
        salted
    }
}

/// What a server keeps of a user: not enough to log in with.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    /// Makes equal passwords unequal.
    pub salt: Vec<u8>,
    /// Proves that the client knows the password.
    pub stored_key: Vec<u8>,
    /// Proves to the client that the server knows it.
    pub server_key: Vec<u8>,
    /// Rounds.
    pub iterations: u32,
}

/// The keys of a user are as good as a password for whoever wants to play the server.
impl fmt::Debug for ScramCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl ScramCredential {
    /// From a password that was salted already, as `AlterUserScramCredentials` sends it.
    pub fn from_salted(hash: ScramHash, salted_password: &[u8], salt: Vec<u8>, iterations: u32) -> Self {
        let stored_key = hash.hash(&hash.sign(salted_password, b"Client Key"));
        let server_key = hash.sign(salted_password, b"Server Key");
        Self { salt, stored_key, server_key, iterations }
    }
}

/// The client's side.
#[derive(Debug)]
pub struct ScramClient {
    hash: ScramHash,
    credentials: Credentials,
    token: bool,
    nonce: String,
    state: ClientState,
}

enum ClientState {
    Begin,
    SentFirst { bare: String },
    SentFinal { server_signature: Vec<u8> },
    Complete,
    Failed,
}

impl fmt::Debug for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begin => "Begin",
            Self::SentFirst { .. } => "SentFirst",
            Self::SentFinal { .. } => "SentFinal",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
        })
    }
}

impl ScramClient {
    pub(super) fn new(hash: ScramHash, credentials: Credentials, token: bool, nonce: String) -> Self {
        Self { hash, credentials, token, nonce, state: ClientState::Begin }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, ClientState::Complete)
    }

    pub(super) fn respond(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match std::mem::replace(&mut self.state, ClientState::Failed) {
            ClientState::Begin => {
                let name = self.credentials.user.replace('=', "=3D").replace(',', "=2C");
                let token = if self.token { ",tokenauth=true" } else { "" };
                let bare = format!("n={name},r={}{token}", self.nonce);
                let message = format!("{GS2_HEADER}{bare}");
                self.state = ClientState::SentFirst { bare };
                Ok(Some(message.into_bytes()))
            }
            ClientState::SentFirst { bare } => {
                let (message, server_signature) = self.prove(&bare, challenge)?;
                self.state = ClientState::SentFinal { server_signature };
                Ok(Some(message.into_bytes()))
            }
            ClientState::SentFinal { server_signature } => {
                let message = std::str::from_utf8(challenge).unwrap_or_default();
                if let Some(error) = message.strip_prefix("e=").filter(|error| is_plain_value(error)) {
                    let words =
                        format!("Sasl authentication using {} failed with error: {error}", self.hash.java_name());
                    return Err(SaslError::Failed(words));
                }
                let fields = Fields::read(message).filter(Fields::are_extensions_from::<1>);
                let signature = fields.and_then(|fields| decode(fields.value(0, "v")?));
                let signature =
                    signature.ok_or_else(|| SaslError::failed("Invalid SCRAM server final message format"))?;
                if !equal(&signature, &server_signature) {
                    return Err(SaslError::failed("Invalid server signature in server final message"));
                }
                self.state = ClientState::Complete;
                Ok(None)
            }
            ClientState::Complete | ClientState::Failed => {
                Err(SaslError::failed("Unexpected challenge in a Sasl client that has ended"))
            }
        }
    }

    /// The final message, and the signature by which the server has to answer it.
    fn prove(&self, bare: &str, challenge: &[u8]) -> Result<(String, Vec<u8>), SaslError> {
        let invalid = |why: &str| SaslError::Failed(format!("Invalid SCRAM server first message format{why}"));
        let server_first = std::str::from_utf8(challenge).map_err(|_| invalid(""))?;
        let fields = Fields::read(server_first).ok_or_else(|| invalid(""))?.without_reserved();
        let nonce = fields.value(0, "r").filter(|nonce| is_nonce(nonce)).ok_or_else(|| invalid(""))?;
        let salt = fields.value(1, "s").and_then(decode).ok_or_else(|| invalid(""))?;
        let rounds = fields.value(2, "i").filter(|rounds| rounds.bytes().all(|byte| byte.is_ascii_digit()));
        let rounds = rounds.filter(|_| fields.are_extensions_from::<3>()).ok_or_else(|| invalid(""))?;
        let iterations: u32 = rounds.parse().map_err(|_| invalid(": invalid iterations"))?;
        let iterations = NonZeroU32::new(iterations).ok_or_else(|| invalid(": invalid iterations 0"))?;
        if !nonce.starts_with(&self.nonce) {
            return Err(SaslError::failed("Invalid server nonce: does not start with client nonce"));
        }
        if iterations.get() < MIN_ITERATIONS {
            return Err(SaslError::Failed(format!(
                "Requested iterations {iterations} is less than the minimum {MIN_ITERATIONS} for {}",
                self.hash.java_name()
            )));
        }
        if iterations.get() > MAX_CLIENT_ITERATIONS {
            return Err(SaslError::Failed(format!(
                "Requested iterations {iterations} is more than the {MAX_CLIENT_ITERATIONS} that this client is ready for"
            )));
        }
        let hash = self.hash;
        let salted = hash.salted_password(self.credentials.password.reveal(), &salt, iterations);
        let client_key = hash.sign(&salted, b"Client Key");
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER));
        let auth_message = format!("{bare},{server_first},{without_proof}");
        let signature = hash.sign(&hash.hash(&client_key), auth_message.as_bytes());
        let message = format!("{without_proof},p={}", BASE64.encode(xor(&client_key, &signature)));
        let server_signature = hash.sign(&hash.sign(&salted, b"Server Key"), auth_message.as_bytes());
        Ok((message, server_signature))
    }
}

/// The server's side.
#[derive(Debug)]
pub struct ScramServer {
    hash: ScramHash,
    nonce: String,
    state: ServerState,
}

#[derive(Debug)]
enum ServerState {
    Begin,
    SentFirst { user: String, bare: String, server_first: String, nonce: String, credential: ScramCredential },
    Complete { user: String },
    Failed,
}

impl ScramServer {
    /// `nonce` is new for every exchange.
    pub fn new(hash: ScramHash, nonce: String) -> Self {
        Self { hash, nonce, state: ServerState::Begin }
    }

    /// Who it is, once that is proven.
    pub fn user(&self) -> Option<&str> {
        match &self.state {
            ServerState::Complete { user } => Some(user),
            _ => None,
        }
    }

    /// Takes the client's message, gives the answer.
    ///
    /// # Errors
    /// If the client does not prove what it says.
    pub fn evaluate(
        &mut self,
        message: &[u8],
        find: impl FnOnce(&str) -> Option<ScramCredential>,
    ) -> Result<Vec<u8>, SaslError> {
        match std::mem::replace(&mut self.state, ServerState::Failed) {
            ServerState::Begin => self.begin(message, find),
            ServerState::SentFirst { user, bare, server_first, nonce, credential } => {
                let auth = |without_proof: &str| format!("{bare},{server_first},{without_proof}");
                let answer = self.verify(message, &nonce, &credential, auth)?;
                self.state = ServerState::Complete { user };
                Ok(answer)
            }
            ServerState::Complete { .. } | ServerState::Failed => {
                Err(SaslError::failed("Unexpected challenge in a Sasl server that has ended"))
            }
        }
    }

    fn begin(
        &mut self,
        message: &[u8],
        find: impl FnOnce(&str) -> Option<ScramCredential>,
    ) -> Result<Vec<u8>, SaslError> {
        let invalid = || SaslError::failed("Invalid SCRAM client first message format");
        let message = std::str::from_utf8(message).map_err(|_| invalid())?;
        let rest = message.strip_prefix("n,").ok_or_else(invalid)?;
        let (authorization, bare) = rest.split_once(',').ok_or_else(invalid)?;
        let authorization = match authorization.strip_prefix("a=") {
            Some(name) => Some(unescape(name).ok_or_else(invalid)?),
            None if authorization.is_empty() => None,
            None => return Err(invalid()),
        };
        let fields = Fields::read(bare).ok_or_else(invalid)?.without_reserved();
        let user = fields.value(0, "n").and_then(unescape).ok_or_else(invalid)?;
        let nonce = fields.value(1, "r").filter(|nonce| is_nonce(nonce)).ok_or_else(invalid)?;
        if !fields.are_extensions_from::<2>() {
            return Err(invalid());
        }
        if fields.0.iter().skip(2).any(|(key, value)| *key == "tokenauth" && value.eq_ignore_ascii_case("true")) {
            return Err(SaslError::Failed(
                "Token Authentication failed: this server has no delegation tokens".to_owned(),
            ));
        }
        let credential =
            find(&user).ok_or_else(|| SaslError::failed("Authentication failed: Invalid user credentials"))?;
        if authorization.is_some_and(|authorization| authorization != user) {
            return Err(SaslError::denied(
                "Authentication failed: Client requested an authorization id that is different from username",
            ));
        }
        let nonce = format!("{nonce}{}", self.nonce);
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&credential.salt), credential.iterations);
        let answer = server_first.clone().into_bytes();
        self.state = ServerState::SentFirst { user, bare: bare.to_owned(), server_first, nonce, credential };
        Ok(answer)
    }

    fn verify(
        &self,
        message: &[u8],
        nonce: &str,
        credential: &ScramCredential,
        auth_message: impl FnOnce(&str) -> String,
    ) -> Result<Vec<u8>, SaslError> {
        let invalid = || SaslError::failed("Invalid SCRAM client final message format");
        let message = std::str::from_utf8(message).map_err(|_| invalid())?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or_else(invalid)?;
        let proof = decode(proof).ok_or_else(invalid)?;
        let fields = Fields::read(without_proof).filter(Fields::are_extensions_from::<2>).ok_or_else(invalid)?;
        // What the binding says is not looked at, as in Java; it is part of what is signed.
        fields.value(0, "c").and_then(decode).ok_or_else(invalid)?;
        if fields.value(1, "r") != Some(nonce) {
            return Err(SaslError::failed("Invalid client nonce in the final client message."));
        }
        let auth_message = auth_message(without_proof);
        let signature = self.hash.sign(&credential.stored_key, auth_message.as_bytes());
        if proof.len() != signature.len() || !equal(&self.hash.hash(&xor(&signature, &proof)), &credential.stored_key) {
            return Err(SaslError::failed("Invalid client credentials"));
        }
        let signature = self.hash.sign(&credential.server_key, auth_message.as_bytes());
        Ok(format!("v={}", BASE64.encode(signature)).into_bytes())
    }
}

/// `name=value` in commas: the form of every message.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn read(message: &'a str) -> Option<Self> {
        let fields = message.split(',').map(|field| field.split_once('=').filter(|(_, value)| is_value(value)));
        Some(Self(fields.collect::<Option<Vec<_>>>()?))
    }

    /// A first field `m` is reserved for what may come; whoever does not know it goes on, in Java.
    fn without_reserved(mut self) -> Self {
        if self.0.first().is_some_and(|(key, _)| *key == "m") {
            self.0.remove(0);
        }
        self
    }

    fn value(&self, index: usize, key: &str) -> Option<&'a str> {
        self.0.get(index).filter(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    /// Whether what follows the first `N` fields may stand there.
    fn are_extensions_from<const N: usize>(&self) -> bool {
        let rest = self.0.iter().skip(N);
        rest.into_iter().all(|(key, _)| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic()))
    }
}

/// Java's `VALUE` is ASCII but names may go beyond it on the way out, so this is asked of what comes in only.
fn is_value(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (1..=0x7f).contains(&byte) && byte != b',')
}

fn is_plain_value(text: &str) -> bool {
    is_value(text) && !text.contains('=')
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b',')
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// A name of a message: `=2C` for a comma, `=3D` for an equals sign, and no other equals sign.
fn unescape(name: &str) -> Option<String> {
    let mut plain = String::new();
    let mut parts = name.split('=');
    plain.push_str(parts.next()?);
    for part in parts {
        let (sign, rest) = part.split_at_checked(2)?;
        plain.push(match sign {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        plain.push_str(rest);
    }
    (!plain.is_empty()).then_some(plain)
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

/// Takes the same time wherever they differ.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}
