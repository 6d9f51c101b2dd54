//! Code under `#[preemptive::checked]` starves nobody where no signal stops it, and recurses as deep as memory goes.

mod support;

use preemptive::runtime::{Builder, Runtime};
use preemptive::task::JoinHandle;
use preemptive::time::sleep;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::load::{SHORT, block_on, quiet, runtime};

type Stop = Arc<AtomicBool>;

fn is_stopped(stop: &Stop) -> bool {
    stop.load(Ordering::Relaxed)
}

#[preemptive::checked]
fn spin(stop: &Stop) {
    let mut state = 1_u64;
    while !is_stopped(stop) {
        state = black_box(state.rotate_left(7) ^ 0x9e37);
    }
}

/// The outer loop never comes round; the inner ones do.
#[preemptive::checked]
fn nested(stop: &Stop) {
    'outer: loop {
        for row in 0..u64::MAX {
            let mut column = row;
            loop {
                column = black_box(column / 2);
                if is_stopped(stop) {
                    break 'outer;
                }
                if column == 0 {
                    break;
                }
            }
        }
    }
}

#[preemptive::checked]
fn allocate(stop: &Stop) {
    while !is_stopped(stop) {
        let words: Vec<String> = (0..20).map(|number| format!("{number}")).collect();
        drop(black_box(words.join(" ")));
    }
}

#[preemptive::checked]
fn thread_locals(stop: &Stop) {
    thread_local! {
        static SEEN: RefCell<HashMap<u64, u64>> = RefCell::default();
    }
    for number in 0.. {
        if is_stopped(stop) {
            return;
        }
        SEEN.with_borrow_mut(|seen| *seen.entry(number % 100).or_default() += number);
    }
}

/// No loop at all.
#[preemptive::checked]
fn fibonacci(n: u64, stop: &Stop) -> u64 {
    match n {
        0 | 1 => n,
        _ if is_stopped(stop) => 0,
        _ => fibonacci(n - 1, stop) + fibonacci(n - 2, stop),
    }
}

/// Held over many checks.
static LOCK: Mutex<u64> = Mutex::new(0);

#[preemptive::checked]
fn lock(stop: &Stop) {
    while !is_stopped(stop) {
        let mut value = LOCK.lock().expect("nobody panics here");
        for _ in 0..10_000 {
            *value = black_box(*value + 1);
        }
    }
}

struct Walker {
    steps: u64,
}

#[preemptive::checked]
impl Walker {
    fn walk<F: Fn(u64) -> bool>(&mut self, is_done: F) -> &mut u64 {
        while !is_done(self.steps) {
            self.steps = black_box(self.steps + 1);
        }
        &mut self.steps
    }
}

#[preemptive::checked]
async fn never_awaits(stop: Stop) {
    let mut turns = 0_u64;
    while !is_stopped(&stop) {
        turns = black_box(turns + 1);
    }
}

fn without_signals(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .time_slice(Duration::from_millis(1))
        .async_preempt(false)
        .build()
        .expect("a runtime")
}

/// Eight hogs, and a task that ticks beside them.
fn starves_nobody(hog: impl Fn(&Runtime, Stop) -> JoinHandle<()>) {
    for workers in [1, 2] {
        let runtime = without_signals(workers);
        let stop = Stop::default();
        let hogs: Vec<_> = (0..8).map(|_| hog(&runtime, Arc::clone(&stop))).collect();
        let ticker = runtime.spawn(async {
            for _ in 0..30 {
                sleep(Duration::from_millis(1)).await;
                // And it is not only timers.
                preemptive::spawn(async {}).await.expect("no panic");
            }
        });
        block_on(&runtime, ticker).expect("it ticks");
        assert!(hogs.iter().all(|hog| !hog.is_finished()));
        assert_eq!(runtime.metrics().asynchronous_preemptions(), 0);
        stop.store(true, Ordering::Relaxed);
        for hog in hogs {
            block_on(&runtime, hog).expect("a hog ends well");
        }
    }
}

