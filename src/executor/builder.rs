//! Building a runtime: every option, and what it costs.

use super::config::{Config, DEFAULT_MIN_SLICE, bad};
use super::environment;
use super::local::{LocalOptions, LocalRuntime};
use super::overflow::OnStackOverflow;
use super::runtime::Runtime;
use super::shared::Shared;
use super::shutdown;
use super::slice::PARTS;
use super::time::Instant;
use super::timeline::Timeline;
use crate::preempt::signal;
use crate::primitives::Arc;
use crate::sys;
use std::io;
use std::time::Duration;

/// Builds a [`Runtime`] with other than the default options.
///
/// The names are Tokio's where Tokio has the option. Bad values are reported by [`build`](Builder::build), as
/// an [`io::Error`] that names the cure.
///
/// ```
/// use preemptive::runtime::Builder;
/// use std::time::Duration;
///
/// let runtime = Builder::new_multi_thread()
///     .worker_threads(2)
///     .time_slice(Duration::from_millis(1))
///     .build()
///     .unwrap();
/// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
/// ```
#[derive(Clone, Debug)]
pub struct Builder {
    pub(super) config: Config,
    worker_threads: Option<usize>,
    time_slice: Option<Duration>,
    min_slice: Option<Duration>,
    batch_share: f64,
    home_only: Option<bool>,
}

