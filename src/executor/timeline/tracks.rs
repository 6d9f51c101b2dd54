//! From events to what is seen: slices on tracks, arrows between them, counters.
//!
//! There are two groups of tracks. In the first each worker has one, with what it does: slices that follow one another, and
//! inside of those the time that a poll goes on without a processor. In the second each processor has one, with the worker that
//! has it.
//!
//! A slice is written when it ends, in one line. One that goes on for [`LONG`] is written in two, the first of them then: a
//! poll that never ends is seen even if the process is killed.
//!
//! After a gap it is not known what the worker does until it begins something, or what it does ends. All of that is one
//! slice, which says how much is missing.

use super::event::{Event, Hop, Lost, What, Why, Work};
use super::json::{Place, Text};
use std::collections::HashMap;
use std::panic::Location;

/// After so many nanoseconds the begin of a slice is written without its end.
pub(super) const LONG: u64 = 100_000_000;
/// Of so many tasks at a time the polls are counted.
const COUNTED: usize = 1 << 16;
/// Where the numbers of tracks begin. To Perfetto, 0 is no number, and one that is the group's own is its main thread.
const FIRST: u64 = 1000;
/// Where the numbers of lenders' tracks begin.
const LENDERS: u64 = 100_000;

/// Whose ring an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Worker(usize),
    Monitor,
    Lenders,
}

/// A slice that has not ended.
#[derive(Debug)]
struct Open {
    name: String,
    since: u64,
    /// Its begin has been written.
    is_written: bool,
    work: Work,
    /// What its task is called, and what is known of that so far.
    called: Option<String>,
    bytes: Vec<u8>,
    processor: Option<u32>,
    polls: Option<u32>,
    hop: Option<Hop>,
}

impl Open {
    /// Another part of its task's name.
    fn is_called(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        // The last character may be cut.
        let name = String::from_utf8_lossy(&self.bytes);
        let name = name.trim_end_matches('\u{fffd}').to_owned();
        // The begin and the end of a slice have one name.
        if !self.is_written {
            self.name.clone_from(&name);
        }
        self.called = Some(name);
    }
}

/// The time without a processor, or with one.
#[derive(Clone, Copy, Debug)]
struct Span {
    since: u64,
    is_written: bool,
}

impl Span {
    fn new(since: u64) -> Span {
        Span {
            since,
            is_written: false,
        }
    }
}

/// A worker's track.
#[derive(Debug, Default)]
struct Track {
    is_announced: bool,
    open: Option<Open>,
    blocked: Option<Span>,
    holds: Option<(u32, Span)>,
    /// Since when nothing is known of it, and how much is missing.
    gap: Option<(u64, u64)>,
}

/// What is known of a poll that has left its worker.
#[derive(Debug)]
struct Parted {
    /// What its task is called.
    name: Option<String>,
    polls: Option<u32>,
}

/// How often each task was polled, as far as that is known.
#[derive(Debug, Default)]
struct Polls {
    counts: HashMap<u64, u32>,
    /// Of tasks with lower numbers it is not known.
    known_from: u64,
    last: u64,
}

impl Polls {
    fn count(&mut self, task: u64) -> Option<u32> {
        self.last = self.last.max(task);
        if task < self.known_from {
            return None;
        }
        if self.counts.len() >= COUNTED && !self.counts.contains_key(&task) {
            self.counts.clear();
            self.known_from = self.last.saturating_add(1);
            return None;
        }
        let count = self.counts.entry(task).or_default();
        *count += 1;
        Some(*count)
    }

    /// Some polls have not been recorded.
    fn forget(&mut self) {
        self.counts.clear();
        self.known_from = u64::MAX;
    }
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Tracks {
    pub(super) text: Text,
    /// The numbers of the two groups.
    workers: u64,
    processors: u64,
    tracks: Vec<Track>,
    /// Lenders that have a track.
    lenders: Vec<u64>,
    polls: Polls,
    /// Polls that go on elsewhere, by the number of their parting.
    parted: HashMap<u64, Parted>,
    lost: u64,
    /// What counters showed last.
    depths: [Option<usize>; 2],
}

fn words(why: Why) -> &'static str {
    match why {
        Why::ForTask => "preempted: a task waited",
        Why::ForTimer => "preempted: a timer was due",
        Why::SliceUsedUp => "preempted: its slice was used up",
        Why::ForPreempted => "preempted: preempted polls had their turn",
        Why::CameBack => "preempted: it had no processor any more",
        Why::Parked => "parked",
        Why::GivenBack => "given back to a thread of its own",
        Why::Overflowed => "its stack has overflowed",
    }
}

