//! loom's atomics, with two things added.
//!
//! *Sequential consistency.* loom lets such a load see the last such store, and otherwise takes the access for one that
//! acquires and releases. Here a full fence follows each store and each read-modify-write as well, as it does on
//! x86-64. A weaker store can still be overtaken by a sequentially consistent load that follows it.
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
        (Weakness::TotalOrder, Ordering::SeqCst) => Ordering::AcqRel,
        (Weakness::Release, Ordering::Release) | (Weakness::Acquire, Ordering::Acquire) => {
            Ordering::Relaxed
        }
        (_, order) => order,
    }
}

/// The ordering of a load.
fn load(order: Ordering) -> Ordering {
    match (WEAKNESS.get(), order) {
        (Weakness::Acquire, Ordering::Acquire | Ordering::SeqCst) => Ordering::Relaxed,
        (Weakness::TotalOrder, Ordering::SeqCst) => Ordering::Acquire,
        (_, order) => order,
    }
}

/// The ordering of a store.
fn store(order: Ordering) -> Ordering {
    match (WEAKNESS.get(), order) {
        (Weakness::Release, Ordering::Release | Ordering::SeqCst) => Ordering::Relaxed,
        (Weakness::TotalOrder, Ordering::SeqCst) => Ordering::Release,
        (_, order) => order,
    }
}

/// What follows every store and every read-modify-write.
fn settle(order: Ordering) {
    if order == Ordering::SeqCst && WEAKNESS.get() == Weakness::None {
        fence(Ordering::SeqCst);
    }
}

macro_rules! methods {
    ($value:ty; $($change:ident)*) => {
        pub(crate) fn load(&self, order: Ordering) -> $value {
            self.0.load(load(order))
        }

        pub(crate) fn store(&self, value: $value, order: Ordering) {
            self.0.store(value, store(order));
            settle(order);
        }

        pub(crate) fn compare_exchange(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            let result = self.0.compare_exchange(current, new, both(success), load(failure));
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
                let new = loom::sync::atomic::$name::new(value);
                // Or loom would let a sequentially consistent load see the first value for ever.
                new.store(value, Ordering::SeqCst);
                $name(new)
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
