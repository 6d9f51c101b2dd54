//! Segments that nobody uses, a few per processor.
//!
//! A slot holds a segment or null, and changes by one exchange: no lock, so no critical section is needed, and whoever
//! is preempted in here holds at most one segment.

use super::segment::Segment;
use crate::primitives::atomic::{AtomicPtr, Ordering};
use std::ptr::null_mut;

/// Pools; processors share them where there are more.
const SHARDS: usize = 64;
/// Segments a pool holds: the high-water mark.
const SLOTS: usize = 4;

#[repr(align(128))]
struct Shard([AtomicPtr<Segment>; SLOTS]);

static POOL: [Shard; SHARDS] =
    [const { Shard([const { AtomicPtr::new(null_mut()) }; SLOTS]) }; SHARDS];

/// A segment of the common size.
pub(super) fn take(shard: usize) -> Option<*mut Segment> {
    POOL[shard % SHARDS].0.iter().find_map(|slot| {
        if slot.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Acquire: with it comes what its last user wrote, its header included.
        let segment = slot.swap(null_mut(), Ordering::Acquire);
        (!segment.is_null()).then_some(segment)
    })
}

/// Puts a segment by. False: there are enough.
pub(super) fn put(shard: usize, segment: *mut Segment) -> bool {
    // SAFETY: the caller owns it.
    unsafe { (*segment).has_rested.set(false) };
    POOL[shard % SHARDS].0.iter().any(|slot| {
        slot.load(Ordering::Relaxed).is_null()
            && slot
                .compare_exchange(null_mut(), segment, Ordering::Release, Ordering::Relaxed)
                .is_ok()
    })
}

/// Unmaps what has not been used since the last call. Returns how many are left.
pub(crate) fn trim() -> usize {
    let mut left = 0;
    for slot in POOL.iter().flat_map(|shard| &shard.0) {
        if slot.load(Ordering::Relaxed).is_null() {
            continue;
        }
        let segment = slot.swap(null_mut(), Ordering::Acquire);
        if segment.is_null() {
            continue;
        }
        // SAFETY: out of its slot it is ours.
        let kept = unsafe { !(*segment).has_rested.replace(true) }
            && slot
                .compare_exchange(null_mut(), segment, Ordering::Release, Ordering::Relaxed)
                .is_ok();
        if kept {
            left += 1;
        } else {
            // SAFETY: as above.
            unsafe { Segment::unmap(segment) };
        }
    }
    left
}
