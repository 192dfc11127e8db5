//! Users of SCRAM: `DescribeUserScramCredentials` and `AlterUserScramCredentials`, kept in the journal.
//!
//! Counterpart of Java's `ScramControlManager` and `ScramImage`. What is kept of a user is not enough to log in with.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
use kafka_protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResult,
};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
};
use kafka_protocol::protocol::StrBytes;
use kurier_kafka::security::sasl::scram::{MAX_ITERATIONS, MIN_ITERATIONS, ScramCredential, ScramHash};

use super::{Broker, code};
use crate::journal::Entry;

/// Most credentials that are kept.
const MAX_CREDENTIALS: usize = 100_000;
/// Longest name of a user.
const MAX_NAME: usize = 1_024;
/// Longest salt and salted password.
const MAX_BYTES: usize = 1_024;

/// By name and mechanism.
pub(crate) type ScramUsers = BTreeMap<(String, ScramHash), ScramCredential>;

/// The number of a mechanism in requests and in the journal.
fn hash_of(mechanism: i8) -> Option<ScramHash> {
    match mechanism {
        1 => Some(ScramHash::Sha256),
        2 => Some(ScramHash::Sha512),
        _ => None,
    }
}

fn number_of(hash: ScramHash) -> i8 {
    match hash {
        ScramHash::Sha256 => 1,
        ScramHash::Sha512 => 2,
    }
}

/// Takes note of an entry of the journal.
pub(super) fn play(users: &mut ScramUsers, entry: Entry) {
    let Entry::ScramUser { name, mechanism, credential } = entry else { return };
    // A mechanism that a later version wrote is not one that this one could check.
    let Some(hash) = hash_of(mechanism) else { return };
    match credential {
        Some(credential) => users.insert((name, hash), credential),
        None => users.remove(&(name, hash)),
    };
}

