//! loom's atomics, with two things added.
//!
//! *Sequential consistency.* loom takes such an access for one that acquires and releases. Here a full fence follows
//! it, which is one of the ways in which compilers make such accesses. What was written by a weaker store before a
//! sequentially consistent load may still come after it, as it may on the machine.
//!
//! *Weakness*: for the tests that must fail, [`weakened`] takes a part of the orderings away.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::{Ordering, fence};

/// What a model does without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// Nothing.
    None,
    /// Stores do not release.
    Release,
    /// Loads do not acquire.
    Acquire,
    /// Sequentially consistent accesses only acquire and release.
    TotalOrder,
}

thread_local! {
    // Of std's, on purpose: loom runs all threads of a model on the one of the test.
    static WEAKNESS: Cell<Weakness> = const { Cell::new(Weakness::None) };
}

/// Runs a model with weaker orderings in the modules under test.
pub(crate) fn weakened<R>(weakness: Weakness, model: impl FnOnce() -> R) -> R {
    /// Tests that share a thread follow, and this one ends in a panic.
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            WEAKNESS.set(Weakness::None);
        }
    }
    WEAKNESS.set(weakness);
    let _restore = Restore;
    model()
}

/// The ordering of a read-modify-write.
fn both(order: Ordering) -> Ordering {
    match (WEAKNESS.get(), order) {
        (Weakness::Release, Ordering::AcqRel | Ordering::SeqCst) => Ordering::Acquire,
        (Weakness::Acquire, Ordering::AcqRel | Ordering::SeqCst) => Ordering::Release,
        (_, order) => one(order),
    }
}

/// The ordering of a load or of a store.
fn one(order: Ordering) -> Ordering {
    match (WEAKNESS.get(), order) {
        (Weakness::Release, Ordering::Release) => Ordering::Relaxed,
        (Weakness::Acquire, Ordering::Acquire) => Ordering::Relaxed,
        (_, order) => order,
    }
}

/// What follows every access.
fn settle(order: Ordering) {
    if order == Ordering::SeqCst && WEAKNESS.get() != Weakness::TotalOrder {
        fence(Ordering::SeqCst);
    }
}

macro_rules! methods {
    ($value:ty; $($change:ident)*) => {
        pub(crate) fn load(&self, order: Ordering) -> $value {
            let value = self.0.load(one(order));
            settle(order);
            value
        }

        pub(crate) fn store(&self, value: $value, order: Ordering) {
            self.0.store(value, one(order));
            settle(order);
        }

        pub(crate) fn compare_exchange(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            let result = self.0.compare_exchange(current, new, both(success), one(failure));
            settle(success);
            result
        }

        pub(crate) fn compare_exchange_weak(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            self.compare_exchange(current, new, success, failure)
        }

        $(pub(crate) fn $change(&self, value: $value, order: Ordering) -> $value {
            let before = self.0.$change(value, both(order));
            settle(order);
            before
        })*
    };
}

macro_rules! atomics {
    ($($name:ident($value:ty): $($change:ident)*;)*) => {$(
        #[derive(Debug)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        #[allow(dead_code, reason = "every type has all operations")]
        impl $name {
            pub(crate) fn new(value: $value) -> Self {
                $name(loom::sync::atomic::$name::new(value))
            }

            methods!($value; $($change)*);
        }
    )*};
}

atomics! {
    AtomicBool(bool): swap fetch_and fetch_or fetch_xor;
    AtomicU32(u32): swap fetch_add fetch_sub fetch_and fetch_or fetch_xor;
    AtomicU64(u64): swap fetch_add fetch_sub fetch_and fetch_or fetch_xor;
    AtomicUsize(usize): swap fetch_add fetch_sub fetch_and fetch_or fetch_xor;
}

#[derive(Debug)]
pub(crate) struct AtomicPtr<T>(loom::sync::atomic::AtomicPtr<T>);

#[allow(dead_code, reason = "every type has all operations")]
impl<T> AtomicPtr<T> {
    pub(crate) fn new(value: *mut T) -> Self {
        AtomicPtr(loom::sync::atomic::AtomicPtr::new(value))
    }

    methods!(*mut T; swap);
}
