//! Stack segments: what an identity's stack consists of, and how it goes on elsewhere when it is used up.
//!
//! ```text
//!   base: the fiber's or the thread's own stack        segment 1              segment 2
//!   ┌────────────────────────────┐                 ┌──────────────┐       ┌──────────────┐
//!   │ frames                     │            ┌───▶│ frames       │   ┌──▶│ frames       │
//!   │ grow, call_on ─────────────┼────────────┘    │ call_on ─────┼───┘   │              │
//!   │ red zone                   │                 │ red zone     │       │              │
//!   └─guard page─────────────────┘                 └─guard page───┘       └─guard page───┘
//! ```
//!
//! Nothing moves: frames stay where they are, so pointers into them stay valid, and unwinders walk over the
//! boundaries by [`call_on`](crate::arch::call_on)'s CFI. A preemption saves its registers elsewhere (the preempt
//! stack), so it may come on any segment, and between two.
//!
//! # Who owns what
//!
//! [`Stack`] is thread-local: only code that runs under the identity reads or writes it, but for the guard word in it.
//! A preempted fiber keeps it, with its thread-local storage. A signal handler of the application's may interrupt any
//! step below and check. On a signal stack, outside of what `low` and `high` say, it leaves all this alone. One that runs
//! on the stack that it has interrupted may grow as well, and is through with it before the interrupted step goes on: so
//! what it leaves behind must do for both.
//!
//! # The hot split
//!
//! A call at the boundary in a loop would map and unmap a segment each time. So the segment that was left last
//! stays with the identity (`spare`); the one that was spare until then goes to a pool, one per processor, which holds
//! a few. What the pool has no room for, or what has lain there for a second, is unmapped.

use super::fiber;
use super::guard::{Guard, RED_ZONE};
use super::map::{self, Region};
use super::pool;
use crate::arch;
use crate::primitives::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::sys;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// Bytes that a segment has unless more are asked for: reserved, and committed when they are touched.
pub(crate) const SEGMENT: usize = 1024 * 1024;

/// A mapping: a guard page, the stack, and this header at the upper end.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Segment {
    base: *mut u8,
    size: usize,
    /// The trimmer has seen it in the pool before.
    pub(super) has_rested: Cell<bool>,
}

impl Segment {
    /// Maps a segment with `size` bytes, at least.
    fn map(size: usize) -> Option<*mut Segment> {
        let size = size.checked_add(size_of::<Segment>())?;
        let (base, size, [region]) = map::reserve([size]).ok()?;
        let segment = (region.high - size_of::<Segment>()) as *mut Segment;
        // SAFETY: the upper end of a mapping that was just made; page-aligned, so 64-aligned as well.
        unsafe {
            segment.write(Segment {
                base,
                size,
                has_rested: Cell::new(false),
            });
        }
        MAPPED.fetch_add(1, Ordering::Relaxed);
        Some(segment)
    }

    /// # Safety
    ///
    /// Nobody runs on it or uses it afterwards.
    pub(super) unsafe fn unmap(segment: *mut Segment) {
        // SAFETY: the caller owns it.
        let Segment { base, size, .. } = unsafe { segment.read() };
        // SAFETY: its whole mapping, of which nobody uses anything any more.
        unsafe { sys::unmap(base, size) };
        MAPPED.fetch_sub(1, Ordering::Relaxed);
    }

    /// The stack in it.
    pub(super) fn region(&self) -> Region {
        Region {
            low: self.base as usize + sys::PAGE,
            high: std::ptr::from_ref(self) as usize,
        }
    }

    /// Is it of the size that pools hold?
    pub(super) fn is_common(&self) -> bool {
        self.size <= SEGMENT + 2 * sys::PAGE
    }
}

/// Segments that are mapped now.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// How many segments there are, in use, spare and pooled.
pub(crate) fn mapped() -> usize {
    MAPPED.load(Ordering::Relaxed)
}

/// The stack of an identity. See the module's head.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Stack {
    /// First: where a fiber's guard word is, is its stack.
    guard: Guard,
    /// The current segment; both 0 where it is unknown.
    low: Cell<usize>,
    high: Cell<usize>,
    /// It changes by exchanges, each of which is one instruction: see `take`.
    spare: AtomicPtr<Segment>,
}

/// It lies in [`arch::own`], which no destructor empties: checks work until the thread's last instruction.
const _: () =
    assert!(size_of::<Stack>() <= arch::OWN_SIZE && std::mem::offset_of!(Stack, guard) == 0);

thread_local! {
    /// Gives the spare segment back when the thread ends. Touched by whoever gets one, from the pool or a new one.
    static SPARE: Spare = const { Spare };
}

/// See `SPARE`.
struct Spare;

impl Drop for Spare {
    fn drop(&mut self) {
        own(Stack::unmap_spare);
    }
}

/// Runs `f` with the stack of the loaded identity.
#[inline]
pub(crate) fn own<R>(f: impl FnOnce(&Stack) -> R) -> R {
    // SAFETY: large enough (above), aligned to 64, initialised by the linker: two words that are `UNSET`, and zeros. Only
    // code under this identity makes references to it, all of them shared.
    f(unsafe { &*arch::own().cast::<Stack>() })
}

/// The calling identity begins on `region`.
pub(super) fn begin(region: Region) {
    own(|stack| stack.enter(region));
}

