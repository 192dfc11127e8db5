//! Sending records.
