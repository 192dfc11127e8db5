//! Users' SCRAM credentials, which brokers keep in the cluster's metadata (KIP-554).

use std::num::NonZeroU32;

use bytes::Bytes;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::{AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Admin, AdminError, Failure, Open, Outcomes, Patience, ask, text, until_done};
use crate::error::{KafkaError, code};
use crate::net::Target;
use crate::security::sasl::scram::{MAX_ITERATIONS, MIN_ITERATIONS, ScramHash};
use crate::security::secret::Secret;

/// Bytes of a salt that is made here.
const SALT_BYTES: usize = 32;

/// A credential of a user, as far as a broker tells: never what it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScramCredentialInfo {
    /// The mechanism.
    pub hash: ScramHash,
    /// How many rounds.
    pub iterations: i32,
}

/// A change of a user's credential: Java's `UserScramCredentialAlteration`.
#[derive(Clone, Debug)]
pub enum ScramChange {
    /// Takes it away.
    Delete {
        /// Whose.
        user: String,
        /// Which.
        hash: ScramHash,
    },
    /// Makes it, or another instead of it. The password does not leave this process, only what a server needs to check it.
    Set {
        /// Whose.
        user: String,
        /// Which.
        hash: ScramHash,
        /// How many rounds: 4096 to 16384.
        iterations: u32,
        /// The password.
        password: Secret,
    },
}

impl ScramChange {
    fn user(&self) -> &str {
        match self {
            Self::Delete { user, .. } | Self::Set { user, .. } => user,
        }
    }

    /// What a broker would say of it too, said before the work is done.
    fn refusal(&self) -> Option<KafkaError> {
        let why = match self {
            change if change.user().is_empty() => "Username must not be empty",
            Self::Set { password, .. } if password.reveal().is_empty() => "Password must not be empty",
            Self::Set { iterations, .. } if *iterations < MIN_ITERATIONS => "Too few iterations",
            Self::Set { iterations, .. } if *iterations > MAX_ITERATIONS => "Too many iterations",
            _ => return None,
        };
        KafkaError::from_answer(code::UNACCEPTABLE_CREDENTIAL, Some(why))
    }
}

fn mechanism(hash: ScramHash) -> i8 {
    match hash {
        ScramHash::Sha256 => 1,
        ScramHash::Sha512 => 2,
    }
}

impl Admin {
    /// The credentials of users, of all that have some where none is named. One without any is `ResourceNotFoundException`.
    pub async fn describe_scram_credentials(
        &self,
        users: &[&str],
    ) -> Result<Outcomes<String, Vec<ScramCredentialInfo>>, AdminError> {
        let mut patience = self.patience("a description of SCRAM credentials");
        until_done!(patience, patience.scram_credentials(users))
    }

    /// Changes credentials, one of each user: a second one in the same request is `DuplicateResourceException`.
    pub async fn alter_scram_credentials(&self, changes: &[ScramChange]) -> Result<Outcomes<String, ()>, AdminError> {
        let mut open = Open::new(changes.iter().map(|change| change.user().to_owned()));
        for change in changes {
            if let Some(error) = change.refusal() {
                open.settle_now(&change.user().to_owned(), Err(error));
            }
        }
        let (deletions, settings) =
            requested(changes.iter().filter(|change| open.left.iter().any(|user| user == change.user())));
        let request = AlterUserScramCredentialsRequest::default().with_deletions(deletions).with_upsertions(settings);
        if open.left.is_empty() {
            return open.close(Ok(()));
        }
        let mut patience = self.patience("a change of SCRAM credentials");
        let end = until_done!(patience, patience.alter_scram_credentials(&request, &mut open));
        open.close(end)
    }
}

/// Salts and hashes: milliseconds of work for each password.
fn requested<'a>(
    changes: impl Iterator<Item = &'a ScramChange>,
) -> (Vec<ScramCredentialDeletion>, Vec<ScramCredentialUpsertion>) {
    let random = SystemRandom::new();
    let (mut deletions, mut settings) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            ScramChange::Delete { user, hash } => deletions
                .push(ScramCredentialDeletion::default().with_name(text(user)).with_mechanism(mechanism(*hash))),
            ScramChange::Set { user, hash, iterations, password } => {
                let mut salt = vec![0; SALT_BYTES];
                random.fill(&mut salt).expect("the system has randomness");
                let rounds = NonZeroU32::new(*iterations).expect("few iterations were refused");
                let salted = hash.salted_password(password.reveal(), &salt, rounds);
                settings.push(
                    ScramCredentialUpsertion::default()
                        .with_name(text(user))
                        .with_mechanism(mechanism(*hash))
                        .with_iterations(i32::try_from(*iterations).expect("many iterations were refused"))
                        .with_salt(Bytes::from(salt))
                        .with_salted_password(Bytes::from(salted)),
                );
            }
        }
    }
    (deletions, settings)
}

impl Patience<'_> {
    async fn scram_credentials(&self, users: &[&str]) -> Result<Outcomes<String, Vec<ScramCredentialInfo>>, Failure> {
        let named = users.iter().map(|user| UserName::default().with_name(text(user))).collect::<Vec<_>>();
        let request = DescribeUserScramCredentialsRequest::default().with_users((!named.is_empty()).then_some(named));
        let response = ask!(self, Target::Any, DescribeUserScramCredentials(request));
        Failure::check(response.error_code, response.error_message.as_ref())?;
        let users = response.results.into_iter().map(|found| {
            let infos = found.credential_infos.iter().filter_map(|info| {
                let hash = match info.mechanism {
                    1 => ScramHash::Sha256,
                    2 => ScramHash::Sha512,
                    // A mechanism of a later version of Kafka.
                    _ => return None,
                };
                Some(ScramCredentialInfo { hash, iterations: info.iterations })
            });
            let error = KafkaError::from_answer(found.error_code, found.error_message.as_deref());
            let mut infos: Vec<_> = infos.collect();
            infos.sort_by_key(|info| info.hash);
            (found.user.to_string(), error.map_or(Ok(infos), Err))
        });
        Ok(users.collect())
    }

    async fn alter_scram_credentials(
        &self,
        request: &AlterUserScramCredentialsRequest,
        open: &mut Open<String, ()>,
    ) -> Result<(), Failure> {
        let response = ask!(self, self.controller().await?, AlterUserScramCredentials(request.clone()));
        for result in &response.results {
            let error = KafkaError::from_answer(result.error_code, result.error_message.as_deref());
            open.settle_now(&result.user.to_string(), error.map_or(Ok(()), Err));
        }
        open.remaining()
    }
}
