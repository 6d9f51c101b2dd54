//! Work that never gives way, the same in every runtime.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

/// A fixed amount of arithmetic, each step of which needs the one before.
#[inline(never)]
pub fn hog_for(steps: u64) {
    let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
    for _ in 0..steps {
        state = step(state);
    }
    black_box(state);
}

/// Arithmetic without end, until `stop`.
#[inline(never)]
pub fn hog_until(stop: &AtomicBool) {
    let mut state = black_box(0x9e37_79b9_7f4a_7c15_u64);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..1_000 {
            state = step(state);
        }
        state = black_box(state);
    }
}

#[inline(always)]
fn step(mut state: u64) -> u64 {
    // Marsaglia's xorshift: no compiler has a closed form for it.
    state ^= state << 13;
    state ^= state >> 7;
    state ^ (state << 17)
}
