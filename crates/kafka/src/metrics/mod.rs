//! What clients count, under the names, groups, tags and units of Java's clients, on which dashboards rest.
//!
//! Every client has its figures in plain structs beside its state and records once a request or a batch, never once a record; nothing is formatted
//! before somebody asks. Windows are those of Java: `metrics.num.samples` of `metrics.sample.window.ms` ([`Stat`]). Figures of Java's selector threads
//! (`io-*`, `select-*`) have no counterpart. Pure but for [`Elapsed`]; time is passed in.

mod elapsed;
mod stat;

use std::time::Duration;

pub(crate) use elapsed::Elapsed;
pub(crate) use stat::Stat;

/// A figure of a client: what Java calls an MBean's attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Java's name, as `records-lag-max`.
    pub name: &'static str,
    /// Java's group, the `type` of the MBean, as `consumer-fetch-manager-metrics`.
    pub group: &'static str,
    /// What it is about, in Java's order: `client-id`, then `node-id`, or `topic` and `partition`.
    pub tags: Vec<(&'static str, String)>,
    /// The figure; not a number where nothing was measured.
    pub value: f64,
}

/// How figures are windowed: `metrics.num.samples` and `metrics.sample.window.ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `metrics.num.samples`.
    pub samples: u32,
    /// `metrics.sample.window.ms`.
    pub window: Duration,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { samples: 2, window: Duration::from_secs(30) }
    }
}

/// Gathers figures of one group and one set of tags.
pub(crate) struct Gather<'a> {
    pub(crate) out: &'a mut Vec<Metric>,
    pub(crate) now: Duration,
    pub(crate) group: &'static str,
    pub(crate) tags: Vec<(&'static str, String)>,
}

impl Gather<'_> {
    pub(crate) fn value(&mut self, name: &'static str, value: f64) {
        self.out.push(Metric { name, group: self.group, tags: self.tags.clone(), value });
    }

    /// How often, and how often in all.
    pub(crate) fn count(&mut self, [rate, total]: [&'static str; 2], stat: &Stat) {
        self.value(rate, stat.count_rate(self.now));
        self.value(total, stat.count());
    }

    /// How much, and how much in all.
    pub(crate) fn sum(&mut self, [rate, total]: [&'static str; 2], stat: &Stat) {
        self.value(rate, stat.sum_rate(self.now));
        self.value(total, stat.sum());
    }

    pub(crate) fn mean(&mut self, [average, most]: [&'static str; 2], stat: &Stat) {
        self.value(average, stat.average(self.now));
        self.value(most, stat.most(self.now));
    }
}

/// Milliseconds, as most figures of time are.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
