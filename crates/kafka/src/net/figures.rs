//! What connections count: how many there are, and what goes through them, in all and by broker.
//!
//! Counterpart of Java's `SelectorMetrics`; figures of the selector's own thread (`io-*`, `select-*`) have no meaning here. Pure but for its lock, which is
//! held for one figure a request.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use parking_lot::Mutex;

use crate::metrics::{Gather, Metric, MetricsSettings, Stat, millis};

/// Brokers whose figures are kept; those beyond have none of their own.
const MAX_NODES: usize = 1_000;

/// The figures of a client's connections.
#[derive(Debug)]
pub(super) struct Figures {
    settings: MetricsSettings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    created: Stat,
    closed: Stat,
    authenticated: [Stat; 2],
    renewed: [Stat; 2],
    renewal: Stat,
    all: Traffic,
    throttled: Stat,
    nodes: BTreeMap<String, Traffic>,
}

#[derive(Clone, Debug)]
struct Traffic {
    sent: Stat,
    received: Stat,
    latency: Stat,
}

impl Traffic {
    fn new(settings: MetricsSettings) -> Self {
        let stat = Stat::new(settings);
        Self { sent: stat.clone(), received: stat.clone(), latency: stat }
    }

    fn gather(&self, to: &mut Gather<'_>) {
        to.sum(["outgoing-byte-rate", "outgoing-byte-total"], &self.sent);
        to.count(["request-rate", "request-total"], &self.sent);
        to.mean(["request-size-avg", "request-size-max"], &self.sent);
        to.sum(["incoming-byte-rate", "incoming-byte-total"], &self.received);
        to.count(["response-rate", "response-total"], &self.received);
    }
}

/// The groups of figures of one kind of client.
#[derive(Clone, Copy, Debug)]
pub struct Groups {
    /// Of the client, as `consumer-metrics`.
    pub client: &'static str,
    /// Of one broker, as `consumer-node-metrics`.
    pub node: &'static str,
}

impl Figures {
    pub(super) fn new(settings: MetricsSettings) -> Self {
        let stat = || Stat::new(settings);
        let state = State {
            created: stat(),
            closed: stat(),
            authenticated: [stat(), stat()],
            renewed: [stat(), stat()],
            renewal: stat(),
            all: Traffic::new(settings),
            throttled: stat(),
            nodes: BTreeMap::new(),
        };
        Self { settings, state: Mutex::new(state) }
    }

    pub(super) fn opened(&self, now: Duration) {
        self.state.lock().created.record(now, 1.0);
    }

    pub(super) fn closed(&self, now: Duration) {
        self.state.lock().closed.record(now, 1.0);
    }

    /// A broker knows who this is, or does not want to.
    pub(super) fn authenticated(&self, now: Duration, is_ok: bool) {
        self.state.lock().authenticated[usize::from(is_ok)].record(now, 1.0);
    }

    /// As [`Self::authenticated`], once more on a connection that is open (KIP-368).
    pub(super) fn renewed(&self, now: Duration, is_ok: bool, took: Duration) {
        let mut state = self.state.lock();
        state.renewed[usize::from(is_ok)].record(now, 1.0);
        if is_ok {
            state.renewal.record(now, millis(took));
        }
    }

    pub(super) fn sent(&self, now: Duration, node: &str, bytes: usize) {
        self.each(node, |traffic| traffic.sent.record(now, bytes as f64));
    }

    /// Of how long an answer takes Java says only for produce and fetch requests: others may wait at the broker as long as they like.
    pub(super) fn received(&self, now: Duration, node: &str, bytes: usize, api: ApiKey, took: Duration) {
        self.each(node, |traffic| {
            traffic.received.record(now, bytes as f64);
            if matches!(api, ApiKey::Produce | ApiKey::Fetch) {
                traffic.latency.record(now, millis(took));
            }
        });
    }

    /// A broker answered a produce request with this throttle time, mostly zero.
    pub(super) fn throttled(&self, now: Duration, time: Duration) {
        self.state.lock().throttled.record(now, millis(time));
    }

    fn each(&self, node: &str, act: impl Fn(&mut Traffic)) {
        let mut state = self.state.lock();
        act(&mut state.all);
        if let Some(traffic) = state.nodes.get_mut(node) {
            return act(traffic);
        }
        if state.nodes.len() < MAX_NODES {
            let mut traffic = Traffic::new(self.settings);
            act(&mut traffic);
            state.nodes.insert(node.to_owned(), traffic);
        }
    }

    pub(super) fn gather(&self, now: Duration, client_id: &str, groups: Groups, out: &mut Vec<Metric>) {
        let state = self.state.lock();
        let mut to = Gather { out, now, group: groups.client, tags: vec![("client-id", client_id.to_owned())] };
        to.value("connection-count", state.created.count() - state.closed.count());
        to.count(["connection-creation-rate", "connection-creation-total"], &state.created);
        to.count(["connection-close-rate", "connection-close-total"], &state.closed);
        let [refused, accepted] = &state.authenticated;
        to.count(["successful-authentication-rate", "successful-authentication-total"], accepted);
        to.count(["failed-authentication-rate", "failed-authentication-total"], refused);
        let [refused, accepted] = &state.renewed;
        to.count(["successful-reauthentication-rate", "successful-reauthentication-total"], accepted);
        to.count(["failed-reauthentication-rate", "failed-reauthentication-total"], refused);
        to.mean(["reauthentication-latency-avg", "reauthentication-latency-max"], &state.renewal);
        // Of servers' clients that are older than Kafka 2.2.
        to.value("successful-authentication-no-reauth-total", 0.0);
        state.all.gather(&mut to);
        to.value("network-io-rate", state.all.sent.count_rate(now) + state.all.received.count_rate(now));
        to.value("network-io-total", state.all.sent.count() + state.all.received.count());
        if groups.client == "producer-metrics" {
            to.mean(["request-latency-avg", "request-latency-max"], &state.all.latency);
            to.mean(["produce-throttle-time-avg", "produce-throttle-time-max"], &state.throttled);
            to.value("requests-in-flight", (state.all.sent.count() - state.all.received.count()).max(0.0));
        }
        for (node, traffic) in &state.nodes {
            let tags = vec![("client-id", client_id.to_owned()), ("node-id", node.clone())];
            let mut to = Gather { out: &mut *to.out, now, group: groups.node, tags };
            traffic.gather(&mut to);
            to.mean(["request-latency-avg", "request-latency-max"], &traffic.latency);
        }
    }
}
