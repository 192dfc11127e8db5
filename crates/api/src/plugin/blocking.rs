//! Blocking twins of the task traits: for connectors whose client blocks.
//!
//! Implement [`BlockingSourceTask`] or [`BlockingSinkTask`] and hand out [`source_task`] or [`sink_task`] from `start_task`: the task is made, called
//! and dropped on a thread of its own, so a call may take as long as it takes without holding up other tasks. What the worker's context offers as a
//! future is awaited with [`wait`]. Nothing here knows the worker's async runtime.
//!
//! A panic of the task travels to the caller as a panic. If the worker abandons a task in the middle of a call, the thread ends with that call.

use super::sink::{Offsets, SinkTask};
use super::source::{AckedRecord, SourceOffsets, SourceTask};
use crate::error::ConnectError;
use crate::record::{SinkRecord, SourceRecord, TopicPartition};
use async_trait::async_trait;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// A [`SourceTask`] whose calls block.
pub trait BlockingSourceTask: 'static {
    /// Waits for the next batch until `deadline`; an empty one means "nothing yet", never "finished".
    ///
    /// # Errors
    /// [`crate::NextStep::Retry`] counts as an empty batch; anything else fails the task.
    fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError>;

    /// See [`SourceTask::committed`].
    ///
    /// # Errors
    /// They are logged.
    fn committed(&mut self, _offsets: &SourceOffsets) -> Result<(), ConnectError> {
        Ok(())
    }

    /// See [`SourceTask::wants_acks`]; asked once, when the task starts.
    fn wants_acks(&self) -> bool {
        false
    }

    /// See [`SourceTask::acked`].
    ///
    /// # Errors
    /// They are logged.
    fn acked(&mut self, _records: &[AckedRecord]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// See [`SourceTask::is_idle`]; asked after every poll.
    fn is_idle(&self) -> Option<bool> {
        None
    }

    /// Ends the task. Nothing is called afterwards.
    ///
    /// # Errors
    /// They are logged.
    fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// A [`SinkTask`] whose calls block.
pub trait BlockingSinkTask: 'static {
    /// See [`SinkTask::open`].
    ///
    /// # Errors
    /// They fail the task.
    fn open(&mut self, _partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// See [`SinkTask::put`].
    ///
    /// # Errors
    /// [`crate::NextStep::Retry`] pauses all partitions and brings the same batch again; anything else fails the task.
    fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError>;

    /// See [`SinkTask::pre_commit`].
    ///
    /// # Errors
    /// Reading goes back to the last committed offsets.
    fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        Ok(offsets.clone())
    }

    /// See [`SinkTask::close`].
    ///
    /// # Errors
    /// They fail the task.
    fn close(&mut self, _partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        Ok(())
    }

    /// Ends the task. Nothing is called afterwards.
    ///
    /// # Errors
    /// They are logged.
    fn stop(&mut self) -> Result<(), ConnectError> {
        Ok(())
    }
}

/// Starts a blocking source task: `start` runs on the task's thread, named `thread`.
///
/// # Errors
/// Those of `start`, and of a system that gives no thread.
pub async fn source_task<T, F>(thread: &str, start: F) -> Result<Box<dyn SourceTask>, ConnectError>
where
    T: BlockingSourceTask,
    F: FnOnce() -> Result<T, ConnectError> + Send + 'static,
{
    let worker = Worker::start(thread, start).await?;
    let wants_acks = worker.call(|task| task.wants_acks()).await;
    Ok(Box::new(OnThread { worker, wants_acks, is_idle: None }))
}

/// Starts a blocking sink task: `start` runs on the task's thread, named `thread`.
///
/// # Errors
/// Those of `start`, and of a system that gives no thread.
pub async fn sink_task<T, F>(thread: &str, start: F) -> Result<Box<dyn SinkTask>, ConnectError>
where
    T: BlockingSinkTask,
    F: FnOnce() -> Result<T, ConnectError> + Send + 'static,
{
    Ok(Box::new(OnThread { worker: Worker::start(thread, start).await?, wants_acks: false, is_idle: None }))
}

/// Does one thing that may block for long on a thread of its own, while the caller waits without holding up other tasks.
///
/// # Errors
/// If the system gives no thread.
pub async fn run<R, F>(thread: &str, work: F) -> Result<R, ConnectError>
where
    R: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
{
    let (done, answer) = answer();
    thread::Builder::new().name(thread.to_owned()).spawn(move || done.send(catch_unwind(AssertUnwindSafe(work))))?;
    match answer.await {
        Ok(result) => Ok(result),
        Err(panic) => resume_unwind(panic),
    }
}

