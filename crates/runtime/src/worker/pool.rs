//! The threads on which plugins run, and the watchdog that replaces those a plugin does not give back.
//!
//! A plugin may compute or block without end between two awaits, and then its thread is lost. The pool has one queue for all threads, so a lost thread
//! takes no other task with it; the watchdog names the task in the log, starts a spare thread in its place (at most [`MAX_SPARES`] at a time) and
//! lets the lost one go once it comes back. Sockets and timers live on the control runtime, which every thread here has entered, so plugins may use tokio.
//!
//! The pool schedules and nothing more: what a lost task may still do is limited by [`crate::pipeline::control`].
#![expect(clippy::disallowed_methods, reason = "driver: reads the clock to find lost threads")]

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::task::{ArcWake, waker_ref};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Context;
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A thread that has been in one step of a task for this long counts as lost.
pub const STALL: Duration = Duration::from_secs(10);
/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(500);
/// Spare threads at a time. When all are lost too, the pool waits: more threads would only be lost more.
pub const MAX_SPARES: usize = 16;

/// A handle to the threads; they end when the last handle is gone and the queue is empty.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

/// A task of the pool.
#[derive(Clone)]
pub struct Spawned(Arc<Job>);

struct Inner {
    queue: Arc<Queue>,
}

struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    stall: Duration,
    runtime: Handle,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<Job>>,
    /// What every thread is at.
    threads: Vec<Arc<Mutex<Option<Step>>>>,
    spares: usize,
    /// Spares that shall end, because as many lost threads have come back.
    surplus: usize,
    closed: bool,
}

/// One step of a task on a thread.
struct Step {
    job: Arc<Job>,
    since: Instant,
    lost: bool,
}

struct Job {
    /// For the log.
    name: Arc<str>,
    /// What it is at, in words.
    activity: Box<dyn Fn() -> &'static str + Send + Sync>,
    /// None once it has ended or was abandoned.
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    /// One of [`IDLE`], [`QUEUED`], [`RUNNING`], [`AGAIN`].
    state: AtomicU8,
    abandoned: AtomicBool,
    queue: Arc<Queue>,
}

/// Waits to be woken.
const IDLE: u8 = 0;
/// Waits in the queue for a thread; is there once.
const QUEUED: u8 = 1;
/// Is on a thread.
const RUNNING: u8 = 2;
/// Is on a thread and was woken since.
const AGAIN: u8 = 3;

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub fn start(threads: usize, runtime: Handle) -> std::io::Result<Self> {
        Self::start_with(threads, runtime, STALL, LOOK)
    }

    fn start_with(threads: usize, runtime: Handle, stall: Duration, look: Duration) -> std::io::Result<Self> {
        let queue = Arc::new(Queue { state: Mutex::new(State::default()), wake: Condvar::new(), stall, runtime });
        for n in 0..threads.max(1) {
            queue.start_thread(format!("data-{n}"))?;
        }
        let watched = Arc::downgrade(&queue);
        thread::Builder::new().name("data-watchdog".to_owned()).spawn(move || {
            let mut spares = 0u64;
            while let Some(queue) = watched.upgrade().filter(|queue| !queue.state.lock().closed) {
                queue.look(&mut spares);
                drop(queue);
                thread::sleep(look);
            }
        })?;
        Ok(Self(Arc::new(Inner { queue })))
    }

    /// Runs a future. `activity` tells in words what it is at, for the log.
    pub fn spawn(
        &self,
        name: Arc<str>,
        activity: impl Fn() -> &'static str + Send + Sync + 'static,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> Spawned {
        let job = Arc::new(Job {
            name,
            activity: Box::new(activity),
            future: Mutex::new(Some(future.boxed())),
            state: AtomicU8::new(IDLE),
            abandoned: AtomicBool::new(false),
            queue: self.0.queue.clone(),
        });
        job.schedule();
        Spawned(job)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.wake.notify_all();
    }
}

impl Spawned {
    /// Drops the future: at once on a thread of the pool if it waits, else when its present step ends.
    pub fn abandon(&self) {
        self.0.abandoned.store(true, Ordering::Release);
        self.0.schedule();
    }
}

impl Job {
    fn schedule(self: &Arc<Self>) {
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| match state {
            IDLE => Some(QUEUED),
            RUNNING => Some(AGAIN),
            _ => None,
        });
        if before == Ok(IDLE) {
            self.queue.push(self.clone());
        }
    }

    /// Called for a job just taken from the queue, so by one thread at a time.
    fn step(self: &Arc<Self>) {
        self.state.store(RUNNING, Ordering::Release);
        {
            let mut slot = self.future.lock();
            let abandoned = self.abandoned.load(Ordering::Acquire);
            if let Some(future) = slot.as_mut() {
                let step = AssertUnwindSafe(|| {
                    abandoned || future.as_mut().poll(&mut Context::from_waker(&waker_ref(self))).is_ready()
                });
                // Whoever spawned it catches panics to report them; this is for those of destructors and of futures that nobody watches.
                let over = std::panic::catch_unwind(step).unwrap_or(true);
                if over {
                    let future = slot.take();
                    if std::panic::catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
                        tracing::error!(task = %self.name, "a destructor of the task panicked");
                    }
                }
            }
        }
        if self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err() {
            self.state.store(QUEUED, Ordering::Release);
            self.queue.push(self.clone());
        }
    }
}

