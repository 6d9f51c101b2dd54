//! Whether a fiber is in its *seat*, told to a thread that may take its time: with the feature `tracing`.
//!
//! A span that is entered on a fiber has to be exited when the fiber is suspended and entered again when it goes on, and
//! neither can be done there: both are user code (R1), and the fiber may have been stopped in the middle of that very
//! code. So who suspends and who resumes only change a number and put the seat into a queue; the *attendant*
//! (`executor::trace`), an ordinary thread, takes it out and tells what has changed. Nothing waits for it there.
//!
//! # The words
//!
//! | word | written by | means |
//! |---|---|---|
//! | `moves` | who suspends or resumes the fiber, and so owns it; critical | odd: it is away |
//! | `scopes` | the fiber, while it has the `hold` | what is to be told: the innermost scope; null: nothing |
//! | `hold` | the fiber, and the attendant | who may look at the scopes: see below |
//! | `queued` | who puts the seat into the queue, and the attendant | it is in there, once |
//!
//! The queue holds a counted reference: a seat outlives its fiber where it must. Taking one allocates nothing, and only the
//! attendant gives one back.
//!
//! Level, not edges: the attendant clears `queued`, then reads `moves`; who moves changes `moves`, then sets `queued`.
//! So it sees every last state, and an absence that is over by then is not told at all.
//!
//! # The hold
//!
//! ```text
//!           ┌─── the fiber, in a critical section ───▶ MINE ───┐
//!   FREE ◀──┴──────────────────────────────────────────────────┘
//!    │  ▲
//!    │  └───────────── told all ──────── TELLS ──── the fiber wants it, sleeps ──▶ WAITED ── told all, wakes it ──▶ FREE
//!    │                                     ▲                                         ▲
//!    ├───────── the attendant ─────────────┘                                         │
//!    └── the fiber waits for what is still to be told, sleeps ──▶ OWED ── the attendant
//! ```
//!
//! While it tells, the attendant may wait for a lock of the subscriber's that a suspended fiber holds. A fiber waits for
//! it only where it may wait for such locks itself: preemptibly, at the begin and the end of a scope.

use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use crate::sys;
use std::ptr::null_mut;

const FREE: u32 = 0;
const MINE: u32 = 1;
const TELLS: u32 = 2;
const WAITED: u32 = 3;
const OWED: u32 = 4;

/// Seats that something is to be told of, last come first.
static QUEUE: AtomicPtr<Seat> = AtomicPtr::new(null_mut());
/// What the attendant sleeps on: 0 it looks, or sleeps; 1 it is to look again.
static ROUSED: AtomicU32 = AtomicU32::new(0);

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Seat {
    moves: AtomicU32,
    /// How often the fiber was suspended against its wish, with scopes.
    preempted: AtomicU32,
    scopes: AtomicPtr<()>,
    hold: AtomicU32,
    queued: AtomicBool,
    /// The queue's link.
    next: AtomicPtr<Seat>,
}

/// What the fiber finds when it asks for the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It has it: the innermost scope.
    Mine(*mut ()),
    /// The attendant has it: sleep while the word has this value.
    Wait(u32),
}

impl Seat {
    pub(super) fn new() -> Seat {
        Seat {
            moves: AtomicU32::new(0),
            preempted: AtomicU32::new(0),
            scopes: AtomicPtr::new(null_mut()),
            hold: AtomicU32::new(FREE),
            queued: AtomicBool::new(false),
            next: AtomicPtr::new(null_mut()),
        }
    }

    /// The fiber is suspended in the middle of a poll. By its owner, before others can find it.
    #[inline]
    pub(crate) fn leave(self: &Arc<Self>, is_preempted: bool) {
        // Its own word: whoever suspends a fiber comes after what that has written.
        if self.scopes.load(Ordering::Relaxed).is_null() {
            return;
        }
        let preempted = self.preempted.load(Ordering::Relaxed);
        self.preempted
            .store(preempted + u32::from(is_preempted), Ordering::Relaxed);
        self.moves.fetch_add(1, Ordering::SeqCst);
        self.queue();
    }

    /// It goes on. By its owner, before it does.
    #[inline]
    pub(crate) fn come_back(self: &Arc<Self>) {
        if self.moves.load(Ordering::Relaxed).is_multiple_of(2) {
            return;
        }
        self.moves.fetch_add(1, Ordering::SeqCst);
        self.queue();
    }

    /// Is the fiber away? The attendant asks.
    pub(crate) fn is_away(&self) -> bool {
        !self.moves.load(Ordering::SeqCst).is_multiple_of(2)
    }