/// Waits for a future on this thread: the way for blocking code to ask the worker's context. Futures that need a particular async runtime to be
/// polled in do not belong here.
pub fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// An async task that is a thread's blocking one.
struct OnThread<T> {
    worker: Worker<T>,
    wants_acks: bool,
    is_idle: Option<bool>,
}

#[async_trait]
impl<T: BlockingSourceTask> SourceTask for OnThread<T> {
    async fn poll(&mut self, deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
        let (records, is_idle) = self.worker.call(move |task| (task.poll(deadline), task.is_idle())).await;
        self.is_idle = is_idle;
        records
    }

    async fn committed(&mut self, offsets: &SourceOffsets) -> Result<(), ConnectError> {
        let offsets = offsets.to_vec();
        self.worker.call(move |task| task.committed(&offsets)).await
    }

    fn wants_acks(&self) -> bool {
        self.wants_acks
    }

    async fn acked(&mut self, records: &[AckedRecord]) -> Result<(), ConnectError> {
        let records = records.to_vec();
        self.worker.call(move |task| task.acked(&records)).await
    }

    fn is_idle(&self) -> Option<bool> {
        self.is_idle
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.worker.call(|task| task.stop()).await
    }
}

#[async_trait]
impl<T: BlockingSinkTask> SinkTask for OnThread<T> {
    async fn open(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        let partitions = partitions.to_vec();
        self.worker.call(move |task| task.open(&partitions)).await
    }

    async fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError> {
        let records = records.to_vec();
        self.worker.call(move |task| task.put(&records)).await
    }

    async fn pre_commit(&mut self, offsets: &Offsets) -> Result<Offsets, ConnectError> {
        let offsets = offsets.clone();
        self.worker.call(move |task| task.pre_commit(&offsets)).await
    }

    async fn close(&mut self, partitions: &[TopicPartition]) -> Result<(), ConnectError> {
        let partitions = partitions.to_vec();
        self.worker.call(move |task| task.close(&partitions)).await
    }

    async fn stop(&mut self) -> Result<(), ConnectError> {
        self.worker.call(|task| task.stop()).await
    }
}

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// A thread that owns a `T` and does one job after the other. It ends when this is dropped and the job under way is done.
struct Worker<T> {
    /// One job at a time: every caller waits for its answer.
    jobs: mpsc::SyncSender<Job<T>>,
}

