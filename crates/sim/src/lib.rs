//! Producer, broker and consumer in one thread, under a virtual clock and a network that fails as a seed says.
//!
//! What is run are the decisions that real processes run, without their rims: [`ProducerCore`](kurier_kafka::producer::core::ProducerCore),
//! [`ConsumerCore`](kurier_kafka::consumer::core::ConsumerCore) and [`Broker`](kurier_broker::Broker) over a store in memory. Sockets, the wire
//! format and disks are not in it. The same seed is the same run:
//!
//! ```text
//! cargo run -p kurier-sim -- --seeds 1000
//! cargo run -p kurier-sim -- --seed 17
//! ```
//!
//! One scenario so far, [`produce`]: an idempotent produce over broker crashes. Groups, transactions and the runtime are not simulated.

pub mod produce;
mod rng;
