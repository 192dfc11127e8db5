//! How the worker tells one life of a task what to do, and how an abandoned life is kept from doing harm.
//!
//! The worker holds [`Orders`], the pipeline [`Control`]. An order replaces the one before; [`Order::Stop`] is final. A life that does not end in time
//! is *abandoned*: from then on [`Control::permit`] gives nothing, and without a permit nothing is committed.
#![expect(clippy::disallowed_methods, reason = "driver: waits for retries and deadlines by the clock")]

use futures::future::{BoxFuture, join_all};
use kurier_api::ConnectError;
use parking_lot::Mutex;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{RwLock, RwLockReadGuard, watch};

/// How long abandoning a life waits for a commit under way.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);

/// What a task shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Move records.
    Run,
    /// Stay in place and move none.
    Pause,
    /// End in good order.
    Stop,
}

/// What a connector or task is doing, for the watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Activity {
    Starting,
    Configuring,
    Waiting,
    Polling,
    Transforming,
    Converting,
    Producing,
    Putting,
    Committing,
    Rebalancing,
    Stopping,
}

impl Activity {
    const ALL: [Self; 11] = [
        Self::Starting,
        Self::Configuring,
        Self::Waiting,
        Self::Polling,
        Self::Transforming,
        Self::Converting,
        Self::Producing,
        Self::Putting,
        Self::Committing,
        Self::Rebalancing,
        Self::Stopping,
    ];

    fn of(shared: &Shared) -> Self {
        Self::ALL[usize::from(shared.activity.load(Ordering::Relaxed)) % Self::ALL.len()]
    }

    /// In words for the log: `in SourceTask.poll`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Configuring => "making task configs",
            Self::Waiting => "waiting",
            Self::Polling => "in poll",
            Self::Transforming => "in a transform or predicate",
            Self::Converting => "in a converter",
            Self::Producing => "sending to Kafka",
            Self::Putting => "in put",
            Self::Committing => "committing",
            Self::Rebalancing => "opening or closing partitions",
            Self::Stopping => "stopping",
        }
    }
}

/// The worker's end.
#[derive(Clone)]
pub struct Orders {
    order: Arc<watch::Sender<Order>>,
    shared: Arc<Shared>,
}

/// The pipeline's end.
#[derive(Clone)]
pub struct Control {
    order: watch::Receiver<Order>,
    shared: Arc<Shared>,
}

type Closer = BoxFuture<'static, ()>;

struct Shared {
    /// Whether the life counts; held while something is committed, so that abandoning waits for a commit under way.
    alive: RwLock<bool>,
    activity: AtomicU8,
    /// What to do when the life is abandoned; none once it is.
    closers: Mutex<Option<Vec<Closer>>>,
    /// Where timers run, since plugins wait on threads of their own.
    timers: Handle,
}

/// Both ends for one life of a task.
pub fn orders(first: Order, timers: Handle) -> (Orders, Control) {
    let (sender, receiver) = watch::channel(first);
    let activity = AtomicU8::new(Activity::Starting as u8);
    let closers = Mutex::new(Some(Vec::new()));
    let shared = Arc::new(Shared { alive: RwLock::new(true), activity, closers, timers });
    (Orders { order: Arc::new(sender), shared: shared.clone() }, Control { order: receiver, shared })
}

impl Orders {
    /// Gives an order. Nothing follows [`Order::Stop`].
    pub fn give(&self, order: Order) {
        self.order.send_if_modified(|current| {
            let changes = *current != Order::Stop && *current != order;
            if changes {
                *current = order;
            }
            changes
        });
    }

    /// Declares the life void. Returns once nothing of it is being committed, nothing will be afterwards, and it has been closed.
    ///
    /// A commit that does not end either is waited for no longer than `COMMIT_PATIENCE`: it may then still arrive, late but true.
    pub async fn abandon(&self) {
        self.give(Order::Stop);
        match tokio::time::timeout(COMMIT_PATIENCE, self.shared.alive.write()).await {
            Ok(mut alive) => *alive = false,
            Err(_) => tracing::warn!("a commit of an abandoned task does not end"),
        }
        let closers = self.shared.closers.lock().take();
        join_all(closers.into_iter().flatten()).await;
    }

    /// What the task was doing when it last said so.
    pub fn activity(&self) -> Activity {
        Activity::of(&self.shared)
    }
}

impl Control {
    /// The order that holds.
    pub fn order(&self) -> Order {
        *self.order.borrow()
    }

    /// Whether the task shall end.
    pub fn is_stopping(&self) -> bool {
        self.order() == Order::Stop
    }

    /// Waits until another order holds than `known`.
    pub async fn changed_from(&self, known: Order) -> Order {
        let mut order = self.order.clone();
        match order.wait_for(|order| *order != known).await {
            Ok(order) => *order,
            Err(_) => Order::Stop, // Nobody is left to give orders.
        }
    }

