//! What one thread has done, on its way to the thread that writes it down: a ring of records.
//!
//! ```text
//!        head (store: the reader)                tail (store: the writer)
//!          ▼                                       ▼
//!   ┌────┬────┬────┬────┬────┬────┬────┬────┬────┬────┐
//!   │    │ r  │ r  │ r  │ r  │ r  │ r  │ r  │    │    │   both counters run on for ever
//!   └────┴────┴────┴────┴────┴────┴────┴────┴────┴────┘
//! ```
//!
//! | step | who | ordering | because |
//! |---|---|---|---|
//! | push: write the slots, then tail | the writer | Release on tail | a reader that sees the tail sees the slots |
//! | drain: read the slots, then head | the reader | Release on head | a writer that sees the head may overwrite them |
//!
//! # Who writes
//!
//! One at a time. A worker's ring is written by its kernel thread only: on its system stack, in critical sections, and in its
//! signal handler outside of those. So the handler never interrupts a push, and nobody else pushes. Between two threads that
//! drive a current-thread runtime in turn lies `Home::driven`. Others have rings of their own, or a lock.
//!
//! # Invariants
//!
//! 1. Records that were pushed together are seen together, and in their order: the tail moves once for all of them.
//! 2. A push never waits, nor does it allocate. With too little room the whole group is left out and counted; the next push that
//!    finds room begins with a record that says since when, and how many ([`GAP`]). So what is missing is missing *there*.
//!
//! `tests/models` checks both.

use crate::primitives::atomic::{AtomicU64, Ordering};

/// How many words a record has.
pub(crate) const WORDS: usize = 4;

/// What is recorded: plain numbers. The second says what the others mean; that is nobody's business here, but for [`GAP`].
pub(crate) type Record = [u64; WORDS];

/// The second word of a record that stands for groups that were left out: since when, this, how many.
pub(crate) const GAP: u64 = 0;

/// So many records are read before their slots are free again.
const AT_A_TIME: u64 = 256;

/// The writer's words, apart from the reader's.
#[derive(Debug)]
#[repr(align(128))]
struct Writers {
    tail: AtomicU64,
    /// Groups left out since the last push that found room, and the time of the first of them.
    lost: AtomicU64,
    since: AtomicU64,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Ring {
    slots: Box<[[AtomicU64; WORDS]]>,
    writers: Writers,
    head: AtomicU64,
}

impl Ring {
    /// An empty ring with room for so many records.
    pub(crate) fn new(room: usize) -> Ring {
        Ring {
            slots: (0..room)
                .map(|_| std::array::from_fn(|_| AtomicU64::new(0)))
                .collect(),
            writers: Writers {
                tail: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                since: AtomicU64::new(0),
            },
            head: AtomicU64::new(0),
        }
    }

    fn slot(&self, counter: u64) -> &[AtomicU64; WORDS] {
        &self.slots[(counter % self.slots.len() as u64) as usize]
    }

    fn write(&self, counter: u64, record: &Record) {
        for (word, value) in self.slot(counter).iter().zip(record) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    /// Adds records that belong together, the first of which begins with its time. The writer only. True: the ring has just
    /// become half full, so the reader should come.
    #[inline]
    pub(crate) fn push(&self, group: &[Record]) -> bool {
        let Writers { tail, lost, since } = &self.writers;
        let end = tail.load(Ordering::Relaxed);
        let room = self.slots.len() as u64;
        // Acquire: the reader has done with what the head has passed.
        let used = end - self.head.load(Ordering::Acquire);
        let gap = lost.load(Ordering::Relaxed);
        let count = group.len() as u64 + u64::from(gap > 0);
        if used + count > room {
            if gap == 0 {
                since.store(group[0][0], Ordering::Relaxed);
            }
            // Release: who reads it reads `since` as well.
            lost.store(gap + 1, Ordering::Release);
            return false;
        }
        let mut at = end;
        if gap > 0 {
            self.write(at, &[since.load(Ordering::Relaxed), GAP, gap, 0]);
            at += 1;
            lost.store(0, Ordering::Relaxed);
        }
        for record in group {
            self.write(at, record);
            at += 1;
        }
        tail.store(at, Ordering::Release);
        used < room / 2 && used + count >= room / 2
    }

    /// Takes out what there is. The reader only.
    pub(crate) fn drain(&self, mut each: impl FnMut(Record)) {
        let tail = self.writers.tail.load(Ordering::Acquire);
        let mut head = self.head.load(Ordering::Relaxed);
        while head != tail {
            let stop = tail.min(head + AT_A_TIME);
            while head != stop {
                let slot = self.slot(head);
                each(std::array::from_fn(|word| {
                    slot[word].load(Ordering::Relaxed)
                }));
                head += 1;
            }
            self.head.store(head, Ordering::Release);
        }
    }

    /// What was left out and no later push has told of, as the record that it would have told with. The reader only, when
    /// nobody writes any more; before, it may tell too little.
    pub(crate) fn untold(&self) -> Option<Record> {
        match self.writers.lost.load(Ordering::Acquire) {
            0 => None,
            lost => Some([self.writers.since.load(Ordering::Relaxed), GAP, lost, 0]),
        }
    }
}
