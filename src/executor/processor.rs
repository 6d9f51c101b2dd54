//! A processor: the right to run tasks, and what belongs to it. There are as many as `worker_threads`.
//!
//! # Who may touch what
//!
//! A processor has one owner at a time: the worker whose word names it, or whoever took it from there and is
//! about to give it to another. The owner writes `tick` and the ring; it does so only inside critical sections
//! and on its system stack. Everything else is atomic and may be written by the owner's signal handler and by
//! other threads, as its comment says.

use super::queue::Local;
use super::worker::Worker;
use crate::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
use std::ptr::null_mut;

/// See the module's head.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Processor {
    /// Its place in the runtime's list, and its timer shard's.
    pub(crate) index: usize,
    /// Runnable tasks.
    pub(crate) queue: Local,
    /// Polls begun. Standing still between two looks, it tells a long poll without a clock.
    pub(crate) tick: AtomicU64,
    /// The worker that holds it; stale while it changes hands. Whoever gives the processor writes it.
    pub(crate) worker: AtomicPtr<Worker>,
    /// When the current slice ends; `u64::MAX` while nobody waits. Written by anybody who waits (from
    /// `u64::MAX`), the owner, and its handler.
    pub(crate) slice_end: AtomicU64,
    /// `tick` when the slice began. Written together with `slice_end`.
    pub(crate) slice_tick: AtomicU64,
    /// The poll that runs has used its slice up. Handler to owner.
    pub(crate) used_up: AtomicBool,
    /// Tasks run, not a fiber that was preempted: `slice_end` is when fibers get their turn. Owner.
    pub(crate) runs_tasks: AtomicBool,
    /// Fibers have waited for the length of a slice while tasks ran: it is their turn. Handler to owner.
    pub(crate) batch_turn: AtomicBool,
    /// A timer of its shard is due. Handler to owner.
    pub(crate) due: AtomicBool,
    /// Looking for work: counted in `Sleep::searching`. Owner, or the waker while it is parked.
    pub(crate) searching: AtomicBool,
    /// The word its idle worker sleeps on; see `sleep`.
    pub(crate) parked: AtomicU32,
    /// Nothing is left to do, for good.
    pub(crate) retired: AtomicBool,
    /// Slices used up.
    pub(crate) slices: AtomicU64,
    /// Where stealing starts next.
    pub(crate) next_victim: AtomicU32,
}

impl Processor {
    pub(crate) fn new(index: usize) -> Processor {
        Processor {
            index,
            queue: Local::new(),
            tick: AtomicU64::new(0),
            worker: AtomicPtr::new(null_mut()),
            slice_end: AtomicU64::new(u64::MAX),
            slice_tick: AtomicU64::new(0),
            used_up: AtomicBool::new(false),
            runs_tasks: AtomicBool::new(false),
            batch_turn: AtomicBool::new(false),
            due: AtomicBool::new(false),
            searching: AtomicBool::new(false),
            parked: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            slices: AtomicU64::new(0),
            next_victim: AtomicU32::new(index as u32 + 1),
        }
    }
}