impl Builder {
    /// A runtime with several processors, as many as the machine has cores unless told otherwise.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().build()?;
    /// let cores = std::thread::available_parallelism()?.get();
    /// assert_eq!(runtime.metrics().num_workers(), cores);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new_multi_thread() -> Builder {
        Builder {
            config: Config::new(),
            worker_threads: None,
            time_slice: None,
            min_slice: None,
            batch_share: 0.2,
            home_only: None,
        }
    }

    /// A runtime that runs tasks on the thread that calls [`Runtime::block_on`], while it is in there.
    ///
    /// The future given to `block_on`, and tasks as long as none hogs, are polled by the calling thread
    /// itself and see its thread-locals. A poll that uses its slice up is set aside, and meanwhile tasks are
    /// polled under spare identities: tasks and timers do not starve here either. Only the future given to
    /// `block_on` has to wait until a task's poll that began under the thread's own identity has ended. A poll that
    /// is set aside when `block_on` returns goes on to its end in the background.
    ///
    /// Inside, `block_on` of any runtime panics: there is no other thread to go on meanwhile.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_current_thread().build().unwrap();
    /// let not_send = std::rc::Rc::new(42);
    /// assert_eq!(runtime.block_on(async { *not_send }), 42);
    /// ```
    pub fn new_current_thread() -> Builder {
        let mut builder = Builder::new_multi_thread();
        builder.config.home = true;
        builder
    }

    /// Whether a current-thread runtime polls tasks nowhere but under the identity of the thread inside `block_on`.
    /// Default: no, but for a [`LocalRuntime`].
    ///
    /// Then every task finds the thread-locals of that thread, always, and *no task is preempted*: a task that hogs holds
    /// up all the others, and timers, as on any cooperative runtime. Otherwise, while a poll that has used its slice up is set
    /// aside under that identity, tasks that are `Send` are polled under spare ones, with thread-locals of their own.
    ///
    /// No effect on a multi-thread runtime.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    /// use std::cell::Cell;
    ///
    /// thread_local!(static REQUEST: Cell<u32> = const { Cell::new(0) });
    ///
    /// let runtime = Builder::new_current_thread().home_only(true).build()?;
    /// REQUEST.set(7);
    /// let seen = runtime.block_on(async { preemptive::spawn(async { REQUEST.get() }).await });
    /// assert_eq!(seen.unwrap(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn home_only(&mut self, enabled: bool) -> &mut Self {
        self.home_only = Some(enabled);
        self
    }

    /// How many tasks may run at the same time. Without effect on a current-thread runtime.
    ///
    /// Threads that are blocked in the kernel do not count: their processors move on to other threads. The
    /// default is the number of cores that this process may use.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().worker_threads(3).build()?;
    /// assert_eq!(runtime.metrics().num_workers(), 3);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn worker_threads(&mut self, count: usize) -> &mut Self {
        assert!(count > 0, "worker_threads cannot be 0: use at least 1");
        self.worker_threads = Some(count);
        self
    }

    /// How long a poll that was preempted may go on while other preempted polls wait. From 50 µs to 10 s; default 10 ms.
    ///
    /// A preemption costs some microseconds; a poll alone on its processor is never interrupted. Tasks that are woken, and
    /// timers that are due, do not wait for the end of a slice: see [`min_slice`](Self::min_slice).
    ///
    /// `PREEMPTIVE_TIME_SLICE=50us` in the environment changes the default of a whole program, to search it for what
    /// preemption may upset.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` if it is out of range.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use std::time::Duration;
    ///
    /// static TURN: AtomicUsize = AtomicUsize::new(0);
    ///
    /// let runtime = Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .time_slice(Duration::from_millis(1))
    ///     .build()?;
    /// // Neither ever awaits, and each waits for the other.
    /// let tasks = [0, 1].map(|first| {
    ///     runtime.spawn(async move {
    ///         for turn in (first..10).step_by(2) {
    ///             while TURN.load(Ordering::Acquire) != turn {}
    ///             TURN.store(turn + 1, Ordering::Release);
    ///         }
    ///     })
    /// });
    /// for task in tasks {
    ///     runtime.block_on(task)?;
    /// }
    /// assert_eq!(TURN.load(Ordering::Acquire), 10);
    ///
    /// let error = Builder::new_multi_thread().time_slice(Duration::from_micros(1)).build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn time_slice(&mut self, slice: Duration) -> &mut Self {
        self.time_slice = Some(slice);
        self
    }

    /// How long a poll may run before a task that was woken or spawned, and finds every processor busy, may take its place.
    /// From 10 µs up to the time slice; default 100 µs, or the time slice if that is shorter.
    ///
    /// It bounds how often a processor is interrupted, and how long a task waits behind polls that are longer. A poll's time
    /// counts from when somebody first waits behind it, or the runtime has looked at it. With many preempted polls waiting
    /// it has more, up to a time slice. The same holds for a task whose timer is due, but a poll that was preempted before
    /// makes room for that one after a quarter of this time.
    ///
    /// A blocking system call may be interrupted after so long, too, if others wait: those that Linux never restarts return
    /// `EINTR` (`CAVEATS.md` lists them).
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` if it is shorter than 10 µs or longer than the time slice.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    /// use std::time::Duration;
    ///
    /// let runtime = Builder::new_multi_thread()
    ///     .worker_threads(2)
    ///     .time_slice(Duration::from_millis(5))
    ///     .min_slice(Duration::from_micros(200))
    ///     .batch_share(0.5)
    ///     .build()?;
    /// // Never awaits: the other task takes its place all the same.
    /// runtime.spawn(async { (0..50_000_000_u64).fold(0, |a, b| a ^ std::hint::black_box(b)) });
    /// assert_eq!(runtime.block_on(runtime.spawn(async { 6 * 7 })).unwrap(), 42);
    ///
    /// let error = Builder::new_multi_thread()
    ///     .time_slice(Duration::from_millis(1))
    ///     .min_slice(Duration::from_millis(2))
    ///     .build()
    ///     .unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn min_slice(&mut self, slice: Duration) -> &mut Self {
        self.min_slice = Some(slice);
        self
    }

    /// How much of each processor polls that were preempted get while tasks wait as well, as a fraction. From 0.01 to
    /// 0.9; default 0.2.
    ///
    /// What the one side does not use is the other's. Preempted polls have their share in turns of an eighth of a
    /// time slice, but no longer than 2 ms and no shorter than the minimum slice. A task that is woken meanwhile
    /// waits until the turn is over, and so does a timer. ([`min_slice`](Self::min_slice) has an example.)
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` if it is out of range.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// assert!(Builder::new_multi_thread().batch_share(0.5).build().is_ok());
    /// let error = Builder::new_multi_thread().batch_share(1.0).build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// ```
    pub fn batch_share(&mut self, share: f64) -> &mut Self {
        self.batch_share = share;
        self
    }

    /// Times every poll, for [`RuntimeMetrics::poll_time_histogram_bucket_count`]. Default: no.
    ///
    /// It costs two readings of the clock per poll, some 50 ns.
    ///
    /// [`RuntimeMetrics::poll_time_histogram_bucket_count`]: super::RuntimeMetrics::poll_time_histogram_bucket_count
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread().enable_metrics_poll_time_histogram().build()?;
    /// assert!(runtime.metrics().poll_time_histogram_enabled());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn enable_metrics_poll_time_histogram(&mut self) -> &mut Self {
        self.config.poll_times = true;
        self
    }

    /// The signal that preempts. Default: `SIGURG`, which programs ignore unless they use out-of-band data.
    ///
    /// A handler that the program had installed for it goes on receiving the signals that are not ours.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` for a signal that cannot be used: one that cannot be caught, that
    /// reports an error of the program (`SIGSEGV`, say), or that is glibc's own.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// static STOP: AtomicBool = AtomicBool::new(false);
    ///
    /// let runtime = Builder::new_multi_thread()
    ///     .worker_threads(1)
    ///     .preempt_signal(libc::SIGUSR2)
    ///     .build()?;
    /// let hog = runtime.spawn(async { while !STOP.load(Ordering::Relaxed) {} });
    /// runtime.block_on(runtime.spawn(async { STOP.store(true, Ordering::Relaxed) }))?;
    /// runtime.block_on(hog)?;
    ///
    /// let error = Builder::new_multi_thread().preempt_signal(libc::SIGKILL).build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn preempt_signal(&mut self, signal: i32) -> &mut Self {
        self.config.signal = signal;
        self
    }

    /// Whether polls are preempted at any instruction. Default: yes.
    ///
    /// Without, they give way only where they enter the runtime: a poll that hogs holds its processor until it does.
    /// `PREEMPTIVE_ASYNC_PREEMPT=off` in the environment says the same for a whole program, for debugging.
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
    /// runtime.spawn(async {
    ///     while !STOP.load(Ordering::Relaxed) {
    ///         preemptive::safepoint();
    ///     }
    /// });
    /// runtime.block_on(runtime.spawn(async { STOP.store(true, Ordering::Relaxed) }))?;
    /// assert_eq!(runtime.metrics().asynchronous_preemptions(), 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn async_preempt(&mut self, enabled: bool) -> &mut Self {
        self.config.async_preempt = enabled;
        self
    }

    /// Bytes reserved for the stack of each poll in progress; at least 64 KiB, default 2 MiB.
    ///
    /// Reserved is not used: the kernel commits pages when they are first touched. Idle tasks have no stack. What happens to a
    /// task that needs more: see [`on_stack_overflow`](Self::on_stack_overflow).
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` if it is less than 64 KiB.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread().thread_stack_size(16 << 20).build()?;
    /// // Twice as much as there would be.
    /// let task = runtime.spawn(async { std::hint::black_box([1_u8; 4 << 20]).len() });
    /// assert_eq!(runtime.block_on(task)?, 4 << 20);
    ///
    /// let error = Builder::new_multi_thread().thread_stack_size(1_000).build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_stack_size(&mut self, bytes: usize) -> &mut Self {
        self.config.stack_size = bytes;
        self
    }

    /// What becomes of the process when a task overflows its stack. Default: it aborts, with a report on standard error.
    ///
    /// [`OnStackOverflow::FailTask`] has an example, and what it costs.
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
    /// let error = runtime.block_on(runtime.spawn(async { depth(u64::MAX) })).unwrap_err();
    /// assert!(error.is_stack_overflow());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_stack_overflow(&mut self, choice: OnStackOverflow) -> &mut Self {
        self.config.on_overflow = choice;
        self
    }

    /// How many worker threads there should be at most, blocked ones included. Default 512.
    ///
    /// Should all of them be blocked in the kernel while tasks wait, one message goes to standard error, and more
    /// are made, each when it is needed and up to 1,024 beyond: tasks do not wait for what the bound saves.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` if it leaves no room for two beside those of
    /// [`worker_threads`](Self::worker_threads); on a current-thread runtime, if it is 0.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread().worker_threads(2).max_threads(4).build()?;
    /// assert!(runtime.metrics().worker_threads() <= 4);
    ///
    /// let error = Builder::new_multi_thread().worker_threads(2).max_threads(3).build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn max_threads(&mut self, count: usize) -> &mut Self {
        self.config.max_threads = count;
        self
    }

    /// How many threads `spawn_blocking` may use. Default 512.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    ///
    /// ```
    /// use std::thread;
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread().max_blocking_threads(1).build()?;
    /// let closures = [(); 10].map(|()| runtime.spawn_blocking(|| thread::current().id()));
    /// let threads = closures.map(|closure| runtime.block_on(closure).unwrap());
    /// assert_eq!(threads, [threads[0]; 10]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn max_blocking_threads(&mut self, count: usize) -> &mut Self {
        assert!(
            count > 0,
            "max_blocking_threads cannot be 0: use at least 1"
        );
        self.config.max_blocking_threads = count;
        self
    }

    /// How long an idle thread of `spawn_blocking` is kept. Default 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .thread_keep_alive(Duration::from_millis(1))
    ///     .build()?;
    /// runtime.block_on(runtime.spawn_blocking(|| ()))?;
    /// // Soon nothing is left of it.
    /// assert!((0..5_000).any(|_| {
    ///     std::thread::sleep(Duration::from_millis(1));
    ///     runtime.metrics().num_blocking_threads() == 0
    /// }));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_keep_alive(&mut self, duration: Duration) -> &mut Self {
        self.config.thread_keep_alive = duration;
        self
    }

    /// Runs `hook` once for every thread identity that tasks run under, and on every thread of
    /// `spawn_blocking`. What it leaves in thread-locals is there in every poll.
    ///
    /// Not on threads that call `block_on`: those are the caller's, on a current-thread runtime as well.
    ///
    /// A hook that panics is reported by the panic hook, and the thread goes on.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// thread_local!(static SEED: Cell<u32> = const { Cell::new(0) });
    ///
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .on_thread_start(|| SEED.set(7))
    ///     .build()?;
    /// assert_eq!(runtime.block_on(runtime.spawn(async { SEED.get() }))?, 7);
    /// assert_eq!(runtime.block_on(runtime.spawn_blocking(|| SEED.get()))?, 7);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_start<F: Fn() + Send + Sync + 'static>(&mut self, hook: F) -> &mut Self {
        self.config.on_thread_start = Some(Arc::new(hook));
        self
    }

    /// Runs `hook` when such an identity ends. Its panic is as in [`on_thread_start`](Self::on_thread_start).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let (starts, stops) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    /// let (start, stop) = (starts.clone(), stops.clone());
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .on_thread_start(move || { start.fetch_add(1, Ordering::Relaxed); })
    ///     .on_thread_stop(move || { stop.fetch_add(1, Ordering::Relaxed); })
    ///     .build()?;
    /// runtime.block_on(runtime.spawn(async {}))?;
    /// drop(runtime);
    /// assert!(starts.load(Ordering::Relaxed) > 0);
    /// assert_eq!(stops.load(Ordering::Relaxed), starts.load(Ordering::Relaxed));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn on_thread_stop<F: Fn() + Send + Sync + 'static>(&mut self, hook: F) -> &mut Self {
        self.config.on_thread_stop = Some(Arc::new(hook));
        self
    }

    /// Whether the clock stands still from the start, as after [`time::pause`](crate::time::pause()). Default: no. On
    /// current-thread runtimes only.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns `InvalidInput` if it is true for a multi-thread runtime. (Tokio's panics.)
    ///
    /// ```
    /// use preemptive::time::{Duration, Instant, sleep};
    ///
    /// let runtime = preemptive::runtime::Builder::new_current_thread()
    ///     .start_paused(true)
    ///     .build()
    ///     .unwrap();
    /// runtime.block_on(async {
    ///     let start = Instant::now();
    ///     sleep(Duration::from_secs(86_400)).await;
    ///     assert_eq!(start.elapsed(), Duration::from_secs(86_400));
    /// });
    /// ```
    pub fn start_paused(&mut self, start_paused: bool) -> &mut Self {
        self.config.start_paused = start_paused;
        self
    }

    /// Builds a runtime that stays on the calling thread, whose tasks need not be `Send`: see [`LocalRuntime`].
    ///
    /// # Panics
    ///
    /// On a builder of a multi-thread runtime.
    ///
    /// # Errors
    ///
    /// As for [`build`](Self::build).
    ///
    /// ```
    /// use preemptive::runtime::{Builder, LocalOptions};
    ///
    /// let runtime = Builder::new_current_thread().build_local(LocalOptions::default())?;
    /// let task = runtime.spawn_local(async { std::rc::Rc::new(42) });
    /// assert_eq!(*runtime.block_on(task).unwrap(), 42);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn build_local(&mut self, options: LocalOptions) -> io::Result<LocalRuntime> {
        let _ = options;
        assert!(
            self.config.home,
            "multi_thread is not supported for LocalRuntime: use `Builder::new_current_thread`"
        );
        let mut builder = self.clone();
        builder.home_only.get_or_insert(true);
        Ok(LocalRuntime::new_from(builder.build()?))
    }

    /// Builds the runtime and starts its threads.
    ///
    /// # Errors
    ///
    /// A value out of range (`InvalidInput`), a machine that cannot do it (`Unsupported`), no memory or no
    /// threads. Each message names the cure; nothing is left behind.
    ///
    /// ```
    /// use preemptive::runtime::Builder;
    ///
    /// let runtime = Builder::new_multi_thread().build()?;
    /// assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    ///
    /// let error = Builder::new_multi_thread().thread_stack_size(1_000).build().unwrap_err();
    /// assert_eq!(error.to_string(), "a stack of 1000 bytes is too small: use at least 65536");
    /// # std::io::Result::Ok(())
    /// ```
    pub fn build(&mut self) -> io::Result<Runtime> {
        let mut config = self.config.clone();
        config.home_only = config.home && self.home_only == Some(true);
        config.worker_threads = match self.worker_threads {
            _ if config.home => 1,
            Some(count) => count,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let nanos = |slice: Duration| slice.as_nanos().try_into().unwrap_or(u64::MAX);
        if let Some(slice) = self.time_slice {
            config.slice = nanos(slice);
        } else if let Some(slice) = environment::time_slice()? {
            config.slice = nanos(slice.max(self.min_slice.unwrap_or_default()));
        }
        config.min_slice = match self.min_slice {
            Some(slice) => nanos(slice),
            None => DEFAULT_MIN_SLICE.min(config.slice),
        };
        config.check()?;
        if !(0.01..=0.9).contains(&self.batch_share) {
            return Err(bad(format!(
                "a batch share of {} is out of range: use 0.01 to 0.9",
                self.batch_share
            )));
        }
        config.batch_per_task =
            (self.batch_share / (1.0 - self.batch_share) * PARTS as f64).round() as u64;
        config.watches_polls =
            config.poll_times || config.hooks.watch_polls() || config.timeline.is_some();
        config.async_preempt &= environment::allows_async_preempt() && !config.home_only;
        signal::install(config.signal)?;
        let own = [config.signal, 32, 33].map(|signal| 1_u64 << (signal - 1));
        config.mask = sys::sigmask(None) & !own.iter().fold(0, |mask, bit| mask | bit);
        let start_paused = config.start_paused;
        let timeline = config.timeline.as_ref().map(Timeline::new).transpose()?;
        let shared = Arc::new(Shared::new(config, timeline));
        if start_paused {
            let now = Instant::real().to_monotonic();
            assert!(shared.timers.pause(now).is_ok(), "`check` has seen to it");
        }
        let attendants = shutdown::start(&shared)?;
        Ok(Runtime::new_from(shared, attendants))
    }
}
