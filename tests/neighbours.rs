//! Whatever a task does, the others go on: each kind of bad neighbour, alone and mixed.
//!
//! A hog here is one poll that ends only when somebody else has made progress. So a test that completes has shown
//! that the other was not starved, however slow the machine is; one that does not is ended by its watchdog.

mod support;

use preemptive::runtime::Runtime;
use preemptive::time::sleep;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::load::{SHORT, runtime};
use support::pressure::{Watchdog, spin};

const SLICES: [Duration; 3] = [SHORT, Duration::from_millis(1), Duration::from_millis(10)];

/// So often the ticker is to tick while the hogs are at it.
const TICKS: usize = 15;

const HOGS: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Spin,
    Alloc,
    Tls,
    Lock,
    Sleep,
    Ffi,
}

const KINDS: [Kind; 6] = [
    Kind::Spin,
    Kind::Alloc,
    Kind::Tls,
    Kind::Lock,
    Kind::Sleep,
    Kind::Ffi,
];

/// What the hogs of a test and its ticker share.
#[derive(Default)]
struct Yard {
    ticks: AtomicUsize,
    /// Held by lock hogs for a millisecond at a time; guards two numbers that are always equal.
    lock: Mutex<(u64, u64)>,
}

impl Kind {
    /// One round of work that is wrong if anything of it got lost.
    fn work(self, yard: &Yard) {
        match self {
            Kind::Spin => {
                let sum = (0..20_000_u64).fold(0, |sum, n| sum + std::hint::black_box(n));
                assert_eq!(sum, 199_990_000);
            }
            Kind::Alloc => {
                let mut text = String::new();
                let numbers: Vec<Box<usize>> = (0..300).map(Box::new).collect();
                for number in &numbers {
                    write!(text, "{number},").expect("a string takes all");
                }
                let sum: usize = text
                    .split_terminator(',')
                    .map(|n| n.parse::<usize>().expect("a number"))
                    .sum();
                assert_eq!(sum, 44_850);
            }
            Kind::Tls => {
                thread_local! {
                    static WORDS: RefCell<HashMap<String, usize>> = RefCell::new(HashMap::new());
                }
                WORDS.with(|words| {
                    let mut words = words.borrow_mut();
                    words.clear();
                    for n in 0..300 {
                        *words.entry(format!("word {}", n % 10)).or_default() += n;
                    }
                    assert_eq!(words.len(), 10);
                    assert_eq!(words.values().sum::<usize>(), 44_850);
                });
            }
            Kind::Lock => {
                {
                    let mut pair = yard.lock.lock().expect("not poisoned");
                    pair.0 += 1;
                    let begin = Instant::now();
                    while begin.elapsed() < Duration::from_millis(1) {
                        spin(100);
                    }
                    pair.1 += 1;
                    assert_eq!(pair.0, pair.1);
                }
                // The mutex is not fair; leave the others a moment.
                spin(20_000);
            }
            Kind::Sleep => {
                let begin = Instant::now();
                std::thread::sleep(Duration::from_millis(5));
                assert!(begin.elapsed() >= Duration::from_millis(5));
            }
            Kind::Ffi => {
                extern "C" fn compare(
                    a: *const libc::c_void,
                    b: *const libc::c_void,
                ) -> libc::c_int {
                    // SAFETY: qsort passes two elements of the array.
                    let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
                    a.cmp(&b) as libc::c_int
                }
                let mut numbers: Vec<u32> = (0..5_000_u32)
                    .map(|n| n.wrapping_mul(2_654_435_761))
                    .collect();
                // SAFETY: the array has that many elements of that size.
                unsafe {
                    libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), 4, Some(compare));
                }
                assert!(numbers.is_sorted());
                // SAFETY: as above.
                unsafe { libc::memset(numbers.as_mut_ptr().cast(), 0x11, numbers.len() * 4) };
                assert!(numbers.iter().all(|&n| n == 0x1111_1111));
            }
        }
    }
}

/// Eight hogs, whose polls end when the ticker has ticked often enough. Answers how often they worked.
fn assert_ticks_beside(runtime: &Runtime, kinds: &[Kind]) {
    let yard = Arc::new(Yard::default());
    let hogs: Vec<_> = (0..HOGS)
        .map(|index| {
            let (yard, kind) = (yard.clone(), kinds[index % kinds.len()]);
            runtime.spawn(async move {
                let mut rounds = 0_u64;
                while rounds == 0 || yard.ticks.load(Ordering::SeqCst) < TICKS {
                    kind.work(&yard);
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    let locks = kinds.iter().any(|kind| matches!(kind, Kind::Lock));
    let ticker = runtime.spawn({
        let yard = yard.clone();
        async move {
            for _ in 0..TICKS {
                sleep(Duration::from_millis(1)).await;
                if locks {
                    let pair = yard.lock.lock().expect("not poisoned");
                    assert_eq!(pair.0, pair.1);
                }
                yard.ticks.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    runtime.block_on(async {
        ticker.await.expect("the ticker");
        for hog in hogs {
            assert!(hog.await.expect("a hog") > 0);
        }
    });
    let metrics = runtime.metrics();
    assert!(
        metrics.preemptions() + metrics.hand_overs() > 0,
        "eight hogs ended without anybody being asked to give way"
    );
}

fn assert_neighbourly(kinds: &[Kind]) {
    for workers in [1, 2] {
        for slice in SLICES {
            let _watchdog =
                Watchdog::new(format!("{kinds:?}, {workers} workers, slices of {slice:?}"));
            assert_ticks_beside(&runtime(workers, slice), kinds);
        }
    }
}

#[test]
fn spinning_hogs_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Spin]);
}

#[test]
fn allocating_hogs_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Alloc]);
}

#[test]
fn hogs_in_thread_locals_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Tls]);
}

#[test]
fn lock_holders_do_not_starve_a_ticker_that_takes_the_lock() {
    assert_neighbourly(&[Kind::Lock]);
}

#[test]
fn sleeping_hogs_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Sleep]);
}

#[test]
fn hogs_in_foreign_code_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Ffi]);
}

#[test]
fn all_kinds_of_hogs_together_do_not_starve_a_ticker() {
    assert_neighbourly(&KINDS);
}

/// Nobody waits, so nobody interrupts.
#[test]
fn a_lone_hog_is_not_interrupted_at_all() {
    for workers in [1, 2] {
        let _watchdog = Watchdog::new("a lone hog");
        let runtime = runtime(workers, SHORT);
        let metrics = runtime.metrics();
        let counts = {
            let metrics = metrics.clone();
            move || {
                // Signals that find the scheduler are left out: they found the other worker, which looks for work.
                [
                    metrics.preemptions(),
                    metrics.refused_in_critical_section(),
                    metrics.refused_in_handler(),
                    metrics.refused_in_system_call(),
                    metrics.signals_sent_by_monitor(),
                    metrics.hand_overs(),
                ]
            }
        };
        let hog = runtime.spawn(async move {
            // What happened between two polls before this one does not concern it.
            let before = counts();
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(200) {
                spin(1_000);
            }
            [before, counts()]
        });
        let [before, after] = runtime.block_on(hog).expect("no panic");
        assert_eq!(after, before, "{workers} workers");
        assert_eq!(metrics.polls(), 1);
        assert_eq!(metrics.preemptions(), 0);
        assert_eq!(metrics.hand_overs(), 0);
    }
}
