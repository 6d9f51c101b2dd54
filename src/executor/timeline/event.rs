//! What the records in a ring mean: see [`ring`](super::ring) for how they get there.
//!
//! ```text
//!   the second word:   kind 0..8 │ what, why or length 8..16 │ 16..32 free │ processor plus one, or 0 for none 32..64
//!
//!   BEGIN   time, BEGIN│what,  task, location         something begins; of timers: how many, how late
//!   COME    time, COME│what,   task, location         it goes on
//!   MORE    hop,  MORE,        left, 0                … of a COME or ALONE: which parting that ends, and when that was
//!   CALLED  time, CALLED                              what runs has a name: what follows
//!   NAME    text, NAME│length, text, text             … of a CALLED: up to 24 bytes of what the task is called
//!   END     time, END                                 it has ended
//!   GO      time, GO│why,      hop, 0                 it leaves the worker, to go on elsewhere
//!   GOT     time, GOT│processor                       the worker has a processor from here on
//!   LEFT    time, LEFT│why,    0, 0                   and from here on it has none
//!   TAKEN   time, TAKEN│processor, worker, 0          the monitor has taken a worker's processor
//!   ALONE   time, ALONE│what,  task, location         something has ended on a lender; MORE follows, and its thread
//! ```

use super::ring::Record;

/// What a worker does, between two decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum What {
    /// A task's poll.
    Poll = 1,
    /// A poll of the future given to `block_on`, on a current-thread runtime.
    Root,
    /// Wakes what timers wake that are due.
    Timers,
    /// Sleeps, with a processor.
    Idle,
    /// A hook of threads that go idle.
    Hook,
    /// Drops tasks, at the end.
    Drain,
}

/// Why something left its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Why {
    /// A task waited.
    ForTask = 1,
    /// A timer was due.
    ForTimer,
    /// It had used up its slice, and another preempted poll waited.
    SliceUsedUp,
    /// Preempted polls were owed a turn.
    ForPreempted,
    /// It came back from the kernel without a processor.
    CameBack,
    /// It waits for a wake.
    Parked,
    /// It goes on as an ordinary thread.
    GivenBack,
    /// Its stack has overflowed.
    Overflowed,
}

/// Why a worker has no processor any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Lost {
    /// It was found blocked, or was about to block, and has handed it over.
    HandedOver = 1,
    /// The monitor has taken it.
    Taken,
    /// It has nothing left to do, for good.
    Retired,
    /// The thread leaves `block_on`.
    Leaves,
}

/// What something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) what: What,
    /// The task's number. Of timers: how many were due.
    pub(crate) task: u64,
    /// The address of where the task was spawned. Of timers: how late the first was, in nanoseconds, plus one; or 0.
    pub(crate) location: u64,
}

/// How something came to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    /// The number of the parting.
    pub(crate) number: u64,
    /// When that was.
    pub(crate) left: u64,
}

/// A record, or several that belong together, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Begin(Work, Option<u32>),
    Come(Work, Option<u32>, Hop),
    Name(Vec<u8>),
    End,
    Go(Why, u64),
    Got(u32),
    Left(Lost),
    Taken { processor: u32, worker: u64 },
    Alone(Work, Hop, u64),
    Gap(u64),
}

const BEGIN: u64 = 1;
const COME: u64 = 2;
const MORE: u64 = 3;
const NAME: u64 = 4;
const END: u64 = 5;
const GO: u64 = 6;
const GOT: u64 = 7;
const LEFT: u64 = 8;
const TAKEN: u64 = 9;
const ALONE: u64 = 10;
const CALLED: u64 = 11;

/// Bytes of a name that a record has room for.
const PART: usize = 24;
/// Records of a name: what is longer is cut.
pub(crate) const PARTS: usize = 3;

fn head(kind: u64, detail: u8, processor: Option<u32>) -> u64 {
    let processor = processor.map_or(0, |processor| u64::from(processor) + 1);
    kind | u64::from(detail) << 8 | processor << 32
}

pub(crate) fn begin(time: u64, work: Work, processor: Option<u32>) -> Record {
    let head = head(BEGIN, work.what as u8, processor);
    [time, head, work.task, work.location]
}

pub(crate) fn come(time: u64, work: Work, processor: Option<u32>, hop: Hop) -> [Record; 2] {
    let head = head(COME, work.what as u8, processor);
    [[time, head, work.task, work.location], more(hop, 0)]
}

fn more(hop: Hop, thread: u64) -> Record {
    [hop.number, MORE, hop.left, thread]
}

/// What comes before the name of what runs already.
pub(crate) fn called(time: u64) -> Record {
    [time, CALLED, 0, 0]
}

/// The records of a name; `None` for what it does not fill. An empty name is no name.
pub(crate) fn name(name: &str) -> [Option<Record>; PARTS] {
    let mut parts = name.as_bytes().chunks(PART).map(|part| {
        let mut bytes = [0; PART];
        bytes[..part.len()].copy_from_slice(part);
        let word = |index: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * index..8 * index + 8]);
            u64::from_le_bytes(word)
        };
        [
            word(0),
            head(NAME, part.len() as u8, None),
            word(1),
            word(2),
        ]
    });
    std::array::from_fn(|_| parts.next())
}

pub(crate) fn end(time: u64) -> Record {
    [time, END, 0, 0]
}

pub(crate) fn go(time: u64, why: Why, hop: u64) -> Record {
    [time, head(GO, why as u8, None), hop, 0]
}

pub(crate) fn got(time: u64, processor: u32) -> Record {
    [time, head(GOT, 0, Some(processor)), 0, 0]
}

