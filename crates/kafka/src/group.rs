//! Membership of a consumer or worker group.
