//! Sharing work out among tasks: Java's `ConnectorUtils`.

use crate::error::ConnectError;

/// Splits elements into that many groups of neighbours, as even as can be: the first groups have one more. Groups may be empty.
///
/// # Errors
/// `IllegalArgumentException` for no groups.
pub fn group_partitions<T: Clone>(elements: &[T], groups: usize) -> Result<Vec<Vec<T>>, ConnectError> {
    if groups == 0 {
        return Err(ConnectError::illegal_argument("Number of groups must be positive."));
    }
    let (each, more) = (elements.len() / groups, elements.len() % groups);
    let mut rest = elements;
    Ok((0..groups)
        .map(|i| {
            let (group, after) = rest.split_at(each + usize::from(i < more));
            rest = after;
            group.to_vec()
        })
        .collect())
}