/// The same with a plain function.
fn function_starves_nobody(hog: fn(&Stop)) {
    starves_nobody(|runtime, stop| runtime.spawn(async move { hog(&stop) }));
}

#[test]
fn a_loop_starves_nobody() {
    function_starves_nobody(spin);
    function_starves_nobody(nested);
}

#[test]
fn allocation_and_thread_locals_starve_nobody() {
    function_starves_nobody(allocate);
    function_starves_nobody(thread_locals);
}

#[test]
fn recursion_starves_nobody() {
    function_starves_nobody(|stop| {
        black_box(fibonacci(90, stop));
    });
}

#[test]
fn who_holds_a_lock_starves_nobody() {
    function_starves_nobody(lock);
}

#[test]
fn a_method_starves_nobody() {
    function_starves_nobody(|stop| {
        let mut walker = Walker { steps: 0 };
        *walker.walk(|_| is_stopped(stop)) += 1;
    });
}

#[test]
fn an_async_function_starves_nobody() {
    starves_nobody(|runtime, stop| runtime.spawn(never_awaits(stop)));
}

#[preemptive::checked]
fn depth(of: u64) -> u64 {
    if of == 0 {
        0
    } else {
        1 + black_box(depth(black_box(of - 1)))
    }
}

#[preemptive::checked]
mod parity {
    pub(crate) fn is_even(number: u64) -> bool {
        number == 0 || is_odd(std::hint::black_box(number - 1))
    }

    fn is_odd(number: u64) -> bool {
        number != 0 && is_even(std::hint::black_box(number - 1))
    }
}

/// Frames that are larger than the usual red zone.
#[preemptive::checked(red_zone = "512KiB")]
fn broad(levels: u64) -> u64 {
    let frame = black_box([levels as u8; 200 * 1024]);
    match levels {
        0 => 0,
        _ => broad(levels - 1) + u64::from(frame[100_000] == levels as u8),
    }
}

#[preemptive::checked]
fn sum<'a, T: Copy + Into<u64>>(numbers: &'a [T], last: &mut Option<&'a T>) -> u64 {
    let [first, rest @ ..] = numbers else {
        return 0;
    };
    *last = Some(first);
    (*first).into() + sum(rest, last)
}

#[preemptive::checked]
fn panics_at_the_bottom(levels: u64) -> u64 {
    assert!(levels > 0, "expected: at the bottom");
    1 + black_box(panics_at_the_bottom(levels - 1))
}

fn recursion_is_bounded_by_memory() {
    assert_eq!(depth(1_000_000), 1_000_000);
    assert!(parity::is_even(1_000_000));
    assert_eq!(broad(1_000), 1_000);
    let numbers = vec![7_u32; 300_000];
    let mut last = None;
    assert_eq!(sum(&numbers, &mut last), 7 * 300_000);
    assert!(last.is_some_and(|last| std::ptr::eq(last, &numbers[numbers.len() - 1])));
    quiet();
    let payload = catch_unwind(|| panics_at_the_bottom(200_000)).expect_err("it panics");
    assert_eq!(
        payload.downcast_ref::<&str>(),
        Some(&"expected: at the bottom")
    );
}

#[test]
fn recursion_is_bounded_by_memory_on_a_plain_thread() {
    recursion_is_bounded_by_memory();
}

#[test]
fn recursion_is_bounded_by_memory_in_tasks_that_are_preempted() {
    let runtime = runtime(2, SHORT);
    let tasks: Vec<_> = (0..3)
        .map(|_| runtime.spawn(async { recursion_is_bounded_by_memory() }))
        .collect();
    for task in tasks {
        block_on(&runtime, task).expect("all is right");
    }
}

#[test]
fn recursion_is_bounded_by_memory_without_signals() {
    let runtime = without_signals(2);
    block_on(
        &runtime,
        runtime.spawn(async { recursion_is_bounded_by_memory() }),
    )
    .expect("all is right");
}
