//! Membership in a classic consumer group of any protocol type, as a pure state machine.
