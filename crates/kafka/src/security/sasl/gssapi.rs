//! GSSAPI, RFC 4752: a Kerberos context first, then a word on what protects the rest of the connection, which for Kafka is nothing.
//!
//! The context belongs to the system's Kerberos library; the first token, for which a KDC is asked, is made before the exchange begins, by
//! [`crate::security::login`]. What is left is quick. Counterpart of the JDK's `GssKrb5Client`.

use std::fmt;

use libgssapi::context::{ClientCtx, SecurityContext as _};

use super::SaslError;

/// The bit of "no layer" among those that a server offers.
const NO_LAYER: u8 = 1;

/// The client's side.
pub struct GssapiClient {
    context: ClientCtx,
    state: State,
}

enum State {
    /// The first token waits to be sent.
    First(Vec<u8>),
    /// The server proves who it is.
    Context,
    /// The server is to offer layers.
    Layer,
    Done,
    Failed,
}

/// The library would print the names of both sides; they are in the log where they matter.
impl fmt::Debug for GssapiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GssapiClient").finish_non_exhaustive()
    }
}

impl GssapiClient {
    /// A context whose first token is this one.
    pub(crate) fn new(context: ClientCtx, first: Vec<u8>) -> Self {
        Self { context, state: State::First(first) }
    }

    pub(super) fn respond(&mut self, challenge: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        let failed = |error| SaslError::Failed(format!("GSS initiate failed [Caused by GSSException: {error}]"));
        let answer = match std::mem::replace(&mut self.state, State::Failed) {
            State::First(token) => token,
            // With nothing more to say, an empty message asks for the layers.
            State::Context => {
                self.context.step(Some(challenge), None).map_err(failed)?.map_or_else(Vec::new, |token| token.to_vec())
            }
            State::Layer => {
                let unwrap_failed =
                    |error| SaslError::Failed(format!("Final handshake failed [Caused by GSSException: {error}]"));
                let offer = self.context.unwrap(challenge).map_err(unwrap_failed)?;
                let choice = self.context.wrap(false, &no_layer(&offer)?).map_err(unwrap_failed)?;
                self.state = State::Done;
                return Ok(Some(choice.to_vec()));
            }
            State::Done => {
                self.state = State::Done;
                return Ok(None);
            }
            State::Failed => return Err(SaslError::failed("the exchange has failed")),
        };
        self.state = if self.context.is_complete() { State::Layer } else { State::Context };
        Ok(Some(answer))
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

/// Chooses no layer among those offered: one octet of bits, then how much the server takes at once. The name to act for is left out, so it is the proven one.
fn no_layer(offer: &[u8]) -> Result<[u8; 4], SaslError> {
    match offer {
        [layers, _, _, _] if layers & NO_LAYER != 0 => Ok([NO_LAYER, 0, 0, 0]),
        [_, _, _, _] => Err(SaslError::failed("No common protection layer between client and server")),
        _ => Err(SaslError::failed(format!("the server offers layers in {} bytes, not in 4", offer.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_layer_is_chosen_where_it_is_offered() {
        let cases: [(&[u8], Result<[u8; 4], &str>); 6] = [
            (&[1, 0, 0, 0], Ok([1, 0, 0, 0])),
            (&[7, 0, 255, 255], Ok([1, 0, 0, 0])),
            (&[6, 0, 255, 255], Err("No common protection layer")),
            (&[0, 0, 0, 0], Err("No common protection layer")),
            (&[], Err("in 0 bytes")),
            (&[1, 0, 0, 0, 0], Err("in 5 bytes")),
        ];
        for (offer, expected) in cases {
            match (no_layer(offer), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.to_string().contains(expected), "{found}"),
                (found, expected) => panic!("{found:?}, not {expected:?}"),
            }
        }
    }
}