    /// See the field.
    pub(crate) fn preempted(&self) -> u32 {
        self.preempted.load(Ordering::Relaxed)
    }

    #[cold]
    fn queue(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        // Counted for the queue. No allocation, and no value that would be dropped here.
        let this = Arc::into_raw(Arc::clone(self)).cast_mut();
        let mut first = QUEUE.load(Ordering::Relaxed);
        loop {
            self.next.store(first, Ordering::Relaxed);
            match QUEUE.compare_exchange_weak(first, this, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => first = other,
            }
        }
        rouse();
    }

    /// The fiber asks for the hold, in a critical section, in which it gives it back: [`set`](Self::set).
    pub(crate) fn try_hold(&self) -> Hold {
        loop {
            match self
                .hold
                .compare_exchange(FREE, MINE, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Hold::Mine(self.scopes.load(Ordering::Relaxed)),
                Err(TELLS) => {
                    let waits = self.hold.compare_exchange(
                        TELLS,
                        WAITED,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    );
                    if waits.is_ok() {
                        return Hold::Wait(WAITED);
                    }
                }
                Err(other) => return Hold::Wait(other),
            }
        }
    }

    /// Gives the hold back, with other scopes.
    pub(crate) fn set(&self, scopes: *mut ()) {
        self.scopes.store(scopes, Ordering::Relaxed);
        self.hold.store(FREE, Ordering::Release);
    }

    /// Gives the hold back to the attendant, which still has something to tell of this seat: the fiber is to sleep
    /// while the word has the value that this returns.
    pub(crate) fn owe(&self) -> u32 {
        self.hold.store(OWED, Ordering::Release);
        OWED
    }

    /// Sleeps while the hold is what [`try_hold`](Self::try_hold) or [`owe`](Self::owe) has said, at most until `deadline`.
    /// False: it is not.
    pub(crate) fn sleep(&self, value: u32, deadline: u64) -> bool {
        if self.hold.load(Ordering::Relaxed) != value {
            return false;
        }
        sys::futex_wait(&self.hold, value, Some(deadline));
        true
    }

    /// The attendant takes the hold: the innermost scope. It has taken the seat out of the queue.
    pub(crate) fn begin(&self) -> *mut () {
        // From here on a move queues it again.
        self.queued.store(false, Ordering::SeqCst);
        loop {
            let hold = self.hold.load(Ordering::Relaxed);
            let next = match hold {
                FREE => TELLS,
                OWED => WAITED,
                // Not for long: the fiber is in a critical section.
                _ => {
                    std::thread::yield_now();
                    continue;
                }
            };
            let taken =
                self.hold
                    .compare_exchange(hold, next, Ordering::Acquire, Ordering::Relaxed);
            if taken.is_ok() {
                return self.scopes.load(Ordering::Relaxed);
            }
        }
    }

    /// The attendant has told all there is.
    pub(crate) fn end(&self) {
        if self.hold.swap(FREE, Ordering::Release) == WAITED {
            sys::futex_wake(&self.hold, 1);
        }
    }
}

/// Has the attendant look.
pub(crate) fn rouse() {
    if ROUSED.swap(1, Ordering::SeqCst) == 0 {
        sys::futex_wake(&ROUSED, 1);
    }
}

/// The attendant is about to look: from here on [`rouse`] wakes it.
pub(crate) fn looks() {
    ROUSED.store(0, Ordering::SeqCst);
}

/// The attendant has looked and found nothing: it sleeps until it is roused, and has been since [`looks`] maybe.
pub(crate) fn sleep_until_roused() {
    sys::futex_wait(&ROUSED, 0, None);
}

/// Takes all seats out of the queue, in the order in which they came, and passes them on. By the attendant.
pub(crate) fn take_all(mut each: impl FnMut(&Seat)) -> bool {
    let mut seat = QUEUE.swap(null_mut(), Ordering::SeqCst);
    // It is a stack: turned round, by its own links.
    let mut first: *mut Seat = null_mut();
    while !seat.is_null() {
        // SAFETY: in the queue, so counted, and out of it nobody else's; the links are the queue's until `begin`.
        let next = unsafe { (*seat).next.swap(first, Ordering::Relaxed) };
        first = seat;
        seat = next;
    }
    let any = !first.is_null();
    while !first.is_null() {
        // SAFETY: it was counted for the queue, once.
        let seat = unsafe { Arc::from_raw(first.cast_const()) };
        // Before it can be queued again.
        first = seat.next.load(Ordering::Relaxed);
        each(&seat);
    }
    any
}
