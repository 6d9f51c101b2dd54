//! The thread that writes the file.
//!
//! Every ring is in the order of time; what is drawn needs all of them in one. So records are merged by their time, and those of
//! the last instants wait for the next round: somebody may have read the clock by then, and not pushed yet.

use super::Timeline;
use super::event::{Decoder, Event};
use super::file::File;
use super::ring::{Record, Ring};
use super::tracks::{Source, Tracks};
use crate::executor::shared::Shared;
use crate::primitives::Arc;
use crate::primitives::atomic::Ordering;
use crate::sys;

/// How often it comes round, in nanoseconds: what a process that is killed loses of its timeline.
pub(super) const INTERVAL: u64 = 25_000_000;
/// And how often while nothing happens.
const LAZY_INTERVAL: u64 = 250_000_000;
/// After so many rounds without anything.
const QUIET: u32 = 10;
/// Records so recent are left for the next round.
const HOLD_BACK: u64 = 5_000_000;
/// Bytes that are written at a time.
const CHUNK: usize = 1 << 20;

/// One ring, as it is read.
#[derive(Debug)]
struct Input {
    source: Source,
    decoder: Decoder,
}

impl Input {
    fn new(source: Source) -> Input {
        Input {
            source,
            decoder: Decoder::default(),
        }
    }

    fn take(&mut self, record: Record, pending: &mut Vec<(u64, Source, Event)>) {
        if let Some((time, event)) = self.decoder.next(record) {
            pending.push((time, self.source, event));
        }
    }

    fn drain(&mut self, ring: &Ring, pending: &mut Vec<(u64, Source, Event)>) {
        ring.drain(|record| self.take(record, pending));
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    timeline: &'a Timeline,
    file: File,
    tracks: Tracks,
    monitor: Input,
    lenders: Input,
    workers: Vec<Input>,
    /// What has been taken out of the rings and not been drawn.
    pending: Vec<(u64, Source, Event)>,
}

impl Writer<'_> {
    /// Takes out what there is in all rings; at the end, what they have not told of, too.
    fn gather(&mut self, is_last: bool) {
        let pending = &mut self.pending;
        let untold = |input: &mut Input, ring: &Ring, pending: &mut Vec<_>| {
            if let Some(record) = ring.untold().filter(|_| is_last) {
                input.take(record, pending);
            }
        };
        let others = [
            (&mut self.monitor, &self.timeline.monitor),
            (&mut self.lenders, &self.timeline.lenders),
        ];
        for (input, ring) in others {
            input.drain(ring, pending);
            untold(input, ring, pending);
        }
        for (index, worker) in self.shared.all_workers().enumerate() {
            if index == self.workers.len() {
                self.workers.push(Input::new(Source::Worker(index)));
            }
            if let Some(recorder) = &worker.recorder {
                let input = &mut self.workers[index];
                input.drain(&recorder.ring, pending);
                untold(input, &recorder.ring, pending);
            }
        }
        // Stable: what one ring has of the same time stays in order.
        pending.sort_by_key(|(time, ..)| *time);
    }

    /// Draws what was before `until`.
    fn draw(&mut self, until: u64) {
        let count = self.pending.partition_point(|(time, ..)| *time < until);
        for (time, source, event) in self.pending.drain(..count) {
            self.tracks.apply(source, time, event);
            if self.tracks.text.bytes.len() >= CHUNK {
                self.file.write(&mut self.tracks.text.bytes);
            }
        }
    }

    fn depths(&self) -> [usize; 2] {
        let shared = self.shared;
        let processors = shared.processors.iter();
        let own: usize = processors
            .map(|processor| processor.queue.len() + usize::from(!processor.slot.is_empty()))
            .sum();
        [shared.global.len() + own, shared.batch.len()]
    }

    /// One round. False: nothing has happened.
    fn round(&mut self, is_last: bool) -> bool {
        let now = sys::now();
        self.gather(is_last);
        let is_busy = !self.pending.is_empty();
        self.draw(match is_last {
            true => u64::MAX,
            false => now.saturating_sub(HOLD_BACK),
        });
        self.tracks.depths(now, self.depths());
        if is_last {
            self.tracks.finish(sys::now());
        } else {
            self.tracks.write_long(now);
        }
        self.file.write(&mut self.tracks.text.bytes);
        is_busy
    }
}

/// Says that the thread is done, however it ends: somebody waits for that.
struct Done<'a>(&'a Timeline);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.store(1, Ordering::SeqCst);
        sys::futex_wake(&self.0.done, u32::MAX >> 1);
    }
}

/// The thread's work.
pub(super) fn run(shared: &Arc<Shared>, file: File) {
    let Some(timeline) = &shared.timeline else {
        return;
    };
    let _done = Done(timeline);
    let name = match &shared.config.name {
        Some(name) => name.clone(),
        None => format!("runtime {}", shared.id),
    };
    let processors = shared.processors.len();
    let mut writer = Writer {
        shared,
        timeline,
        file,
        tracks: Tracks::new(timeline.base, shared.id.number(), &name, processors),
        monitor: Input::new(Source::Monitor),
        lenders: Input::new(Source::Lenders),
        workers: Vec::new(),
        pending: Vec::new(),
    };
    let mut quiet = 0;
    loop {
        // In this order: who ends the recording says so, and then asks; and what was recorded before is drained after.
        timeline.word.store(0, Ordering::SeqCst);
        let ends = timeline.ends.load(Ordering::SeqCst);
        let is_busy = !writer.file.has_failed() && writer.round(ends);
        if ends {
            break;
        }
        quiet = if is_busy { 0 } else { quiet + 1 };
        let interval = match quiet > QUIET {
            true => LAZY_INTERVAL,
            false => INTERVAL,
        };
        sys::futex_wait(&timeline.word, 0, Some(sys::now() + interval));
    }
    // Before it is said to be done: the file is closed by then.
    drop(writer);
}
