//! What every test of preemption shares.
//!
//! The global allocator aborts when it is called where rule R1 forbids it, so each test file that says
//! `mod support;` also tests that rule.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of this, and compiles it on its own"
)]

#[global_allocator]
static ALLOCATOR: preemptive::testing::StrictAllocator = preemptive::testing::StrictAllocator;

pub mod current_thread;
pub mod gdb;
pub mod hostile;
pub mod isolated;
pub mod load;
pub mod moves;
pub mod pressure;
pub mod probes;
pub mod pthread;
pub mod registers;
