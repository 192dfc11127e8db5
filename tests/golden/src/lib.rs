//! Runs recorded answers of Java Connect against our own classes.