impl Stack {
    /// The guard word, and what it is when nobody wants anything.
    #[inline]
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// The current segment.
    fn region(&self) -> Region {
        Region {
            low: self.low.get(),
            high: self.high.get(),
        }
    }

    fn enter(&self, region: Region) {
        self.low.set(region.low);
        self.high.set(region.high);
        self.guard.set_limit(region.low + self.red_zone());
    }

    /// Bytes between the caller and the end of the current segment. None: it runs elsewhere, on a signal stack or one
    /// that somebody else has made.
    pub(crate) fn remaining(&self) -> Option<usize> {
        if self.high.get() == 0 {
            self.find_bounds();
        }
        let sp = arch::stack_pointer();
        (self.low.get()..self.high.get())
            .contains(&sp)
            .then(|| sp - self.low.get())
    }

    /// Is this address in the guard page below the current segment?
    pub(super) fn is_guard(&self, address: usize) -> bool {
        let low = self.low.get();
        (low.saturating_sub(sys::PAGE)..low).contains(&address)
    }

    /// Bytes at the end of the current segment that the check keeps free.
    pub(crate) fn red_zone(&self) -> usize {
        RED_ZONE.min(self.region().size() / 4)
    }

    /// Asks the C library where the calling thread's stack is.
    #[cold]
    fn find_bounds(&self) {
        let region = map::thread_stack().unwrap_or(Region {
            low: sys::PAGE,
            high: sys::PAGE,
        });
        self.enter(region);
    }

    /// A segment with at least `size` bytes.
    fn take(&self, size: usize) -> Option<*mut Segment> {
        // Out of its place before it is looked at: a handler of the application's that runs on this very stack, and
        // grows, may come in between, and give what it finds there to the pool.
        let spare = self.spare.swap(null_mut(), Ordering::Relaxed);
        // SAFETY: null, or the identity's own.
        if let Some(segment) = unsafe { spare.as_ref() } {
            if segment.region().size() >= size {
                return Some(spare);
            }
            self.leave(spare);
        }
        // Whatever comes of it will be spare. At the end of a thread's life there is nobody to clean up any more.
        let _ = SPARE.try_with(|_| {});
        let pooled = (size <= SEGMENT).then(|| pool::take(shard())).flatten();
        pooled.or_else(|| Segment::map(size.max(SEGMENT)))
    }

    /// Whoever owns the stack: the code that runs on it, or the owner of a suspended fiber.
    pub(super) fn unmap_spare(&self) {
        let spare = self.spare.swap(null_mut(), Ordering::Relaxed);
        if !spare.is_null() {
            // SAFETY: spare, so nobody runs on it.
            unsafe { Segment::unmap(spare) };
        }
    }

    /// The caller has left `segment`.
    fn leave(&self, segment: *mut Segment) {
        // Never both in hand and spare: code of the application's may come between any two steps.
        let before = self.spare.swap(segment, Ordering::Relaxed);
        if before.is_null() {
            return;
        }
        // SAFETY: it was spare until now, so nobody runs on it.
        unsafe {
            if !(*before).is_common() || !pool::put(shard(), before) {
                Segment::unmap(before);
            }
        }
    }
}

/// Which pool is the caller's: its processor's, as far as it has one.
fn shard() -> usize {
    // SAFETY: null, or the fiber that this code runs as.
    match unsafe { fiber::current().as_ref() } {
        Some(fiber) => fiber.processor.load(Ordering::Relaxed) as usize,
        None => arch::thread_pointer() >> 12,
    }
}

/// What is called on the new segment, and where its result goes.
struct Call<F, R> {
    f: MaybeUninit<F>,
    result: MaybeUninit<R>,
}

unsafe extern "sysv64-unwind" fn run<F: FnOnce() -> R, R>(call: *mut ()) {
    // SAFETY: `on_new_segment` passes its own, whose `f` is there and is taken this once.
    unsafe {
        let call = call.cast::<Call<F, R>>();
        let f = (*call).f.assume_init_read();
        (*call).result.write(f());
    }
}

/// Back to the segment before, also when `f` unwinds: unwinding runs this on the old stack.
struct Back<'a> {
    stack: &'a Stack,
    segment: *mut Segment,
    low: usize,
    high: usize,
    limit: usize,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        self.stack.low.set(self.low);
        self.stack.high.set(self.high);
        self.stack.guard.set_limit(self.limit);
        self.stack.leave(self.segment);
    }
}

/// Runs `f` on another segment with at least `size` bytes; here, where there is no memory for one: then the guard
/// page speaks up, when it comes to that.
#[inline(never)]
pub(crate) fn on_new_segment<F: FnOnce() -> R, R>(size: usize, f: F) -> R {
    own(|stack| {
        let Some(segment) = stack.take(size) else {
            return f();
        };
        // SAFETY: taken, the segment is ours.
        let region = unsafe { (*segment).region() };
        let mut call = Call {
            f: MaybeUninit::new(f),
            result: MaybeUninit::uninit(),
        };
        let back = Back {
            stack,
            segment,
            low: stack.low.get(),
            high: stack.high.get(),
            limit: stack.guard.limit(),
        };
        stack.enter(region);
        let argument = (&raw mut call).cast();
        // SAFETY: the segment is ours and unused; `run` gets the call that its types are for.
        unsafe { arch::call_on(region.high & !15, run::<F, R>, argument) };
        drop(back);
        // SAFETY: `run` has returned, so it has written the result.
        unsafe { call.result.assume_init() }
    })
}