/// A change, or why it is refused.
type Change = Result<Entry, (ResponseError, &'static str)>;
/// By user.
type Changes = BTreeMap<String, Change>;

/// The entries that make these users again.
pub(super) fn snapshot(users: &ScramUsers, entries: &mut Vec<Entry>) {
    entries.extend(users.iter().map(|((name, hash), credential)| Entry::ScramUser {
        name: name.clone(),
        mechanism: number_of(*hash),
        credential: Some(credential.clone()),
    }));
}

impl Broker {
    pub(super) fn describe_scram_users(
        &self,
        request: DescribeUserScramCredentialsRequest,
    ) -> DescribeUserScramCredentialsResponse {
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        for user in request.users.iter().flatten() {
            *asked.entry(user.name.to_string()).or_default() += 1;
        }
        if asked.is_empty() {
            asked.extend(self.scram_users.keys().map(|(name, _)| (name.clone(), 1)));
        }
        let results = asked.into_iter().map(|(name, times)| {
            let kept = [ScramHash::Sha256, ScramHash::Sha512].into_iter().filter_map(|hash| {
                let credential = self.scram_users.get(&(name.clone(), hash))?;
                let info = CredentialInfo::default().with_mechanism(number_of(hash));
                Some(info.with_iterations(i32::try_from(credential.iterations).unwrap_or(i32::MAX)))
            });
            let kept: Vec<_> = kept.collect();
            let result = DescribeUserScramCredentialsResult::default().with_user(StrBytes::from_string(name.clone()));
            let (error, words) = if times > 1 {
                let words = "Cannot describe SCRAM credentials for the same user twice in a single request: ";
                (ResponseError::DuplicateResource, words)
            } else if kept.is_empty() {
                let words = "Attempt to describe a user credential that does not exist: ";
                (ResponseError::ResourceNotFound, words)
            } else {
                return result.with_credential_infos(kept);
            };
            let words = StrBytes::from_string(format!("{words}{name}"));
            result.with_error_code(code(error)).with_error_message(Some(words))
        });
        DescribeUserScramCredentialsResponse::default().with_results(results.collect())
    }

    pub(super) fn alter_scram_users(
        &mut self,
        request: AlterUserScramCredentialsRequest,
    ) -> AlterUserScramCredentialsResponse {
        let mut changes = Changes::new();
        for deletion in request.deletions {
            let name = deletion.name.to_string();
            let change = match check(&name, deletion.mechanism) {
                Ok(hash) if self.scram_users.contains_key(&(name.clone(), hash)) => {
                    Ok(Entry::ScramUser { name, mechanism: deletion.mechanism, credential: None })
                }
                Ok(_) => {
                    let words = "Attempt to delete a user credential that does not exist";
                    Err((ResponseError::ResourceNotFound, words))
                }
                Err(error) => Err(error),
            };
            note(&mut changes, deletion.name.to_string(), change);
        }
        for upsertion in request.upsertions {
            let name = upsertion.name.to_string();
            let iterations = u32::try_from(upsertion.iterations).unwrap_or(0);
            let is_long = upsertion.salt.len() > MAX_BYTES || upsertion.salted_password.len() > MAX_BYTES;
            let change = check(&name, upsertion.mechanism).and_then(|hash| {
                let unacceptable = |words| Err((ResponseError::UnacceptableCredential, words));
                match iterations {
                    ..MIN_ITERATIONS => unacceptable("Too few iterations"),
                    _ if iterations > MAX_ITERATIONS => unacceptable("Too many iterations"),
                    _ if is_long => unacceptable("Too long a credential"),
                    _ if self.scram_users.len() >= MAX_CREDENTIALS => unacceptable("Too many credentials"),
                    _ => {
                        let salt = upsertion.salt.to_vec();
                        let kept = ScramCredential::from_salted(hash, &upsertion.salted_password, salt, iterations);
                        Ok(Entry::ScramUser { name, mechanism: upsertion.mechanism, credential: Some(kept) })
                    }
                }
            });
            note(&mut changes, upsertion.name.to_string(), change);
        }
        let entries: Vec<Entry> = changes.values().filter_map(|change| change.as_ref().ok().cloned()).collect();
        let kept = if entries.is_empty() { Ok(()) } else { self.record(&entries).and_then(|()| self.sync_journal()) };
        if kept.is_ok() {
            entries.into_iter().for_each(|entry| play(&mut self.scram_users, entry));
        }
        let results = changes.into_iter().map(|(user, change)| {
            let result = AlterUserScramCredentialsResult::default().with_user(StrBytes::from_string(user));
            let change = change.and_then(|_| kept.map_err(|error| (error, "the change could not be kept")));
            match change {
                Ok(()) => result.with_error_message(None),
                Err((error, words)) => {
                    result.with_error_code(code(error)).with_error_message(Some(StrBytes::from_static_str(words)))
                }
            }
        });
        AlterUserScramCredentialsResponse::default().with_results(results.collect())
    }
}

fn check(name: &str, mechanism: i8) -> Result<ScramHash, (ResponseError, &'static str)> {
    match hash_of(mechanism) {
        _ if name.is_empty() => Err((ResponseError::UnacceptableCredential, "Username must not be empty")),
        _ if name.len() > MAX_NAME => Err((ResponseError::UnacceptableCredential, "Username is too long")),
        None => Err((ResponseError::UnsupportedSaslMechanism, "Unknown SCRAM mechanism")),
        Some(hash) => Ok(hash),
    }
}

/// One change a user; a second one undoes the first, as in Java.
fn note(changes: &mut Changes, user: String, change: Change) {
    match changes.entry(user) {
        Vacant(place) => {
            place.insert(change);
        }
        Occupied(mut first) if first.get().is_ok() => {
            let words = "A user credential cannot be altered twice in the same request";
            *first.get_mut() = Err((ResponseError::DuplicateResource, words));
        }
        Occupied(_) => {}
    }
}
