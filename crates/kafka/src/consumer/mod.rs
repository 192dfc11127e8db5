//! The consumer: assigned partitions or a group's share, handed over as whole batches.
//!
//! [`Consumer`] is what an application has. It polls; what comes are batches that share the fetched buffer ([`FetchedBatch`]), or rebalances as
//! values ([`RebalanceEvent`]). Of these only `Revoked` wants an answer, and the group waits for it:
//!
//! ```no_run
//! # use std::time::{Duration, Instant};
//! # use kurier_kafka::{batch::Scratch, consumer::*};
//! # async fn run(config: ConsumerConfig) -> Result<(), ConsumerError> {
//! let consumer = Consumer::new(config);
//! consumer.subscribe(Subscription::Topics(vec!["orders".into()]))?;
//! let mut scratch = Scratch::default();
//! loop {
//!     let polled = consumer.poll(Instant::now() + Duration::from_secs(1)).await?;
//!     for batch in &polled.batches {
//!         for record in &batch.open(&mut scratch)? {
//!             println!("{:?}", record?.value);
//!         }
//!     }
//!     for event in polled.events {
//!         if let RebalanceEvent::Revoked(_) = event {
//!             consumer.commit_positions().await?;
//!             consumer.ack_revoked();
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! What is fetched, committed and owned is decided in [`core`], without IO; `driver` gives it a clock and a [`Transport`]. Nothing is committed by
//! itself, and what keys and values mean is the caller's matter.

mod assignor;
mod client;
pub mod core;
mod driver;
mod fetched;
mod figures;
mod properties;
mod reset;
mod settings;
mod types;

pub use crate::net::{NetSettings, TcpTransport, Transport, TransportError};
pub use assignor::{Assignor, Subscriber, TopicLayout};
pub use client::Consumer;
pub use fetched::{FetchedBatch, OpenBatch, OpenIter, Polled};
pub use properties::ConsumerConfig;
pub use reset::OffsetReset;
pub use settings::Settings;
pub use types::{
    ConsumerError, Isolation, OffsetAndMetadata, OffsetAndTimestamp, OffsetSpec, Offsets, RebalanceEvent, Subscription,
    TopicFilter, TopicPartition,
};
