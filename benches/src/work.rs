//! Tasks that never await, and the unit in which their work is counted: the same in every runtime.

use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

/// What a hog does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Computes in registers; calls nothing.
    Spin,
    /// Allocates and frees.
    Alloc,
    /// Takes one mutex that all of them share, and computes, 0.8 ms with it and a tenth of that without.
    Lock,
    /// Puts its thread to sleep for 50 ms at a time.
    Sleep,
    /// Is in long calls of C's `qsort` and `memset`.
    Ffi,
    /// Works on a map in a thread-local, borrowed all the while.
    Tls,
}

/// Xorshift steps in a unit of [`Kind::Spin`], about 10 µs. `rivals/starvation.go` has the same.
const SPIN_STEPS: u32 = 5_000;
/// Blocks allocated in a unit of [`Kind::Alloc`], and how many live at a time; they have 16 to 1039 bytes.
const BLOCKS: usize = 64;
const LIVE_BLOCKS: usize = 256;
/// Steps with the lock, and without. Without a pause a std mutex goes to whoever has just released it.
const LOCKED_STEPS: u32 = 500_000;
const UNLOCKED_STEPS: u32 = 50_000;
const NAP: Duration = Duration::from_millis(50);
/// Numbers that `qsort` sorts in a unit, and bytes that `memset` sets four times: some milliseconds each.
const SORTED: usize = 1 << 16;
const SET_BYTES: usize = 8 << 20;
/// Increments in the thread-local map.
const INCREMENTS: u64 = 2_000;

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] = [
        Kind::Spin,
        Kind::Alloc,
        Kind::Lock,
        Kind::Sleep,
        Kind::Ffi,
        Kind::Tls,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Spin => "spin",
            Kind::Alloc => "alloc",
            Kind::Lock => "lock",
            Kind::Sleep => "sleep",
            Kind::Ffi => "ffi",
            Kind::Tls => "tls",
        }
    }

    /// For a caption.
    pub fn describe(self) -> &'static str {
        match self {
            Kind::Spin => "compute, and call nothing",
            Kind::Alloc => "allocate and free",
            Kind::Lock => "share one mutex",
            Kind::Sleep => "sleep 50 ms in the kernel",
            Kind::Ffi => "sort and fill memory in C",
            Kind::Tls => "borrow a thread-local map",
        }
    }
}

/// The state of one hog.
#[derive(Debug)]
pub struct Work {
    kind: Kind,
    number: u64,
    blocks: Vec<Vec<u8>>,
    memory: Vec<u8>,
}

impl Work {
    /// Of a hog of this kind; `seed` tells it from its fellows.
    pub fn new(kind: Kind, seed: usize) -> Work {
        let (blocks, memory) = match kind {
            Kind::Alloc => (LIVE_BLOCKS, 0),
            Kind::Ffi => (0, SET_BYTES),
            _ => (0, 0),
        };
        Work {
            kind,
            number: 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * seed as u64 + 1),
            blocks: vec![Vec::new(); blocks],
            memory: vec![0; memory],
        }
    }

    /// One unit of work.
    pub fn unit(&mut self, lock: &Mutex<u64>) {
        match self.kind {
            Kind::Spin => self.spin(SPIN_STEPS),
            Kind::Alloc => self.allocate(),
            Kind::Lock => {
                {
                    let mut held = lock.lock().expect("no holder panics");
                    self.spin(LOCKED_STEPS);
                    *held = held.wrapping_add(self.number);
                }
                self.spin(UNLOCKED_STEPS);
            }
            Kind::Sleep => std::thread::sleep(NAP),
            Kind::Ffi => self.call_c(),
            Kind::Tls => self.use_thread_local(),
        }
    }

    /// Each step needs the one before: no compiler finds a shorter way to the last one, which is used.
    #[inline(never)]
    fn spin(&mut self, steps: u32) {
        let mut number = black_box(self.number);
        for _ in 0..steps {
            number = step(number);
        }
        self.number = black_box(number);
    }

    fn allocate(&mut self) {
        for _ in 0..BLOCKS {
            self.number = step(self.number);
            let slot = self.number as usize % LIVE_BLOCKS;
            let mut block = vec![0_u8; 16 + (self.number >> 32) as usize % 1024];
            block[0] = slot as u8;
            self.blocks[slot] = black_box(block);
        }
    }

    fn call_c(&mut self) {
        let mut array: Vec<u64> = (0..SORTED)
            .map(|_| {
                self.number = step(self.number);
                self.number
            })
            .collect();
        // SAFETY: the pointer, the count and the size describe `array`; `compare` takes two of its elements.
        unsafe {
            libc::qsort(
                array.as_mut_ptr().cast(),
                array.len(),
                size_of::<u64>(),
                Some(compare),
            )
        };
        black_box(&array);
        for byte in 0..4 {
            // SAFETY: so many bytes are there to be written.
            unsafe { libc::memset(self.memory.as_mut_ptr().cast(), byte, self.memory.len()) };
            black_box(&mut self.memory);
        }
    }

    /// A neighbour on the same thread-local would find it borrowed, and panic.
    fn use_thread_local(&mut self) {
        COUNTS.with_borrow_mut(|counts| {
            counts.clear();
            for _ in 0..INCREMENTS {
                self.number = step(self.number);
                *counts.entry(self.number % 256).or_default() += 1;
            }
            assert_eq!(counts.values().sum::<u64>(), INCREMENTS);
        });
    }
}

thread_local! {
    static COUNTS: RefCell<HashMap<u64, u64>> = RefCell::default();
}

fn step(mut number: u64) -> u64 {
    number ^= number << 13;
    number ^= number >> 7;
    number ^ number << 17
}

extern "C" fn compare(a: *const libc::c_void, b: *const libc::c_void) -> libc::c_int {
    // SAFETY: qsort passes elements of the array it was given.
    let [a, b] = [a, b].map(|element| unsafe { *element.cast::<u64>() });
    a.cmp(&b) as libc::c_int
}
