//! Makes the recorded calls of config providers and references to them.

use crate::Answer;
use crate::case::{Case, Suite};
use anyhow::Result;

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, _case: &Case) -> Result<Answer> {
    Ok(Answer::NotThere)
}
