//! What every test of preemption shares.
//!
//! The global allocator aborts when it is called where rule R1 forbids it, so each test file that says
//! `mod support;` also tests that rule.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of this, and compiles it on its own"
)]

use std::alloc::{GlobalAlloc, Layout, System};

/// Aborts where the runtime must not allocate: in critical sections, on system stacks, in its handler.
#[derive(Debug)]
pub struct StrictAllocator;

#[cold]
fn forbidden(what: &str) -> ! {
    for part in ["rule R1: ", what, " in a critical section\n"] {
        // SAFETY: the bytes are a valid range.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: aborting is always allowed.
    unsafe { libc::abort() }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for StrictAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !preemptive::testing::may_allocate() {
            forbidden("alloc");
        }
        // SAFETY: the caller's debt.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if !preemptive::testing::may_allocate() {
            forbidden("free");
        }
        // SAFETY: the caller's debt.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: StrictAllocator = StrictAllocator;
pub mod current_thread;
pub mod hostile;
pub mod isolated;
pub mod load;
pub mod pressure;
pub mod registers;