/// Where a task was spawned.
fn location(work: &Work) -> Option<&'static Location<'static>> {
    // SAFETY: 0, or the address of such a value: `recorder` takes it from a fiber, which has it from its task.
    unsafe { (work.location as *const Location<'static>).as_ref() }
}

fn name_of(work: &Work) -> String {
    match work.what {
        What::Poll => match location(work) {
            Some(at) => format!("{}:{}", at.file(), at.line()),
            None => format!("task {}", work.task),
        },
        What::Root => "block_on".to_owned(),
        What::Timers => "timers".to_owned(),
        What::Idle => "idle".to_owned(),
        What::Hook => "hook".to_owned(),
        What::Drain => "dropping tasks".to_owned(),
    }
}

impl Tracks {
    /// Begins a file for the runtime with this number.
    pub(super) fn new(base: u64, runtime: u64, name: &str, processors: usize) -> Tracks {
        let mut tracks = Tracks {
            text: Text::new(base),
            workers: 2 * runtime - 1,
            processors: 2 * runtime,
            tracks: Vec::new(),
            lenders: Vec::new(),
            polls: Polls::default(),
            parted: HashMap::new(),
            lost: 0,
            depths: [None; 2],
        };
        let groups = [
            (tracks.workers, "workers"),
            (tracks.processors, "processors"),
        ];
        for (group, what) in groups {
            let place = Place {
                group,
                track: FIRST,
            };
            let text = &mut tracks.text;
            text.event("M", "process_name", place)
                .text("name", &format!("{name}: {what}"));
            text.event("M", "process_sort_index", place)
                .number("sort_index", group);
        }
        for index in 0..processors {
            let place = tracks.processor(index as u32);
            tracks.announce(place, &format!("processor {index}"));
        }
        tracks
    }

    fn announce(&mut self, place: Place, name: &str) {
        let text = &mut self.text;
        text.event("M", "thread_name", place).text("name", name);
        text.event("M", "thread_sort_index", place)
            .number("sort_index", place.track);
    }

    fn worker(&self, index: usize) -> Place {
        Place {
            group: self.workers,
            track: FIRST + index as u64,
        }
    }

    fn processor(&self, index: u32) -> Place {
        Place {
            group: self.processors,
            track: FIRST + u64::from(index),
        }
    }

    fn track(&mut self, index: usize) -> &mut Track {
        if self.tracks.len() <= index {
            self.tracks.resize_with(index + 1, Track::default);
        }
        if !self.tracks[index].is_announced {
            self.tracks[index].is_announced = true;
            self.announce(self.worker(index), &format!("worker {index}"));
        }
        &mut self.tracks[index]
    }

    /// The next event, in the order of time.
    pub(super) fn apply(&mut self, source: Source, time: u64, event: Event) {
        match (source, event) {
            (Source::Worker(index), event) => self.of_worker(index, time, event),
            (_, Event::Taken { processor, worker }) => {
                let index = worker as usize;
                self.hand_over(index, time, Some(processor), "the monitor");
                self.lose(index, time, processor);
            }
            (_, Event::Alone(work, hop, thread)) => self.alone(time, work, hop, thread),
            (_, Event::Gap(count)) => {
                self.lost += count;
                let place = self.worker(0);
                self.text
                    .event("i", "not recorded", place)
                    .at(time)
                    .with("s", "p")
                    .number("lost", count);
            }
            _ => {}
        }
    }

    fn of_worker(&mut self, index: usize, time: u64, event: Event) {
        if let Event::Gap(count) = event {
            self.close(index, time, Some("not recorded"), None);
            self.polls.forget();
            // Some of these have come to their ends.
            self.parted.clear();
            self.lost += count;
            self.track(index).gap = Some((time, count));
            return;
        }
        if let Some((since, count)) = self.track(index).gap.take() {
            let place = self.worker(index);
            self.text
                .event("X", "not recorded", place)
                .at(since)
                .lasting(time.saturating_sub(since))
                .number("lost", count);
        }
        match event {
            Event::Begin(work, processor) => self.open(index, time, work, processor, None),
            Event::Come(work, processor, hop) => {
                self.open(index, time, work, processor, Some(hop));
            }
            Event::Name(bytes) => {
                if let Some(open) = &mut self.track(index).open {
                    open.is_called(&bytes);
                }
            }
            Event::End => self.close(index, time, None, None),
            Event::Go(why, hop) => {
                let hop = (why != Why::Overflowed).then_some(hop);
                self.close(index, time, Some(words(why)), hop);
            }
            Event::Got(processor) => self.hold(index, time, processor),
            Event::Left(why) => self.left(index, time, why),
            Event::Taken { .. } | Event::Alone(..) | Event::Gap(_) => {}
        }
    }

    fn open(
        &mut self,
        index: usize,
        time: u64,
        work: Work,
        processor: Option<u32>,
        hop: Option<Hop>,
    ) {
        self.close(index, time, None, None);
        // Only after a gap is this news.
        if let Some(processor) = processor
            && self
                .track(index)
                .holds
                .is_none_or(|held| held.0 != processor)
        {
            self.hold(index, time, processor);
        }
        let mut open = self.continued(time, work, hop);
        open.processor = processor;
        if work.what == What::Poll && hop.is_none() {
            open.polls = self.polls.count(work.task);
        }
        self.track(index).open = Some(open);
        if work.what == What::Timers && work.location > 0 {
            let place = self.worker(0);
            self.text
                .event("C", "timers late (us)", place)
                .at(time)
                .duration("by", work.location - 1);
        }
    }

    /// A slice for this, with what is known from before.
    fn continued(&mut self, since: u64, work: Work, hop: Option<Hop>) -> Open {
        let parted = hop.and_then(|hop| self.parted.remove(&hop.number));
        let (name, polls) = parted.map_or((None, None), |parted| (parted.name, parted.polls));
        Open {
            name: name.clone().unwrap_or_else(|| name_of(&work)),
            called: name,
            bytes: Vec::new(),
            since,
            is_written: false,
            work,
            processor: None,
            polls,
            hop,
        }
    }

    /// Ends what the worker does.
    fn close(&mut self, index: usize, time: u64, left: Option<&str>, hop: Option<u64>) {
        let place = self.worker(index);
        let track = self.track(index);
        let blocked = track.blocked.take();
        let Some(open) = track.open.take() else {
            return;
        };
        let time = time.max(open.since);
        if let Some(span) = blocked {
            self.span(place, "blocked", span, time);
        }
        if open.is_written {
            let line = self.text.event("E", &open.name, place).at(time);
            drop(match left {
                Some(left) => line.text("then", left),
                None => line,
            });
        } else {
            self.begin(place, &open, Some((time, left)));
        }
        if let Some(hop) = hop {
            // One that nobody comes for, because that was not recorded, is not kept for ever.
            if self.parted.len() >= COUNTED {
                self.parted.clear();
            }
            let parted = Parted {
                name: open.called,
                polls: open.polls,
            };
            self.parted.insert(hop, parted);
            // Inside of the slice: at its end it is over.
            let time = (time - 1).max(open.since);
            self.text
                .event("s", "goes on", place)
                .at(time)
                .id(hop)
                .with("cat", "poll");
        }
    }

    /// Writes a slice, or the begin of one that has not ended, and the arrow to it.
    fn begin(&mut self, place: Place, open: &Open, end: Option<(u64, Option<&str>)>) {
        let phase = if end.is_some() { "X" } else { "B" };
        let work = &open.work;
        let mut line = self.text.event(phase, &open.name, place).at(open.since);
        if let Some((end, _)) = end {
            line = line.lasting(end - open.since);
        }
        match work.what {
            What::Poll => line = line.with("cat", "poll").number("task", work.task),
            What::Timers => {
                line = line.with("cat", "timers").number("wakes", work.task);
                if let Some(late) = work.location.checked_sub(1).filter(|_| open.hop.is_none()) {
                    line = line.duration("late_us", late);
                }
            }
            What::Idle => line = line.with("cat", "idle"),
            What::Root | What::Hook | What::Drain => line = line.with("cat", "runtime"),
        }
        if open.called.is_some()
            && let Some(at) = location(work)
        {
            line = line.text("spawned", &at.to_string());
        }
        if let Some(polls) = open.polls {
            line = line.number("polls", u64::from(polls));
        }
        if let Some(processor) = open.processor {
            line = line.number("processor", u64::from(processor));
        }
        if let Some(hop) = open.hop {
            line = line.duration("waited_us", open.since.saturating_sub(hop.left));
        }
        if let Some((_, Some(left))) = end {
            line = line.text("then", left);
        }
        drop(line);
        if let Some(hop) = open.hop {
            self.text
                .event("f", "goes on", place)
                .at(open.since)
                .id(hop.number)
                .with("bp", "e")
                .with("cat", "poll");
        }
    }

    fn span(&mut self, place: Place, name: &str, span: Span, end: u64) {
        let end = end.max(span.since);
        match span.is_written {
            true => drop(self.text.event("E", name, place).at(end)),
            false => drop(
                self.text
                    .event("X", name, place)
                    .at(span.since)
                    .lasting(end - span.since),
            ),
        }
    }

    fn hold(&mut self, index: usize, time: u64, processor: u32) {
        self.release(index, time);
        // After a gap, or if the monitor was slow to say so: nobody else has it any more.
        for other in 0..self.tracks.len() {
            if self.tracks[other]
                .holds
                .is_some_and(|held| held.0 == processor)
            {
                self.release(other, time);
            }
        }
        self.track(index).holds = Some((processor, Span::new(time)));
    }

    fn release(&mut self, index: usize, time: u64) -> Option<u32> {
        let (processor, span) = self.track(index).holds.take()?;
        let place = self.processor(processor);
        self.span(place, &format!("worker {index}"), span, time);
        Some(processor)
    }

    fn left(&mut self, index: usize, time: u64, why: Lost) {
        // None: the monitor has said so already.
        let processor = self.release(index, time);
        if why == Lost::HandedOver {
            self.hand_over(index, time, processor, "its worker");
        }
        if matches!(why, Lost::HandedOver | Lost::Taken) {
            self.goes_without(index, time);
        }
    }

    /// The monitor has taken this processor.
    fn lose(&mut self, index: usize, time: u64, processor: u32) {
        let holds = self.track(index).holds;
        // It may have said so itself meanwhile, and have another by now, or the same again.
        if holds.is_some_and(|(held, span)| held == processor && span.since <= time) {
            self.release(index, time);
            self.goes_without(index, time);
        }
    }

    fn goes_without(&mut self, index: usize, time: u64) {
        let track = self.track(index);
        if track.open.as_ref().is_some_and(|open| open.since <= time) {
            track.blocked.get_or_insert(Span::new(time));
        }
    }

    fn hand_over(&mut self, index: usize, time: u64, processor: Option<u32>, by: &str) {
        let place = self.worker(index);
        let line = self
            .text
            .event("i", "hand-over", place)
            .at(time)
            .with("s", "t")
            .with("cat", "processor")
            .text("by", by);
        drop(match processor {
            Some(processor) => line.number("processor", u64::from(processor)),
            None => line,
        });
    }

    /// Something has ended on a lender.
    fn alone(&mut self, time: u64, work: Work, hop: Hop, thread: u64) {
        let place = Place {
            group: self.workers,
            track: LENDERS + thread,
        };
        if !self.lenders.contains(&thread) {
            self.lenders.push(thread);
            self.announce(place, &format!("given back to thread {thread}"));
        }
        let open = self.continued(hop.left.min(time), work, Some(hop));
        self.begin(place, &open, Some((time, None)));
    }

    /// How many tasks and how many preempted polls wait.
    pub(super) fn depths(&mut self, time: u64, depths: [usize; 2]) {
        for (index, name) in ["runnable tasks", "preempted polls"].iter().enumerate() {
            if self.depths[index].replace(depths[index]) != Some(depths[index]) {
                let place = self.worker(0);
                self.text
                    .event("C", name, place)
                    .at(time)
                    .number("waiting", depths[index] as u64);
            }
        }
    }

    /// Writes the begins of what goes on for long already.
    pub(super) fn write_long(&mut self, now: u64) {
        let is_long = |since: u64| now.saturating_sub(since) >= LONG;
        for index in 0..self.tracks.len() {
            let place = self.worker(index);
            if let Some((processor, mut span)) = self.tracks[index].holds
                && is_long(span.since)
                && !std::mem::replace(&mut span.is_written, true)
            {
                self.tracks[index].holds = Some((processor, span));
                let place = self.processor(processor);
                drop(
                    self.text
                        .event("B", &format!("worker {index}"), place)
                        .at(span.since),
                );
            }
            if let Some(mut open) = self.tracks[index].open.take() {
                if is_long(open.since) && !std::mem::replace(&mut open.is_written, true) {
                    self.begin(place, &open, None);
                }
                self.tracks[index].open = Some(open);
            }
            if let Some(span) = &mut self.tracks[index].blocked
                && is_long(span.since)
                && !std::mem::replace(&mut span.is_written, true)
            {
                drop(self.text.event("B", "blocked", place).at(span.since));
            }
        }
    }

    /// The recording is over.
    pub(super) fn finish(&mut self, now: u64) {
        for index in 0..self.tracks.len() {
            if self.tracks[index].gap.is_some() {
                self.of_worker(index, now, Event::End);
            }
            self.close(index, now, Some("the recording ended"), None);
            self.release(index, now);
        }
        let place = self.worker(0);
        self.text
            .event("M", "recording", place)
            .number("lost", self.lost);
        self.text.end();
    }
}
