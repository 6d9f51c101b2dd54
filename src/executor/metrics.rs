//! What a runtime counts.

use super::histogram::{self, BUCKETS};
use super::processor::Processor;
use super::shared::Shared;
use crate::preempt::{REFUSALS, Refusal, signal};
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicU64, Ordering};
use crate::stack::{self, Fiber};
use crate::sys;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// Counters that are not a processor's or a worker's own. All of them count rare events.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) asynchronous: AtomicU64,
    pub(crate) synchronous: AtomicU64,
    pub(crate) hand_overs: AtomicU64,
    pub(crate) taken: AtomicU64,
    pub(crate) given_back: AtomicU64,
    pub(crate) signals: AtomicU64,
    pub(crate) migrations: AtomicU64,
    pub(crate) wakeups: AtomicU64,
    pub(crate) wakes: AtomicU64,
    pub(crate) overflows: AtomicU64,
}

impl Counters {
    /// Counts one.
    pub(crate) fn add(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a runtime has counted so far, and what it consists of right now.
///
/// Obtained from [`Handle::metrics`](crate::runtime::Handle::metrics). Every method reads the current value;
/// two of them called one after the other are not a consistent picture.
///
/// ```
/// use preemptive::runtime::Builder;
///
/// let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
/// assert_eq!(runtime.metrics().num_workers(), 2);
/// ```
#[derive(Clone)]
pub struct RuntimeMetrics {
    pub(crate) shared: Arc<Shared>,
}

impl fmt::Debug for RuntimeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeMetrics")
            .field("alive_tasks", &self.num_alive_tasks())
            .field("polls", &self.polls())
            .field("asynchronous", &self.asynchronous_preemptions())
            .field("synchronous", &self.synchronous_preemptions())
            .field("wakeup_preemptions", &self.wakeup_preemptions())
            .field("migrations", &self.migrations())
            .field("signals", &self.signals())
            .field("useless_signals", &self.useless_signals())
            .field("refused_in_scheduler", &self.refused_in_scheduler())
            .field(
                "refused_in_critical_section",
                &self.refused_in_critical_section(),
            )
            .field("refused_in_handler", &self.refused_in_handler())
            .field("refused_in_system_call", &self.refused_in_system_call())
            .field("hand_overs", &self.hand_overs())
            .field("taken", &self.hand_overs_without_signal())
            .field("given_back", &self.given_back())
            .field("stack_overflows", &self.stack_overflows())
            .field("fibers", &self.fibers())
            .field("spare_fibers", &self.spare_fibers())
            .field("worker_threads", &self.worker_threads())
            .field("spare_workers", &self.spare_workers())
            .finish_non_exhaustive()
    }
}