    /// Waits until the task shall end.
    pub async fn stopping(&self) {
        let mut order = self.order.clone();
        let _ = order.wait_for(|order| *order == Order::Stop).await; // An error means that nobody is left to give orders.
    }

    /// Waits for a while; false, and at once, if the task shall end.
    pub async fn wait(&self, duration: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stopping() => false,
            () = self.timer(duration) => true,
        }
    }

    /// Waits until a time, or until the task shall do something else, which it then does at once.
    pub async fn wait_until(&self, deadline: Instant) {
        let known = self.order();
        if known == Order::Stop {
            return;
        }
        tokio::select! {
            biased;
            _ = self.changed_from(known) => {}
            () = self.timer(deadline.saturating_duration_since(Instant::now())) => {}
        }
    }

    fn timer(&self, duration: Duration) -> tokio::time::Sleep {
        let _entered = self.shared.timers.enter();
        tokio::time::sleep(duration)
    }

    /// The right to commit, for as long as it is held; none if this life was abandoned.
    ///
    /// # Errors
    /// What an abandoned task ends with; nobody reads it.
    pub async fn permit(&self) -> Result<RwLockReadGuard<'_, bool>, ConnectError> {
        let alive = self.shared.alive.read().await;
        if *alive {
            Ok(alive)
        } else {
            Err(ConnectError::connect("The task was abandoned because it did not stop in time"))
        }
    }

    /// Has something done when this life is abandoned; at once if it is. Whoever abandons waits for it, so it needs a bound of its own.
    pub async fn on_abandoned(&self, close: impl Future<Output = ()> + Send + 'static) {
        let close = match &mut *self.shared.closers.lock() {
            Some(closers) => return closers.push(Box::pin(close)),
            None => close,
        };
        close.await;
    }

    /// What the task was doing when it last said so.
    pub fn activity(&self) -> Activity {
        Activity::of(&self.shared)
    }

    /// Says what the task is about to do.
    pub fn enter(&self, activity: Activity) {
        self.shared.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// A duration below `bound`, by chance.
    pub fn random(&self, bound: Duration) -> Duration {
        // The seed of a hasher is random per call of `new`; it spreads retries, nothing depends on its quality.
        let dice = RandomState::new().hash_one(0u8);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(dice.checked_rem(nanos).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stop_is_final_and_ends_every_wait() {
        let (orders, control) = orders(Order::Run, Handle::current());
        assert_eq!(control.order(), Order::Run);
        orders.give(Order::Pause);
        assert_eq!(control.changed_from(Order::Run).await, Order::Pause);
        let waiting = tokio::spawn({
            let control = control.clone();
            async move { control.wait(Duration::from_secs(3_600)).await }
        });
        orders.give(Order::Stop);
        orders.give(Order::Run);
        assert!(!waiting.await.unwrap());
        assert!(control.is_stopping());
    }

    #[tokio::test]
    async fn a_task_that_sleeps_hears_every_new_order() {
        let (orders, control) = orders(Order::Run, Handle::current());
        let far = Instant::now() + Duration::from_secs(3_600);
        for order in [Order::Pause, Order::Run, Order::Stop] {
            let (sleeping, giving) = (control.wait_until(far), async { orders.give(order) });
            tokio::join!(sleeping, giving);
            assert_eq!(control.order(), order);
        }
        control.wait_until(far).await;
    }

    #[tokio::test]
    async fn an_abandoned_life_gets_no_permit_and_is_waited_for_while_it_holds_one() {
        let (orders, control) = orders(Order::Run, Handle::current());
        let permit = control.permit().await.unwrap();
        let abandoning = tokio::spawn({
            let orders = orders.clone();
            async move { orders.abandon().await }
        });
        control.stopping().await;
        tokio::task::yield_now().await;
        assert!(!abandoning.is_finished());
        drop(permit);
        abandoning.await.unwrap();
        assert!(control.permit().await.is_err());
    }

    #[tokio::test]
    async fn what_an_abandoned_life_holds_is_given_back_before_its_successor_begins() {
        let (orders, control) = orders(Order::Run, Handle::current());
        let given_back = Arc::new(AtomicU8::new(0));
        let close = || {
            let given_back = given_back.clone();
            async move {
                tokio::task::yield_now().await;
                given_back.fetch_add(1, Ordering::Relaxed);
            }
        };
        control.on_abandoned(close()).await;
        assert_eq!(given_back.load(Ordering::Relaxed), 0);
        orders.abandon().await;
        assert_eq!(given_back.load(Ordering::Relaxed), 1);
        control.on_abandoned(close()).await;
        assert_eq!(given_back.load(Ordering::Relaxed), 2, "it was abandoned already");
    }

    #[tokio::test]
    async fn the_watchdog_sees_what_was_entered_last() {
        let (orders, control) = orders(Order::Run, Handle::current());
        assert_eq!(orders.activity(), Activity::Starting);
        for activity in Activity::ALL {
            control.enter(activity);
            assert_eq!(orders.activity(), activity);
        }
    }
}
