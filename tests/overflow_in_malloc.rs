//! A stack overflow in the middle of an allocation: the allocator's lock stays locked, and the names of frames need it.
//!
//! The allocator is this file's own, so there is no `mod support` here.

#[path = "support/isolated.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod isolated;

use preemptive::runtime::Builder;
use preemptive::testing::StrictAllocator;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

/// An allocator with one lock, as simple ones have.
struct Locked(Mutex<()>);

#[global_allocator]
static ALLOCATOR: Locked = Locked(Mutex::new(()));

thread_local! {
    static OVERFLOWS: Cell<bool> = const { Cell::new(false) };
}

#[inline(never)]
fn recurse_inside_the_allocator(depth: u64) -> u64 {
    let room = black_box([depth; 8]);
    if black_box(depth) == u64::MAX {
        return 0;
    }
    recurse_inside_the_allocator(depth + 1) + room[3]
}

impl Locked {
    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        let _guard = self.0.lock();
        if OVERFLOWS.get() {
            recurse_inside_the_allocator(1);
        }
        f()
    }
}

// SAFETY: everything is passed on.
unsafe impl GlobalAlloc for Locked {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's debt.
        self.locked(|| unsafe { StrictAllocator.alloc(layout) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's debt.
        self.locked(|| unsafe { StrictAllocator.dealloc(pointer, layout) });
    }
}

#[test]
fn the_report_ends_in_time() {
    let end = isolated::end_of("the_report_ends_in_time", || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .expect("a runtime");
        let task = runtime.spawn(async {
            OVERFLOWS.set(true);
            drop(black_box(Box::new(7)));
        });
        let _ = runtime.block_on(task);
    });
    let text = &end.stderr;
    assert_eq!(end.signal, Some(libc::SIGABRT), "{text}");
    assert!(text.contains("has overflowed its stack"), "{text}");
    assert!(
        text.contains("spawned at tests/overflow_in_malloc.rs:"),
        "{text}"
    );
    let numbers = text.matches("/overflow_in_malloc-").count();
    assert_eq!(numbers, 32, "{text}");
    // It waited for the lock, until the timer ended that.
    assert!(!text.contains("recurse_inside_the_allocator"), "{text}");
    assert!(end.after < Duration::from_secs(40), "{:?}", end.after);
}
