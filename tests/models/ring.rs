//! A timeline's ring: what the reader sees is whole and in order, and what was left out is told of where it is missing.

use crate::atomic::{Weakness, weakened};
use crate::check;
use crate::executor::timeline::ring::{GAP, Record, Ring};
use loom::sync::Arc;
use loom::thread;

/// Room for so many records, and so many groups of one or two that are pushed.
const ROOM: usize = 3;
const GROUPS: u64 = 4;

/// The records of a group: its number is its time, and in every word but the second.
fn group(number: u64) -> Vec<Record> {
    let length = if number.is_multiple_of(2) { 2 } else { 1 };
    vec![[number, 1, number, number]; length]
}

/// What a reader remembers between two visits.
#[derive(Default)]
struct Reader {
    /// Groups seen or told of as lost.
    accounted: u64,
    /// Of the group that is being read, how many records are missing.
    missing: usize,
}

impl Reader {
    fn take(&mut self, record: Record) {
        let [number, kind, a, b] = record;
        if kind == GAP {
            assert_eq!(self.missing, 0, "ring: a gap inside of a group");
            assert_eq!(number, self.accounted, "ring: the gap begins elsewhere");
            self.accounted += a;
            return;
        }
        assert!(
            a == number && b == number,
            "ring: a torn record: {record:?}"
        );
        if self.missing == 0 {
            assert_eq!(number, self.accounted, "ring: not in order");
            self.accounted += 1;
            self.missing = group(number).len() - 1;
        } else {
            assert_eq!(number + 1, self.accounted, "ring: not in order");
            self.missing -= 1;
        }
    }

    fn drain(&mut self, ring: &Ring) {
        ring.drain(|record| self.take(record));
        assert_eq!(self.missing, 0, "ring: a part of a group");
    }
}

fn model() {
    let ring = Arc::new(Ring::new(ROOM));
    let reader = {
        let ring = Arc::clone(&ring);
        thread::spawn(move || {
            let mut reader = Reader::default();
            reader.drain(&ring);
            reader.drain(&ring);
            reader
        })
    };
    for number in 0..GROUPS {
        let _ = ring.push(&group(number));
    }
    let mut reader = reader.join().unwrap();
    reader.drain(&ring);
    if let Some(record) = ring.untold() {
        reader.take(record);
    }
    assert_eq!(
        reader.accounted, GROUPS,
        "ring: groups that nobody knows of"
    );
}

#[test]
fn every_group_is_seen_whole_or_told_of() {
    check(3, model);
}

#[test]
#[should_panic(expected = "ring: ")]
fn the_tail_must_release_the_slots() {
    weakened(Weakness::Release, || check(3, model));
}

#[test]
#[should_panic(expected = "ring: ")]
fn the_tail_must_be_acquired() {
    weakened(Weakness::Acquire, || check(3, model));
}

/// Somebody else who pushes, or a handler that interrupts a push: the step that the ring leaves to who may write.
#[test]
#[should_panic(expected = "ring: ")]
fn two_may_not_write_at_once() {
    check(2, || {
        let ring = Arc::new(Ring::new(8));
        let other = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || ring.push(&group(1)))
        };
        let _ = ring.push(&group(1));
        other.join().unwrap();
        let mut seen = 0;
        ring.drain(|_| seen += 1);
        assert_eq!(seen, 2, "ring: one was overwritten");
    });
}
