//! The process's limits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, as the JVM does: every connector has connections of its own. Answers the limit that holds.
pub fn raise_open_files() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum || setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        maximum
    } else {
        current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_no_more_can_be_had() {
        let limit = raise_open_files();
        assert_eq!(raise_open_files(), limit);
        assert_eq!(getrlimit(Resource::Nofile).current, limit);
    }
}
