//! A set of small numbers that any thread, a signal handler included, can add to and take from.

use crate::primitives::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Every operation is sequentially consistent: the sleep protocol rests on that.
#[derive(Debug)]
pub(crate) struct Bits {
    words: Box<[AtomicU64]>,
    count: AtomicUsize,
}

impl Bits {
    /// An empty set for numbers below `size`.
    pub(crate) fn new(size: usize) -> Bits {
        Bits {
            words: (0..size.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicUsize::new(0),
        }
    }

    /// Adds a number that is not in the set.
    pub(crate) fn insert(&self, number: usize) {
        // The count first: nobody may see a member that is not counted, or it would wrap.
        self.count.fetch_add(1, Ordering::SeqCst);
        self.words[number / 64].fetch_or(1 << (number % 64), Ordering::SeqCst);
    }

    /// Takes this number out. False: somebody else did.
    #[must_use]
    pub(crate) fn remove(&self, number: usize) -> bool {
        let bit = 1 << (number % 64);
        let was = self.words[number / 64].fetch_and(!bit, Ordering::SeqCst);
        if was & bit != 0 {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
        was & bit != 0
    }

    /// Takes any number out.
    pub(crate) fn take_any(&self) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        for (index, word) in self.words.iter().enumerate() {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                let number = index * 64 + bits.trailing_zeros() as usize;
                if self.remove(number) {
                    return Some(number);
                }
                bits = word.load(Ordering::SeqCst);
            }
        }
        None
    }

    /// Is this number in the set?
    pub(crate) fn contains(&self, number: usize) -> bool {
        self.words[number / 64].load(Ordering::SeqCst) & (1 << (number % 64)) != 0
    }

    /// How many there are, at some moment; never too few.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// None, at some moment.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