impl ArcWake for Job {
    fn wake_by_ref(job: &Arc<Self>) {
        job.schedule();
    }
}

impl Queue {
    fn push(&self, job: Arc<Job>) {
        self.state.lock().ready.push_back(job);
        self.wake.notify_one();
    }

    fn start_thread(self: &Arc<Self>, name: String) -> std::io::Result<()> {
        let place = Arc::new(Mutex::new(None));
        self.state.lock().threads.push(place.clone());
        let queue = self.clone();
        let at = place.clone();
        let started = thread::Builder::new().name(name).spawn(move || {
            let runtime = queue.runtime.clone();
            let _entered = runtime.enter();
            queue.work(&place);
            queue.state.lock().threads.retain(|other| !Arc::ptr_eq(other, &place));
        });
        if started.is_err() {
            self.state.lock().threads.retain(|other| !Arc::ptr_eq(other, &at));
        }
        started.map(drop)
    }

    fn work(&self, place: &Mutex<Option<Step>>) {
        loop {
            let job = {
                let mut state = self.state.lock();
                loop {
                    if state.surplus > 0 {
                        state.surplus -= 1;
                        state.spares -= 1;
                        return;
                    }
                    if let Some(job) = state.ready.pop_front() {
                        break job;
                    }
                    if state.closed {
                        return;
                    }
                    self.wake.wait(&mut state);
                }
            };
            *place.lock() = Some(Step { job: job.clone(), since: Instant::now(), lost: false });
            job.step();
            let step = place.lock().take();
            if let Some(step) = step.filter(|step| step.lost) {
                let (task, seconds) = (&step.job.name, step.since.elapsed().as_secs());
                tracing::warn!("task {task} has given its thread back after {seconds} s");
                // Any thread of the pool may end in the place of the spare.
                self.state.lock().surplus += 1;
                self.wake.notify_one();
            }
        }
    }

    /// Finds lost threads and starts spares for them.
    fn look(self: &Arc<Self>, spares: &mut u64) {
        let threads = self.state.lock().threads.clone();
        for place in threads {
            let mut place = place.lock();
            let Some(step) = place.as_mut().filter(|step| !step.lost && step.since.elapsed() >= self.stall) else {
                continue;
            };
            {
                let mut state = self.state.lock();
                if state.spares >= MAX_SPARES {
                    continue;
                }
                state.spares += 1;
            }
            step.lost = true;
            let (task, activity) = (step.job.name.clone(), (step.job.activity)());
            let seconds = step.since.elapsed().as_secs();
            drop(place);
            *spares += 1;
            match self.start_thread(format!("data-spare-{spares}")) {
                Ok(()) => tracing::error!(
                    "task {task} has held its thread for {seconds} s {activity}; a spare thread takes over the other tasks"
                ),
                Err(error) => {
                    self.state.lock().spares -= 1;
                    tracing::error!(
                        "task {task} has held its thread for {seconds} s {activity}, and the system gives no spare thread: {error}"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn pool(threads: usize, stall: Duration) -> Pool {
        Pool::start_with(threads, Handle::current(), stall, MS(5)).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn tasks_wait_on_the_control_runtime_and_go_on_here() {
        let pool = pool(2, STALL);
        let (sender, mut done) = tokio::sync::mpsc::channel(100);
        for n in 0..100u64 {
            let sender = sender.clone();
            pool.spawn("t".into(), || "", async move {
                tokio::time::sleep(MS(n % 7)).await;
                sender.send(thread::current().name().unwrap().starts_with("data-")).await.unwrap();
            });
        }
        for _ in 0..100 {
            assert_eq!(done.recv().await, Some(true));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn hung_tasks_do_not_hold_up_others() {
        let pool = pool(1, MS(20));
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let (ended, mut ends) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..2 {
            let (blocked, ended) = (blocked.clone(), ended.clone());
            pool.spawn("hung".into(), || "in a test", async move {
                let _ = blocked.lock().recv();
                ended.send("hung").unwrap();
            });
        }
        let also = ended.clone();
        pool.spawn("well".into(), || "", async move { also.send("well").unwrap() });
        assert_eq!(ends.recv().await, Some("well"), "two hung tasks on one thread");
        drop(release);
        assert_eq!((ends.recv().await, ends.recv().await), (Some("hung"), Some("hung")));
        // The lost threads came back, so as many end; the pool still works.
        let (sender, done) = tokio::sync::oneshot::channel();
        pool.spawn("well".into(), || "", async move { sender.send(()).unwrap() });
        done.await.unwrap();
        while pool.0.queue.state.lock().threads.len() > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_abandoned_task_is_dropped_and_a_panic_stays_where_it_was() {
        let pool = pool(1, STALL);
        pool.spawn("panics".into(), || "", async { panic!("expected by the test") });
        struct Told(Option<tokio::sync::oneshot::Sender<()>>);
        impl Drop for Told {
            fn drop(&mut self) {
                let _ = self.0.take().unwrap().send(());
            }
        }
        let (sender, dropped) = tokio::sync::oneshot::channel();
        let told = Told(Some(sender));
        let spawned = pool.spawn("waits".into(), || "", async move {
            let _told = told;
            std::future::pending::<()>().await;
        });
        spawned.abandon();
        dropped.await.unwrap();
    }
}
