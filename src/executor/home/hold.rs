//! What keeps a paused clock where it is while a future of `block_on` can run that the thread which drives does not poll.
//!
//! Each of these is one such future's. The clock is held from a wake-up to the end of the poll that follows: whoever drives
//! finds nothing to do meanwhile, and would set the clock forward (see `timer::clock`).

use super::super::shared::Shared;
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicBool, Ordering};

/// See the module's head.
#[derive(Debug)]
pub(super) struct Hold {
    shared: Arc<Shared>,
    /// The future has been woken, or is over, and this has counted one hold; it has none left to count in the end.
    held: AtomicBool,
}

impl Hold {
    /// For a future that is about to be polled.
    pub(super) fn new(shared: &Arc<Shared>) -> Hold {
        shared.hold_clock();
        Hold {
            shared: Arc::clone(shared),
            held: AtomicBool::new(true),
        }
    }

    /// The future has been woken. Call it before the thread that polls is told, and before the waker's own hold ends.
    pub(super) fn woken(&self) {
        // The poll that ends that hold has not begun, and will see why it was woken.
        if self.held.load(Ordering::SeqCst) {
            return;
        }
        self.shared.hold_clock();
        if self.held.swap(true, Ordering::SeqCst) {
            self.shared.let_clock_go();
        }
    }

    /// Polls the future: by the thread that drives, which is busy then, or apart.
    pub(super) fn during<R>(&self, is_apart: bool, poll: impl FnOnce() -> R) -> R {
        // One that is counted in between goes with the poll that its waker asks for.
        let held = self.held.load(Ordering::SeqCst) && self.held.swap(false, Ordering::SeqCst);
        if !held && is_apart {
            self.shared.hold_clock();
        }
        let _let_go = (held || is_apart).then(|| LetGo(&self.shared));
        poll()
    }

    /// The future is over: later wake-ups hold nothing.
    pub(super) fn end(&self) {
        if self.held.swap(true, Ordering::SeqCst) {
            self.shared.let_clock_go();
        }
    }
}

/// However the poll ends.
struct LetGo<'a>(&'a Shared);

impl Drop for LetGo<'_> {
    fn drop(&mut self) {
        self.0.let_clock_go();
    }
}
