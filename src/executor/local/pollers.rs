//! Several futures that poll one set by turns.
//!
//! A set's inbox has one slot for a waker, that of whoever polled last ([`Inbox`](super::inbox::Inbox)): tasks that are
//! pushed wake that one, and it runs the tasks of all. When it ends, its waker is nobody's, and the others, whose futures
//! wait for tasks of the set, would sleep for ever. So each leaves a waker here as well, and if the one that ends is the
//! one whose turn it was, all the others are woken: the next that polls takes over.
//!
//! With one poller, nearly always, that is one clone of its waker.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// The pollers of a set. Owner only.
#[derive(Debug)]
pub(super) struct Pollers {
    wakers: RefCell<Vec<(u64, Waker)>>,
    /// Whose waker is in the inbox.
    last: Cell<u64>,
    /// How many there ever were.
    count: Cell<u64>,
}

impl Pollers {
    pub(super) fn new() -> Pollers {
        Pollers {
            wakers: RefCell::default(),
            last: Cell::new(0),
            count: Cell::new(0),
        }
    }

    /// One more.
    pub(super) fn enter(&self) -> Poller<'_> {
        self.count.set(self.count.get() + 1);
        Poller {
            pollers: self,
            number: self.count.get(),
        }
    }

    /// Takes a poller's waker out. No code of the user's runs while the list is borrowed, here and below.
    fn take(&self, number: u64) -> Option<Waker> {
        let mut wakers = self.wakers.borrow_mut();
        let place = wakers.iter().position(|(other, _)| *other == number)?;
        Some(wakers.swap_remove(place).1)
    }
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Poller<'a> {
    pollers: &'a Pollers,
    number: u64,
}

impl Poller<'_> {
    /// It polls, with this waker, and will again.
    pub(super) fn polls(&self, waker: &Waker) {
        self.pollers.last.set(self.number);
        let is_known = self
            .pollers
            .wakers
            .borrow()
            .iter()
            .any(|(number, known)| *number == self.number && known.will_wake(waker));
        if !is_known {
            let new = waker.clone();
            let old = self.pollers.take(self.number);
            self.pollers.wakers.borrow_mut().push((self.number, new));
            drop(old);
        }
    }
}

impl Drop for Poller<'_> {
    fn drop(&mut self) {
        let own = self.pollers.take(self.number);
        if self.pollers.last.get() == self.number {
            // Each leaves another when it polls.
            let others = self.pollers.wakers.take();
            others.into_iter().for_each(|(_, waker)| waker.wake());
        }
        drop(own);
    }
}
