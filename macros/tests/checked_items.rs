//! What `#[preemptive::checked]` covers on `impl` blocks, traits and modules.

#![allow(
    clippy::never_loop,
    reason = "that these loops are loops is all that matters"
)]

mod mock;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use preemptive_macros::checked;

use mock::Check::{Enter, Safepoint};
use mock::{checks, count};

/// A block with everything that there is in one.
#[derive(Debug, PartialEq)]
struct Type;

#[checked(crate = "crate::mock", red_zone = "32KiB")]
impl Type {
    const LENGTH: usize = {
        let mut n = 0;
        while n < 3 {
            n += 1;
        }
        n
    };

    fn looped(&self) {
        for _ in 0..Self::LENGTH {}
    }

    fn with_items_inside() {
        fn inner() {}
        inner();
    }

    #[preemptive_macros::checked(crate = "crate::mock", loops = false)]
    fn overrides(&self) {
        for _ in 0..3 {}
    }

    const fn constant(mut n: u32) -> u32 {
        while n > 3 {
            n -= 1;
        }
        n
    }

    async fn later(&self) {
        for _ in 0..3 {}
    }
}

#[test]
fn a_block() {
    let zone = 32 << 10;
    let ((), seen) = checks(|| Type.looped());
    assert_eq!(seen, [Enter(zone), Safepoint, Safepoint, Safepoint]);
    assert_eq!(
        checks(Type::with_items_inside).1,
        [Enter(zone), Enter(zone)]
    );
    assert_eq!(checks(|| Type.overrides()).1, [Enter(0)]);
    const N: u32 = Type::constant(9);
    assert_eq!(checks(|| Type::constant(9)), (N, vec![]));
    let mut future = pin!(Type.later());
    let mut context = Context::from_waker(Waker::noop());
    let (polled, seen) = checks(|| future.as_mut().poll(&mut context));
    assert_eq!(polled, Poll::Ready(()));
    assert_eq!(seen, vec![Safepoint; 4]);
}

#[checked(crate = "crate::mock")]
trait Defaults {
    type Item;
    const N: u32 = 3;

    fn required(&self) -> Self::Item;

    fn provided(&self) -> Self::Item {
        for _ in 0..Self::N {}
        self.required()
    }

    fn by_value(mut self) -> Self
    where
        Self: Sized,
    {
        self.provided();
        self.change();
        self
    }

    fn change(&mut self) {}

    #[checked(crate = "crate::mock", loops = false)]
    fn overrides(&self) {
        for _ in 0..3 {}
    }
}

#[checked(crate = "crate::mock")]
impl Defaults for Type {
    type Item = u32;

    fn required(&self) -> Self::Item {
        1
    }
}

#[test]
fn a_trait_and_its_implementation() {
    assert_eq!(count(|| assert_eq!(Type.provided(), 1)), (2, 3));
    assert_eq!(count(|| assert_eq!(Type.by_value(), Type)), (4, 3));
    assert_eq!(count(|| Defaults::overrides(&Type)), (1, 0));
}

#[checked(crate = "crate::mock")]
mod covered {
    use std::sync::LazyLock;

    pub(super) static LAZY: LazyLock<u32> = LazyLock::new(|| {
        let mut sum = 0;
        for i in 0..4 {
            sum += i;
        }
        sum
    });

    pub(super) const LENGTH: usize = {
        let mut n = 0;
        while n < 3 {
            n += 1;
        }
        n
    };

    pub(super) enum Number {
        One = {
            let mut n = 0;
            while n < 1 {
                n += 1;
            }
            n
        },
    }

    pub(super) fn outer() {
        fn inner() {
            for _ in 0..2 {}
        }
        inner();
    }

    pub(super) mod deeper {
        pub(in super::super) fn function() {
            loop {
                break;
            }
        }

        #[super::super::checked(crate = "crate::mock", red_zone = "2KiB")]
        pub(in super::super) mod overrides {
            pub(in super::super::super) fn function() {
                loop {
                    break;
                }
            }
        }
    }

    pub(super) struct Type;

    impl Drop for Type {
        fn drop(&mut self) {
            for _ in 0..2 {}
        }
    }

    #[super::checked(crate = "crate::mock", loops = false)]
    impl Type {
        pub(super) fn method(&self) {
            for _ in 0..2 {}
        }
    }
}

#[test]
fn a_module() {
    assert_eq!(checks(|| *covered::LAZY), (6, vec![Safepoint; 4]));
    assert_eq!(covered::LENGTH, 3);
    assert_eq!(covered::Number::One as u32, 1);
    assert_eq!(count(covered::outer), (2, 2));
    assert_eq!(checks(covered::deeper::function).1, [Enter(0), Safepoint]);
    assert_eq!(
        checks(covered::deeper::overrides::function).1,
        [Enter(2048), Safepoint]
    );
    let value = covered::Type;
    assert_eq!(count(|| value.method()), (1, 0));
    assert_eq!(count(|| drop(value)), (1, 2));
}