impl<T: 'static> Worker<T> {
    async fn start<F>(name: &str, start: F) -> Result<Self, ConnectError>
    where
        F: FnOnce() -> Result<T, ConnectError> + Send + 'static,
    {
        let (jobs, queue) = mpsc::sync_channel::<Job<T>>(1);
        let (started, answer) = answer();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut task = match catch_unwind(AssertUnwindSafe(start)) {
                Ok(Ok(task)) => {
                    started.send(Ok(Ok(())));
                    task
                }
                Ok(Err(error)) => return started.send(Ok(Err(error))),
                Err(panic) => return started.send(Err(panic)),
            };
            while let Ok(job) = queue.recv() {
                job(&mut task);
            }
        })?;
        match answer.await {
            Ok(started) => started.map(|()| Self { jobs }),
            Err(panic) => resume_unwind(panic),
        }
    }

    async fn call<R: Send + 'static>(&self, call: impl FnOnce(&mut T) -> R + Send + 'static) -> R {
        let (done, answer) = answer();
        let job: Job<T> = Box::new(move |task| done.send(catch_unwind(AssertUnwindSafe(|| call(task)))));
        // The thread leaves its loop only when `jobs` is dropped, so it takes this; if it died all the same, the answer is a panic.
        let _ = self.jobs.send(job);
        match answer.await {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// An answer, or the panic that came in its place.
type Answered<R> = thread::Result<R>;

/// Both ends of one answer.
fn answer<R>() -> (AnswerSender<R>, Answer<R>) {
    let state = Arc::new(Mutex::new(AnswerState { value: None, waker: None }));
    (AnswerSender(Some(state.clone())), Answer(state))
}

struct AnswerState<R> {
    value: Option<Answered<R>>,
    waker: Option<Waker>,
}

struct AnswerSender<R>(Option<Arc<Mutex<AnswerState<R>>>>);

impl<R> AnswerSender<R> {
    fn send(mut self, value: Answered<R>) {
        self.put(value);
    }

    fn put(&mut self, value: Answered<R>) {
        let Some(state) = self.0.take() else { return };
        let waker = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.value = Some(value);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R> Drop for AnswerSender<R> {
    fn drop(&mut self) {
        self.put(Err(Box::new("the thread of the task is gone")));
    }
}

struct Answer<R>(Arc<Mutex<AnswerState<R>>>);

impl<R> Future for Answer<R> {
    type Output = Answered<R>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests read the clock to pass a deadline")]

    use super::*;
    use crate::data::{Map, Value};

    /// Counts up; says which thread it was called on.
    struct Counter {
        n: i64,
        committed: Vec<usize>,
    }

    impl BlockingSourceTask for Counter {
        fn poll(&mut self, _deadline: Instant) -> Result<Vec<SourceRecord>, ConnectError> {
            assert!(self.n < 3, "too far");
            self.n += 1;
            let name = thread::current().name().unwrap_or_default().to_owned();
            let map = Arc::new(Map::hash());
            Ok(vec![SourceRecord::new(map.clone(), map, name.into(), None, Value::I64(self.n))])
        }

        fn committed(&mut self, offsets: &SourceOffsets) -> Result<(), ConnectError> {
            self.committed.push(offsets.len());
            Ok(())
        }

        fn is_idle(&self) -> Option<bool> {
            Some(self.n == 2)
        }

        fn stop(&mut self) -> Result<(), ConnectError> {
            Err(ConnectError::connect(format!("committed {:?}", self.committed)))
        }
    }

    fn counter(n: i64) -> Box<dyn SourceTask> {
        wait(source_task("my-task", move || Ok(Counter { n, committed: Vec::new() }))).unwrap()
    }

    #[test]
    fn a_blocking_task_runs_on_a_thread_of_its_own() {
        let mut task = counter(0);
        let deadline = Instant::now();
        assert_eq!(task.is_idle(), None);
        for (n, is_idle) in [(1, false), (2, true)] {
            let records = wait(task.poll(deadline)).unwrap();
            assert_eq!(records[0].record.value.value, Value::I64(n));
            assert_eq!(&*records[0].record.topic, "my-task");
            assert_eq!(task.is_idle(), Some(is_idle));
        }
        let map = Arc::new(Map::hash());
        wait(task.committed(&[(map.clone(), map)])).unwrap();
        assert_eq!(wait(task.stop()).unwrap_err().message(), Some("committed [1]"));
    }

    #[test]
    fn panics_travel_to_the_caller_and_the_thread_lives_on() {
        let mut task = counter(3);
        let panic = catch_unwind(AssertUnwindSafe(|| wait(task.poll(Instant::now())))).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"too far"));
        assert!(wait(task.stop()).is_err());
    }

    #[test]
    fn one_thing_is_done_on_a_thread_of_its_own() {
        let name = wait(run("once", || thread::current().name().map(str::to_owned))).unwrap();
        assert_eq!(name.as_deref(), Some("once"));
        let panic = catch_unwind(AssertUnwindSafe(|| wait(run("once", || panic!("no"))).is_ok())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"no"));
    }

    #[test]
    fn a_task_that_does_not_start_says_why() {
        let failed = wait(source_task("t", || Err::<Counter, _>(ConnectError::connect("no such host"))));
        assert_eq!(failed.err().and_then(|e| e.message().map(str::to_owned)).as_deref(), Some("no such host"));
        let start = source_task("t", || -> Result<Counter, _> { panic!("at once") });
        let panic = catch_unwind(AssertUnwindSafe(|| wait(start).is_ok())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"at once"));
    }

    #[test]
    fn sinks_take_copies_of_batches() {
        struct Collect(mpsc::Sender<usize>);
        impl BlockingSinkTask for Collect {
            fn put(&mut self, records: &[SinkRecord]) -> Result<(), ConnectError> {
                self.0.send(records.len()).map_err(|_| ConnectError::connect("nobody listens"))
            }
        }
        let (sender, puts) = mpsc::channel();
        let mut task = wait(sink_task("s", move || Ok(Collect(sender)))).unwrap();
        wait(task.put(&[])).unwrap();
        let offsets = Offsets::from([(TopicPartition::new("t", 0), 3)]);
        assert_eq!(wait(task.pre_commit(&offsets)).unwrap(), offsets);
        assert_eq!(puts.recv(), Ok(0));
        drop(puts);
        assert_eq!(wait(task.put(&[])).unwrap_err().message(), Some("nobody listens"));
    }
}
