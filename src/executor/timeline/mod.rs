//! A timeline to look at: what every worker did, in a file that trace viewers open.
//!
//! ```text
//!   worker 0 ── recorder ──▶ ring ──┐
//!   worker 1 ── recorder ──▶ ring ──┤
//!   monitor ───────────────▶ ring ──┼──▶ the recording thread: merges by time ──▶ tracks ──▶ JSON ──▶ the file
//!   lenders ──── lock ─────▶ ring ──┘
//! ```
//!
//! - `event`: what is recorded, as plain numbers; `ring`: how it gets from one thread to another, and what happens if there is
//!   no room;
//! - `recorder`: where it is recorded: in critical sections, so nothing is allocated and no lock is taken (R1);
//! - `tracks`: slices and arrows out of events; `json`: how they are written; `writer`: the thread that does it.
//!
//! The recording thread is an ordinary one, like the supplier: it allocates, and may wait for a lock that a preempted poll
//! holds. Nobody waits for it, until the end of the runtime. It comes round [every so often](writer::INTERVAL), and when a ring
//! is half full.
//!
//! Whoever records does not know whether it is in time. What finds no room is left out and counted, and the file says where.
//!
//! # fork
//!
//! The child has no recording thread, and nobody else has the file. What it records stays in its copy of the rings.
//!
//! The idea of a scheduler's own execution trace, with per-processor buffers that a reader drains, is Go's (`runtime/trace`); the
//! format is Chrome's Trace Event Format, which Perfetto reads as well.

mod event;
mod file;
mod json;
mod recorder;
pub(crate) mod ring;
mod tracks;
mod writer;

pub(super) use event::{Lost, What, Why};
pub(super) use recorder::{Recorder, begins, begins_timers, ends, is_called};

use super::builder::Builder;
use super::shared::Shared;
use crate::preempt::signal;
use crate::primitives::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::primitives::{Arc, Mutex, OnceLock, RawLock};
use crate::sys;
use file::File;
use ring::{Record, Ring};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

/// How many records a worker's ring has room for, 32 bytes each. A poll that is not interrupted takes two.
const ROOM: usize = 4096;
/// How long a runtime's end waits for the file, in nanoseconds, if it is not to wait at all for its tasks.
const GRACE: u64 = 2_000_000_000;

/// What a builder is told.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    path: PathBuf,
    room: usize,
}

/// A timeline that is being recorded. See the module's head.
pub(crate) struct Timeline {
    room: usize,
    /// What times count from.
    base: u64,
    /// What the recording thread sleeps on: 1 if it is to come.
    word: AtomicU32,
    ends: AtomicBool,
    /// 1: it has finished the file. A futex word.
    done: AtomicU32,
    /// The monitor's.
    monitor: Ring,
    /// Of threads that go on with a poll of their own, under the lock.
    lenders: Ring,
    lock: RawLock,
    /// The file, until the recording thread takes it.
    file: Mutex<Option<File>>,
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// What times count from in all files of this process: when the first was begun.
fn base() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(sys::now)
}

impl Timeline {
    /// Opens the file.
    pub(super) fn new(choice: &Choice) -> io::Result<Arc<Timeline>> {
        let file = File::open(&choice.path)?;
        Ok(Arc::new(Timeline {
            room: choice.room,
            base: base(),
            word: AtomicU32::new(0),
            ends: AtomicBool::new(false),
            done: AtomicU32::new(0),
            monitor: Ring::new(choice.room.min(ROOM / 4)),
            lenders: Ring::new(choice.room.min(ROOM / 4)),
            lock: RawLock::new(),
            file: Mutex::new(Some(file)),
        }))
    }

    /// Has the recording thread come. Async-signal-safe.
    fn wake(&self) {
        if self.word.swap(1, Ordering::SeqCst) == 0 {
            sys::futex_wake(&self.word, 1);
        }
    }

    /// Records something on a lender. In a critical section.
    fn lenders(&self, group: &[Record]) {
        self.lock.lock();
        let is_half_full = self.lenders.push(group);
        self.lock.unlock();
        if is_half_full {
            self.wake();
        }
    }

