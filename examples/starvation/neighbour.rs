//! What a task can do to its neighbours. None of these ever awaits; each looks at a flag now and then, so that
//! the runtime can be dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A kind of bad neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    Spin,
    Alloc,
    Tls,
    Lock,
    Sleep,
    Ffi,
}

/// How long the lock is held, and for how long it is left alone in between: without a pause, a std mutex goes
/// to whoever has just released it.
const HELD: Duration = Duration::from_millis(1);
const FREE: Duration = Duration::from_micros(200);

impl Neighbour {
    pub(crate) const ALL: [Neighbour; 6] = [
        Neighbour::Spin,
        Neighbour::Alloc,
        Neighbour::Tls,
        Neighbour::Lock,
        Neighbour::Sleep,
        Neighbour::Ffi,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Neighbour::Spin => "spin",
            Neighbour::Alloc => "alloc",
            Neighbour::Tls => "tls",
            Neighbour::Lock => "lock",
            Neighbour::Sleep => "sleep",
            Neighbour::Ffi => "ffi",
        }
    }

    pub(crate) fn describe(self) -> &'static str {
        match self {
            Neighbour::Spin => "computes, and calls nothing",
            Neighbour::Alloc => "allocates and frees vectors of strings",
            Neighbour::Tls => "works on a HashMap in a thread-local, borrowed all the while",
            Neighbour::Lock => "holds a std Mutex for 1 ms at a time; the ticker takes it, too",
            Neighbour::Sleep => "puts its thread to sleep for 50 ms at a time",
            Neighbour::Ffi => "spends its time in long calls of C's qsort and memset",
        }
    }

    /// Never awaits.
    pub(crate) fn misbehave(self, stop: &AtomicBool, lock: &Mutex<u64>) {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mut memory = if self == Neighbour::Ffi {
            vec![0_u8; 32 << 20]
        } else {
            Vec::new()
        };
        while !stop.load(Ordering::Relaxed) {
            match self {
                Neighbour::Spin => spin(&mut numbers),
                Neighbour::Alloc => allocate(&mut numbers),
                Neighbour::Tls => use_thread_local(&mut numbers),
                Neighbour::Lock => hold(lock),
                Neighbour::Sleep => std::thread::sleep(Duration::from_millis(50)),
                Neighbour::Ffi => call_c(&mut numbers, &mut memory),
            }
        }
    }
}

/// Xorshift: numbers to work on.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn spin(numbers: &mut Numbers) {
    for _ in 0..10_000_000 {
        black_box(numbers.next());
    }
}

fn allocate(numbers: &mut Numbers) {
    let mut kept = Vec::new();
    for _ in 0..100_000 {
        let number = numbers.next();
        kept.push(format!(
            "{number:x} is a number of {} bits",
            64 - number.leading_zeros()
        ));
        if kept.len() > 1_000 {
            kept.swap_remove(number as usize % 1_000);
        }
    }
    black_box(kept);
}

thread_local! {
    static COUNTS: RefCell<HashMap<u64, u64>> = RefCell::default();
}

/// A neighbour on the same thread-local would find it borrowed, and panic.
fn use_thread_local(numbers: &mut Numbers) {
    COUNTS.with_borrow_mut(|counts| {
        counts.clear();
        for _ in 0..200_000 {
            *counts.entry(numbers.next() % 1_000).or_default() += 1;
        }
        assert_eq!(counts.values().sum::<u64>(), 200_000);
    });
}

fn hold(lock: &Mutex<u64>) {
    {
        let mut held = lock.lock().expect("no holder panics");
        *held += 1;
        compute_for(HELD);
    }
    compute_for(FREE);
}

fn compute_for(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Each of the two calls takes several milliseconds, and qsort allocates.
fn call_c(numbers: &mut Numbers, memory: &mut [u8]) {
    let mut array: Vec<u64> = (0..1 << 19).map(|_| numbers.next()).collect();
    // SAFETY: the pointer, the count and the size describe `array`; `compare` takes two of its elements.
    unsafe {
        libc::qsort(
            array.as_mut_ptr().cast(),
            array.len(),
            size_of::<u64>(),
            Some(compare),
        )
    };
    assert!(array.is_sorted());
    for byte in 0..4 {
        // SAFETY: so many bytes are there to be written.
        unsafe { libc::memset(memory.as_mut_ptr().cast(), byte, memory.len()) };
    }
    black_box(memory);
}

extern "C" fn compare(a: *const libc::c_void, b: *const libc::c_void) -> libc::c_int {
    // SAFETY: qsort passes elements of the array it was given.
    let [a, b] = [a, b].map(|element| unsafe { *element.cast::<u64>() });
    a.cmp(&b) as libc::c_int
}
