//! jemalloc as the global allocator, of a program whose tasks are preempted inside it.
//!
//! Not linked with the library of this package, which brings an allocator of its own.

#[path = "support/allocating.rs"]
mod allocating;
#[path = "support/crowd.rs"]
mod crowd;
#[path = "support/together.rs"]
mod together;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[test]
fn blocks_stay_whole_in_polls_that_move() {
    allocating::blocks_stay_whole_in_polls_that_move();
}

#[test]
fn memory_outlives_the_threads_that_took_it() {
    allocating::memory_outlives_the_threads_that_took_it();
}