impl RuntimeMetrics {
    /// How many processors there are: `worker_threads`, or 1 on a current-thread runtime.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
    /// assert_eq!(runtime.metrics().num_workers(), 2);
    /// // Whoever calls `block_on`.
    /// assert_eq!(Builder::new_current_thread().build()?.metrics().num_workers(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn num_workers(&self) -> usize {
        self.shared.processors.len()
    }

    /// Tasks that have been spawned and are not finished. Closures of `spawn_blocking` are none.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// let task = runtime.spawn(std::future::pending::<()>());
    /// assert_eq!(metrics.num_alive_tasks(), 1);
    /// task.abort();
    /// assert!(runtime.block_on(task).is_err());
    /// // Whoever awaits it may be on a little earlier.
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    ///     metrics.num_alive_tasks() == 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn num_alive_tasks(&self) -> usize {
        self.shared.tasks.len()
    }

    /// Tasks that have ever been spawned, less those that came after the runtime's end. Closures of `spawn_blocking` are
    /// none.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread().build()?;
    /// runtime.block_on(runtime.spawn(async {}))?;
    /// assert_eq!(runtime.metrics().spawned_tasks_count(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn spawned_tasks_count(&self) -> u64 {
        self.shared.tasks.spawned()
    }

    /// Runnable tasks in the queue that all processors share.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread().build()?;
    /// let metrics = runtime.metrics();
    /// // Nobody runs them outside of `block_on`.
    /// let tasks = [runtime.spawn(async {}), runtime.spawn(async {})];
    /// assert_eq!(metrics.global_queue_depth(), 2);
    /// for task in tasks {
    ///     runtime.block_on(task)?;
    /// }
    /// assert_eq!(metrics.global_queue_depth(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn global_queue_depth(&self) -> usize {
        self.shared.global.len()
    }

    /// Runnable polls that were preempted and wait for a processor.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // They take turns: while one runs, the others wait.
    /// for _ in 0..3 {
    ///     runtime.spawn(async { while !STOP.load(Ordering::Relaxed) {} });
    /// }
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    ///     metrics.preempted_depth() == 2
    /// }));
    /// STOP.store(true, Ordering::Relaxed);
    /// // That waits until all have ended.
    /// drop(runtime);
    /// assert_eq!(metrics.preempted_depth(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn preempted_depth(&self) -> usize {
        self.shared.batch.len()
    }

    /// Runnable tasks in one processor's own queue. Processors are numbered from 0 to
    /// [`num_workers`](Self::num_workers) less one.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // What a task spawns waits for its own processor first.
    /// assert!((0..1_000).any(|_| {
    ///     let metrics = metrics.clone();
    ///     let depth = runtime.spawn(async move {
    ///         preemptive::spawn(async {});
    ///         preemptive::spawn(async {});
    ///         metrics.worker_local_queue_depth(0)
    ///     });
    ///     runtime.block_on(depth).unwrap() == 2
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn worker_local_queue_depth(&self, worker: usize) -> usize {
        let processor = self.processor(worker);
        processor.queue.len() + usize::from(!processor.slot.is_empty())
    }

    /// How long this processor was not idle: it ran tasks, or decided which, or waited for a worker.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// let before = metrics.worker_total_busy_duration(0);
    /// runtime.block_on(runtime.spawn(async { (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) }))?;
    /// assert!(metrics.worker_total_busy_duration(0) > before);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn worker_total_busy_duration(&self, worker: usize) -> Duration {
        Duration::from_nanos(self.processor(worker).busy_so_far(sys::now()))
    }

    /// How often this processor found nothing to do and went to sleep, or was about to.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // There is nothing to do.
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    ///     metrics.worker_park_count(0) > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn worker_park_count(&self, worker: usize) -> u64 {
        let count = self.worker_park_unpark_count(worker);
        count.div_ceil(2)
    }

    /// How often this processor went to sleep and how often it went on, together: odd while it sleeps.
    ///
    /// Two readings that are the same and odd, some time apart, say that it has slept all the while; if they are even,
    /// that it has not slept. On a current-thread runtime it sleeps whenever no thread is inside `block_on` as well.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread().build()?;
    /// let metrics = runtime.metrics();
    /// assert_eq!(metrics.worker_park_unpark_count(0) % 2, 1);
    /// runtime.block_on(async { assert_eq!(metrics.worker_park_unpark_count(0) % 2, 0) });
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn worker_park_unpark_count(&self, worker: usize) -> u64 {
        self.processor(worker).parks_unparks.load(Ordering::Relaxed)
    }

    /// Polls that began on this processor. (On a current-thread runtime those of the future given to `block_on` as well.)
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // It is polled again after it has yielded.
    /// runtime.block_on(runtime.spawn(preemptive::task::yield_now()))?;
    /// assert_eq!(metrics.worker_poll_count(0), 2);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn worker_poll_count(&self, worker: usize) -> u64 {
        self.processor(worker).tick.load(Ordering::Relaxed)
    }

    /// How often this processor took tasks from another's queue: half of the queue at a time, or the task that was woken
    /// last, if that one is kept waiting.
    ///
    /// # Panics
    ///
    /// If there is no such processor.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// let metrics = runtime.metrics();
    /// // Tasks that a task spawns go to its own processor's queue, where the other one finds them.
    /// assert!((0..1_000).any(|_| {
    ///     let spawning = runtime.spawn(async {
    ///         [(); 100].map(|()| preemptive::spawn(async { (0..1_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) }))
    ///     });
    ///     for task in runtime.block_on(spawning).unwrap() {
    ///         runtime.block_on(task).unwrap();
    ///     }
    ///     metrics.worker_steal_operations(0) + metrics.worker_steal_operations(1) > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn worker_steal_operations(&self, worker: usize) -> u64 {
        self.processor(worker).steals.load(Ordering::Relaxed)
    }

    #[track_caller]
    fn processor(&self, worker: usize) -> &Processor {
        let processors = &self.shared.processors;
        processors.get(worker).unwrap_or_else(|| {
            panic!(
                "there is no worker {worker}: there are {}",
                processors.len()
            )
        })
    }

    /// Were polls timed? See [`Builder`](crate::runtime::Builder::enable_metrics_poll_time_histogram).
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let mut builder = Builder::new_current_thread();
    /// assert!(!builder.build()?.metrics().poll_time_histogram_enabled());
    /// builder.enable_metrics_poll_time_histogram();
    /// assert!(builder.build()?.metrics().poll_time_histogram_enabled());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn poll_time_histogram_enabled(&self) -> bool {
        !self.shared.poll_times.is_empty()
    }

    /// How many buckets the histogram of poll times has; 0 if polls are not timed.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let mut builder = Builder::new_current_thread();
    /// assert_eq!(builder.build()?.metrics().poll_time_histogram_num_buckets(), 0);
    /// builder.enable_metrics_poll_time_histogram();
    /// assert_eq!(builder.build()?.metrics().poll_time_histogram_num_buckets(), 25);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn poll_time_histogram_num_buckets(&self) -> usize {
        if self.poll_time_histogram_enabled() {
            BUCKETS
        } else {
            0
        }
    }

    /// The poll times that a bucket counts: the first one those below a microsecond, each further one up to twice as much as
    /// the one before; the last one, from 2^23 µs (8.4 s), has no end.
    ///
    /// # Panics
    ///
    /// If there is no such bucket.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = preemptive::runtime::Builder::new_current_thread()
    ///     .enable_metrics_poll_time_histogram()
    ///     .build()?;
    /// let metrics = runtime.metrics();
    /// let micros = Duration::from_micros;
    /// assert_eq!(metrics.poll_time_histogram_bucket_range(0), micros(0)..micros(1));
    /// assert_eq!(metrics.poll_time_histogram_bucket_range(3), micros(4)..micros(8));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn poll_time_histogram_bucket_range(&self, bucket: usize) -> Range<Duration> {
        self.check_bucket(bucket);
        histogram::range(bucket)
    }

    /// Polls of tasks that began on this processor, and took so long from their begin to their end. A poll that was preempted
    /// counts with all the time until it ended; one that has not ended does not count yet.
    ///
    /// # Panics
    ///
    /// If there is no such processor or bucket.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread()
    ///     .worker_threads(2)
    ///     .enable_metrics_poll_time_histogram()
    ///     .build()?;
    /// runtime.block_on(runtime.spawn(async {})).unwrap();
    /// let metrics = runtime.metrics();
    /// // A poll is counted when it has ended, which the task's output does not wait for.
    /// while timed(&metrics) == 0 {
    ///     std::thread::yield_now();
    /// }
    ///
    /// fn timed(metrics: &preemptive::runtime::RuntimeMetrics) -> u64 {
    ///     let mut polls = 0;
    ///     for worker in 0..metrics.num_workers() {
    ///         for bucket in 0..metrics.poll_time_histogram_num_buckets() {
    ///             polls += metrics.poll_time_histogram_bucket_count(worker, bucket);
    ///         }
    ///     }
    ///     polls
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn poll_time_histogram_bucket_count(&self, worker: usize, bucket: usize) -> u64 {
        self.check_bucket(bucket);
        let index = self.processor(worker).index;
        self.shared.poll_times[index].count(bucket)
    }

    #[track_caller]
    fn check_bucket(&self, bucket: usize) {
        let buckets = self.poll_time_histogram_num_buckets();
        assert!(
            bucket < buckets,
            "there is no bucket {bucket}: there are {buckets}"
        );
    }

    /// How often an idle processor was woken because there was something to do. (One whose timer is due wakes by itself.)
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // It falls asleep after each.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.wakes() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wakes(&self) -> u64 {
        self.shared.counters.wakes.load(Ordering::Relaxed)
    }

    /// Polls that made room for a task that had been woken or spawned. Those that made room for a timer, or for other
    /// preempted polls, are not among them.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // A poll that is long, and a task that waits behind it.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.wakeup_preemptions() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wakeup_preemptions(&self) -> u64 {
        self.shared.counters.wakeups.load(Ordering::Relaxed)
    }

    /// Preemption signals that have arrived at workers, whatever they led to.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // A poll that is long, and a task that waits behind it.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.signals() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn signals(&self) -> u64 {
        self.shared
            .all_workers()
            .map(|worker| u64::from(worker.target.generation.load(Ordering::Relaxed)))
            .sum()
    }

    /// Preemption signals that found a poll which nobody had looked at before, and stopped nothing. They are rationed: after
    /// a burst of 16, one per 2 ms and processor.
    ///
    /// ```
    /// let start = std::time::Instant::now();
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// for _ in 0..1_000 {
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    /// }
    /// let useless = u128::from(metrics.useless_signals());
    /// assert!(useless <= 20 + start.elapsed().as_millis() / 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn useless_signals(&self) -> u64 {
        self.shared
            .processors
            .iter()
            .map(|processor| processor.useless_looks.load(Ordering::Relaxed))
            .sum()
    }

    /// Polls that were preempted at an arbitrary instruction, by a signal.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // A poll that is long, and a task that waits behind it.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.asynchronous_preemptions() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn asynchronous_preemptions(&self) -> u64 {
        self.shared.counters.asynchronous.load(Ordering::Relaxed)
    }

    /// Polls that gave way at the end of a critical section of the runtime.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .async_preempt(false)
    ///     .build()?;
    /// let metrics = runtime.metrics();
    /// // It enters the runtime again and again.
    /// runtime.spawn(async {
    ///     while !STOP.load(Ordering::Relaxed) {
    ///         preemptive::safepoint();
    ///     }
    /// });
    /// assert!((0..1_000).any(|_| {
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.synchronous_preemptions() > 0
    /// }));
    /// STOP.store(true, Ordering::Relaxed);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn synchronous_preemptions(&self) -> u64 {
        self.shared.counters.synchronous.load(Ordering::Relaxed)
    }

    /// Both kinds of preemptions.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // A poll that is long, and a task that waits behind it.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.preemptions() > 0
    /// }));
    /// drop(runtime);
    /// let both = metrics.asynchronous_preemptions() + metrics.synchronous_preemptions();
    /// assert_eq!(metrics.preemptions(), both);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn preemptions(&self) -> u64 {
        self.asynchronous_preemptions() + self.synchronous_preemptions()
    }

    /// Preempted polls that were resumed by another worker than the one they were preempted on.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// let metrics = runtime.metrics();
    /// // More hogs than processors: they go on wherever there is room.
    /// assert!((0..1_000).any(|_| {
    ///     let hogs = [(); 4].map(|()| {
    ///         runtime.spawn(async { (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) })
    ///     });
    ///     for hog in hogs {
    ///         runtime.block_on(hog).unwrap();
    ///     }
    ///     metrics.migrations() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn migrations(&self) -> u64 {
        self.shared.counters.migrations.load(Ordering::Relaxed)
    }

    fn refused(&self, why: Refusal) -> u64 {
        self.shared
            .all_workers()
            .map(|worker| worker.target.refused[why as usize].load(Ordering::Relaxed))
            .sum()
    }

    /// Preemption signals that found a worker between two tasks, or in instructions that end in a check.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// for _ in 0..1_000 {
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    /// }
    /// drop(runtime);
    /// assert!(metrics.refused_in_scheduler() <= metrics.signals());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn refused_in_scheduler(&self) -> u64 {
        self.refused(Refusal::SystemStack) + self.refused(Refusal::Trampoline)
    }

    /// Preemption signals that found a critical section of the runtime; its end gave way.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // It spawns all the time, a critical section for the most part.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.block_on(runtime.spawn(async {
    ///         for _ in 0..1_000 {
    ///             preemptive::spawn(async {});
    ///         }
    ///     })).unwrap();
    ///     metrics.refused_in_critical_section() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn refused_in_critical_section(&self) -> u64 {
        self.refused(Refusal::Critical)
    }

    /// Preemption signals that found another signal handler running, or a signal mask that the task had changed.
    ///
    /// ```
    /// /// Spins with a signal mask of its own.
    /// fn spin_masked() {
    ///     // SAFETY: the sets are initialised before they are used, and the mask is put back.
    ///     unsafe {
    ///         let (mut set, mut before) = (std::mem::zeroed(), std::mem::zeroed());
    ///         libc::sigemptyset(&mut set);
    ///         libc::sigaddset(&mut set, libc::SIGUSR1);
    ///         libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before);
    ///         std::hint::black_box((0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)));
    ///         libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
    ///     }
    /// }
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { spin_masked() });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.refused_in_handler() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn refused_in_handler(&self) -> u64 {
        self.refused(Refusal::Handler)
    }

    /// Preemption signals that found a blocking system call: the processor moved on instead, or had done so before.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // A task that blocks, and one that waits behind it.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { std::thread::sleep(std::time::Duration::from_millis(20)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.refused_in_system_call() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn refused_in_system_call(&self) -> u64 {
        self.refused(Refusal::Syscall)
    }

    /// All refusals, whatever the reason.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// for _ in 0..10 {
    ///     runtime.spawn(async { (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    /// }
    /// drop(runtime);
    /// // What a signal leads to is counted once.
    /// let counted = metrics.asynchronous_preemptions() + metrics.refused_preemptions();
    /// assert!(counted <= metrics.signals());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn refused_preemptions(&self) -> u64 {
        const { assert!(REFUSALS == 5) };
        self.refused_in_scheduler()
            + self.refused_in_critical_section()
            + self.refused_in_handler()
            + self.refused_in_system_call()
    }

    /// Processors that moved to another worker because theirs was blocked in the kernel or out of reach.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // A task that blocks, and one that waits behind it.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { std::thread::sleep(std::time::Duration::from_millis(20)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.hand_overs() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn hand_overs(&self) -> u64 {
        self.shared.counters.hand_overs.load(Ordering::Relaxed)
    }

    /// Those among the hand-overs that the monitor made without a signal.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .async_preempt(false)
    ///     .build()?;
    /// let metrics = runtime.metrics();
    /// // Without preemption no signal finds out that the task blocks.
    /// assert!((0..1_000).any(|_| {
    ///     runtime.spawn(async { std::thread::sleep(std::time::Duration::from_millis(20)) });
    ///     runtime.block_on(runtime.spawn(async {})).unwrap();
    ///     metrics.hand_overs_without_signal() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn hand_overs_without_signal(&self) -> u64 {
        self.shared.counters.taken.load(Ordering::Relaxed)
    }

    /// Polls that were given back to the thread whose identity they have.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// let (begins, begun) = std::sync::mpsc::channel();
    /// runtime.spawn(async move {
    ///     begins.send(()).unwrap();
    ///     while !STOP.load(Ordering::Relaxed) {}
    /// });
    /// begun.recv().unwrap();
    /// // It goes on in the background, as an ordinary thread.
    /// runtime.shutdown_timeout(Duration::from_millis(1));
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(Duration::from_millis(1));
    ///     metrics.given_back() > 0
    /// }));
    /// STOP.store(true, Ordering::Relaxed);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn given_back(&self) -> u64 {
        self.shared.counters.given_back.load(Ordering::Relaxed)
    }

    /// Tasks that have overflowed their stacks, where the runtime goes on after that
    /// ([`Builder::on_stack_overflow`](super::Builder::on_stack_overflow)). Each has left a stack and a thread behind.
    ///
    /// ```
    /// use preemptive::runtime::{Builder, OnStackOverflow};
    ///
    /// fn depth(of: u64) -> u64 {
    ///     if of == 0 { 0 } else { 1 + std::hint::black_box(depth(of - 1)) }
    /// }
    ///
    /// let runtime = Builder::new_multi_thread()
    ///     .on_stack_overflow(OnStackOverflow::FailTask)
    ///     .build()?;
    /// assert!(runtime.block_on(runtime.spawn(async { depth(u64::MAX) })).is_err());
    /// assert_eq!(runtime.metrics().stack_overflows(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stack_overflows(&self) -> u64 {
        self.shared.counters.overflows.load(Ordering::Relaxed)
    }

    /// Time slices that preempted polls have used up, the shorter turn that most of them have first included.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// for _ in 0..2 {
    ///     runtime.spawn(async { while !STOP.load(Ordering::Relaxed) {} });
    /// }
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    ///     metrics.slices_used_up() > 0
    /// }));
    /// STOP.store(true, Ordering::Relaxed);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn slices_used_up(&self) -> u64 {
        self.shared
            .processors
            .iter()
            .map(|processor| processor.slices.load(Ordering::Relaxed))
            .sum()
    }

    /// Polls begun.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// let metrics = runtime.metrics();
    /// runtime.block_on(runtime.spawn(preemptive::task::yield_now()))?;
    /// assert_eq!(metrics.polls(), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn polls(&self) -> u64 {
        self.shared.polls()
    }

    /// Preemption signals that the monitor sent, where a worker's own timer does not do it.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// runtime.spawn(async { while !STOP.load(Ordering::Relaxed) {} });
    /// // Tasks that block lose their processors. When they go on to compute, the monitor stops them.
    /// assert!((0..1_000).any(|_| {
    ///     let task = runtime.spawn(async {
    ///         std::thread::sleep(Duration::from_millis(20));
    ///         (0..1_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b))
    ///     });
    ///     runtime.block_on(task).unwrap();
    ///     metrics.signals_sent_by_monitor() > 0
    /// }));
    /// STOP.store(true, Ordering::Relaxed);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn signals_sent_by_monitor(&self) -> u64 {
        self.shared.counters.signals.load(Ordering::Relaxed)
    }

    /// Signals, in this whole process, that had the preemption signal's number and were somebody else's.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let metrics = runtime.metrics();
    /// let before = metrics.foreign_signals();
    /// // SAFETY: the runtime has a handler for it, and the default is to ignore it.
    /// unsafe { libc::raise(libc::SIGURG) };
    /// assert!(metrics.foreign_signals() > before);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn foreign_signals(&self) -> u64 {
        signal::chained()
    }

    /// Fibers: stacks with a thread identity. Every poll in progress has one. Those whose stack has overflowed do not count.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// // One is in use here.
    /// let fibers = runtime.block_on(runtime.spawn(async move { metrics.fibers() }))?;
    /// assert!(fibers > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn fibers(&self) -> usize {
        self.shared.supply.fiber_count.load(Ordering::Relaxed)
    }

    /// Fibers that no poll uses. Some are made before they are needed.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    ///     metrics.spare_fibers() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn spare_fibers(&self) -> usize {
        self.shared.spare_fibers.len()
    }

    /// Bytes of one fiber's stack that are in memory. Fibers are numbered from 0 to [`fibers`](Self::fibers) less one, in the
    /// order they were made.
    ///
    /// A system call per 4 MiB of stack. 0 for the one fiber of a current-thread runtime that is the caller's own thread,
    /// and once the runtime has been shut down.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// runtime.block_on(runtime.spawn(async { std::hint::black_box([1_u8; 100_000]); })).unwrap();
    /// let metrics = runtime.metrics();
    /// let most = (0..metrics.fibers()).map(|fiber| metrics.stack_high_water_bytes(fiber)).max();
    /// assert!(most.unwrap() >= 100_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_committed_bytes(&self, fiber: usize) -> usize {
        let committed = |fiber: &Fiber| fiber.committed();
        self.shared.supply.with_fiber(fiber, committed).unwrap_or(0)
    }

    /// The most bytes of one fiber's stack that were ever in memory when somebody looked: this method, the one before, or the
    /// runtime before it gives pages back, which it does after about a second.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// runtime.block_on(runtime.spawn(async { std::hint::black_box([1_u8; 100_000]); }))?;
    /// let metrics = runtime.metrics();
    /// for fiber in 0..metrics.fibers() {
    ///     let now = metrics.stack_committed_bytes(fiber);
    ///     assert!(metrics.stack_high_water_bytes(fiber) >= now);
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stack_high_water_bytes(&self, fiber: usize) -> usize {
        let most = |fiber: &Fiber| {
            fiber
                .committed()
                .max(fiber.high_water.load(Ordering::Relaxed))
        };
        self.shared.supply.with_fiber(fiber, most).unwrap_or(0)
    }

    /// Stack segments beyond the fibers' own stacks, in this whole process: in use, kept for the next call, and pooled.
    /// See [`stack::grow`](crate::stack::grow).
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let metrics = runtime.metrics();
    /// let segments = preemptive::stack::grow(usize::MAX, 0, || metrics.stack_segments());
    /// assert!(segments > 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stack_segments(&self) -> usize {
        stack::mapped()
    }

    /// Worker threads, with and without a processor.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// let metrics = runtime.metrics();
    /// assert!(metrics.worker_threads() >= 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn worker_threads(&self) -> usize {
        self.shared.supply.worker_count()
    }

    /// Worker threads that wait for a processor: for that of a worker that is blocked. A current-thread runtime has none.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    ///     metrics.spare_workers() > 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn spare_workers(&self) -> usize {
        self.shared.spare_workers.len()
    }

    /// Threads of the pool behind `spawn_blocking`.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// assert_eq!(metrics.num_blocking_threads(), 0);
    /// runtime.block_on(runtime.spawn_blocking(|| ()))?;
    /// // It is kept for the next closure.
    /// assert_eq!(metrics.num_blocking_threads(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn num_blocking_threads(&self) -> usize {
        self.shared.blocking.threads()
    }

    /// Those of them that have nothing to do.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// runtime.block_on(runtime.spawn_blocking(|| ()))?;
    /// assert!((0..10_000).any(|_| {
    ///     std::thread::sleep(std::time::Duration::from_millis(1));
    ///     metrics.num_idle_blocking_threads() == 1
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn num_idle_blocking_threads(&self) -> usize {
        self.shared.blocking.idle()
    }

    /// Functions that wait for a thread of that pool.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().max_blocking_threads(1).build()?;
    /// let metrics = runtime.metrics();
    /// let ((begins, begun), (go, may_go)) = (channel(), channel());
    /// let first = runtime.spawn_blocking(move || { begins.send(()).unwrap(); may_go.recv() });
    /// let second = runtime.spawn_blocking(|| ());
    /// begun.recv().unwrap();
    /// // The only thread has the other.
    /// assert_eq!(metrics.blocking_queue_depth(), 1);
    /// go.send(()).unwrap();
    /// runtime.block_on(second)?;
    /// assert_eq!(metrics.blocking_queue_depth(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn blocking_queue_depth(&self) -> usize {
        self.shared.blocking.queued()
    }
}
