//! Topic, configuration and group administration.