    /// The monitor has taken a worker's processor. The monitor only.
    pub(crate) fn monitor_takes(&self, time: u64, processor: usize, worker: usize) {
        let record = event::taken(time, processor as u32, worker as u64);
        if self.monitor.push(&[record]) {
            self.wake();
        }
    }
}

/// Starts the recording thread, if there is to be one.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Option<JoinHandle<()>>> {
    let Some(timeline) = &shared.timeline else {
        return Ok(None);
    };
    let file = timeline
        .file
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .take();
    let Some(file) = file else { return Ok(None) };
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name("preemptive-timeline".to_owned())
        .spawn(move || writer::run(&shared, file))
        .map(Some)
}

/// Has the file finished, the last thing that a runtime does. It is waited for; with a deadline, for [`GRACE`] beyond that at
/// most.
pub(super) fn finish(shared: &Shared, thread: Option<JoinHandle<()>>, deadline: Option<u64>) {
    let (Some(timeline), Some(thread)) = (&shared.timeline, thread) else {
        return;
    };
    // The child of a fork has no such thread.
    if signal::is_forked() {
        return;
    }
    timeline.ends.store(true, Ordering::SeqCst);
    timeline.wake();
    let until = deadline.map(|deadline| deadline.max(sys::now()) + GRACE);
    while timeline.done.load(Ordering::SeqCst) == 0 {
        if until.is_some_and(|until| sys::now() >= until) {
            return;
        }
        sys::futex_wait(&timeline.done, 0, until);
    }
    let _ = thread.join();
}

impl Builder {
    /// Records what every worker does into a file that trace viewers show as a timeline. Default: nothing is recorded.
    ///
    /// The file is in Chrome's [Trace Event Format] (JSON). [Perfetto](https://ui.perfetto.dev) opens it, and so does
    /// `chrome://tracing`. There is a track for each worker thread with what it ran and when: polls, named by the task's
    /// [name](crate::task::Builder::name) or by where it was spawned; the time that it was idle, or woke tasks whose timers
    /// were due; where a poll was blocked in the kernel, and the processor was handed over. A poll that was preempted, or
    /// that [waits for a channel](mod@crate::sync::channel), is in several pieces, with arrows from each to the next. A second group
    /// of tracks shows which worker had each processor. `docs/debugging.md` has more of how to read it.
    ///
    /// While it records, a poll costs some 100 ns more, and takes some 150 bytes of the file. Where polls follow one another
    /// faster than they can be written, some are left out; the file says where, and how many.
    ///
    /// A file that is there is overwritten. It is complete when the runtime has been shut down or dropped, which waits for that.
    /// Should the process end before, or the runtime be leaked, the file lacks its last line and what happened in the last
    /// instants; viewers open it all the same. If writing fails, a message on standard error says so, and the runtime goes on.
    /// The child of a `fork` writes nothing.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) returns the error, which names the path, if the file cannot be created; `ResourceBusy` while another
    /// runtime of the process records into the same file.
    ///
    /// ```
    /// # let directory = std::env::temp_dir().join(format!("timeline-doc-{}", std::process::id()));
    /// # std::fs::create_dir_all(&directory)?;
    /// # let path = directory.join("timeline.json");
    /// let runtime = preemptive::runtime::Builder::new_multi_thread()
    ///     .worker_threads(2)
    ///     .record_timeline(&path)
    ///     .build()?;
    /// runtime.block_on(async {
    ///     preemptive::task::Builder::new().name("adder").spawn(async { 1 + 1 })?.await?;
    ///     std::io::Result::Ok(())
    /// })?;
    /// drop(runtime);
    /// let text = std::fs::read_to_string(&path)?;
    /// assert!(text.starts_with('[') && text.ends_with("]\n"));
    /// assert!(text.contains("\"adder\""));
    /// # std::fs::remove_dir_all(&directory)?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// [Trace Event Format]: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
    pub fn record_timeline(&mut self, path: impl AsRef<Path>) -> &mut Self {
        self.config.timeline = Some(Choice {
            path: path.as_ref().to_owned(),
            room: ROOM,
        });
        self
    }

    /// For tests: so few records are kept at a time that some are lost.
    pub(super) fn timeline_room(&mut self, records: usize) {
        if let Some(choice) = &mut self.config.timeline {
            choice.room = records;
        }
    }
}