pub(crate) fn left(time: u64, why: Lost) -> Record {
    [time, head(LEFT, why as u8, None), 0, 0]
}

pub(crate) fn taken(time: u64, processor: u32, worker: u64) -> Record {
    [time, head(TAKEN, 0, Some(processor)), worker, 0]
}

pub(crate) fn alone(time: u64, work: Work, hop: Hop, thread: u64) -> [Record; 2] {
    let head = head(ALONE, work.what as u8, None);
    [[time, head, work.task, work.location], more(hop, thread)]
}

/// What this number stands for.
pub(super) fn what(detail: u8) -> Option<What> {
    use What::{Drain, Hook, Idle, Poll, Root, Timers};
    [Poll, Root, Timers, Idle, Hook, Drain]
        .into_iter()
        .find(|what| *what as u8 == detail)
}

fn why(detail: u8) -> Option<Why> {
    use Why::*;
    [
        ForTask,
        ForTimer,
        SliceUsedUp,
        ForPreempted,
        CameBack,
        Parked,
        GivenBack,
        Overflowed,
    ]
    .into_iter()
    .find(|why| *why as u8 == detail)
}

fn lost(detail: u8) -> Option<Lost> {
    use Lost::{HandedOver, Leaves, Retired, Taken};
    [HandedOver, Taken, Retired, Leaves]
        .into_iter()
        .find(|why| *why as u8 == detail)
}

/// Puts events together from a ring's records, in their order.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// One that waits for the record after it.
    first: Option<Record>,
    /// The time of the last.
    time: u64,
}

impl Decoder {
    /// Takes the next record. The event that is complete with it, and its time; `None` if there is more to come.
    pub(crate) fn next(&mut self, record: Record) -> Option<(u64, Event)> {
        let [time, head, a, b] = record;
        let detail = (head >> 8) as u8;
        let processor = ((head >> 32) as u32).checked_sub(1);
        let kind = head & 0xff;
        if kind == COME || kind == ALONE {
            self.first = Some(record);
            return None;
        }
        if kind == NAME {
            let words = [time, a, b];
            let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            bytes.truncate(usize::from(detail));
            return Some((self.time, Event::Name(bytes)));
        }
        if kind == MORE {
            let hop = Hop {
                number: time,
                left: a,
            };
            let [time, head, task, location] = self.first.take()?;
            let work = Work {
                what: what((head >> 8) as u8)?,
                task,
                location,
            };
            let processor = ((head >> 32) as u32).checked_sub(1);
            self.time = time;
            return Some(match head & 0xff {
                COME => (time, Event::Come(work, processor, hop)),
                _ => (time, Event::Alone(work, hop, b)),
            });
        }
        self.time = time;
        let event = match kind {
            super::ring::GAP => Event::Gap(a),
            BEGIN => {
                let work = Work {
                    what: what(detail)?,
                    task: a,
                    location: b,
                };
                Event::Begin(work, processor)
            }
            END => Event::End,
            GO => Event::Go(why(detail)?, a),
            GOT => Event::Got(processor?),
            LEFT => Event::Left(lost(detail)?),
            TAKEN => Event::Taken {
                processor: processor?,
                worker: a,
            },
            _ => return None,
        };
        Some((time, event))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const WORK: Work = Work {
        what: What::Poll,
        task: 7,
        location: 0x1234,
    };
    const HOP: Hop = Hop {
        number: 4097,
        left: 99,
    };

    /// The events of these records, with their times.
    fn decoded(records: &[Record]) -> Vec<(u64, Event)> {
        let mut decoder = Decoder::default();
        records
            .iter()
            .filter_map(|record| decoder.next(*record))
            .collect()
    }

    #[test]
    fn every_record_says_what_it_was_made_of() {
        let taken = Event::Taken {
            processor: 3,
            worker: 1500,
        };
        let made = [
            (begin(1, WORK, Some(0)), Event::Begin(WORK, Some(0))),
            (begin(2, WORK, None), Event::Begin(WORK, None)),
            (end(3), Event::End),
            (go(4, Why::Overflowed, 5), Event::Go(Why::Overflowed, 5)),
            (got(5, 0), Event::Got(0)),
            (left(6, Lost::Leaves), Event::Left(Lost::Leaves)),
            (taken_record(), taken),
            ([8, super::super::ring::GAP, 12, 0], Event::Gap(12)),
        ];
        for (index, (record, event)) in made.into_iter().enumerate() {
            let time = index as u64 + 1;
            assert_eq!(decoded(&[record]), [(time, event)]);
        }
    }

    fn taken_record() -> Record {
        taken(7, 3, 1500)
    }

    #[test]
    fn records_that_belong_together_are_one_event() {
        let come = come(1, WORK, Some(2), HOP);
        assert_eq!(decoded(&come), [(1, Event::Come(WORK, Some(2), HOP))]);
        let alone = alone(2, WORK, HOP, 4321);
        assert_eq!(decoded(&alone), [(2, Event::Alone(WORK, HOP, 4321))]);
    }

    #[test]
    fn a_name_comes_in_parts_that_have_the_time_of_what_is_called_so() {
        let text = "a name of more than twenty-four bytes";
        let mut records = vec![called(9)];
        records.extend(name(text).into_iter().flatten());
        let mut bytes = Vec::new();
        for (time, event) in decoded(&records) {
            assert_eq!(time, 9);
            match event {
                Event::Name(part) => bytes.extend(part),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bytes, text.as_bytes());
        assert!(name("").iter().all(Option::is_none));
        assert!(name(&"x".repeat(500)).iter().all(Option::is_some));
    }
}
