//! Which loops of a function `#[preemptive::checked]` checks, and which not.

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

#[checked(crate = "crate::mock")]
fn every_kind(n: u32) -> u32 {
    let mut sum = 0;
    for i in 0..n {
        sum += i;
    }
    let mut left = n;
    while left > 0 {
        left -= 1;
    }
    let mut list: Vec<u32> = (0..n).collect();
    while let Some(last) = list.pop()
        && last < n
    {
        sum += last;
    }
    sum += loop {
        left += 1;
        if left == n {
            break left;
        }
    };
    sum
}

#[test]
fn every_kind_of_loop() {
    assert_eq!(count(|| assert_eq!(every_kind(5), 25)), (1, 20));
}

#[checked(crate = "crate::mock")]
fn jumps(n: u32) -> u32 {
    let mut sum = 0;
    'outer: for i in 0..n {
        'inner: loop {
            for j in 0..n {
                if j == i {
                    continue 'outer;
                }
                if j == 2 {
                    break 'inner;
                }
                sum += 1;
            }
            unreachable!();
        }
    }
    sum
}

#[test]
fn labels_and_nests() {
    // Five of the outer loop, five of the next, and 1 + 2 + 3 + 3 + 3 of the inner one.
    assert_eq!(count(|| assert_eq!(jumps(5), 7)), (1, 22));
}

#[checked(crate = "crate::mock")]
fn in_every_place(n: u32) -> u32 {
    let closure = |n: u32| {
        let mut sum = 0;
        for i in 0..n {
            sum += i;
        }
        sum
    };
    let block = {
        // SAFETY: nothing here is unsafe.
        #[allow(unused_unsafe, reason = "the loop in it is what matters")]
        unsafe {
            let mut left = n;
            while left > 0 {
                left -= 1;
            }
            left
        }
    };
    let arm = match n {
        0 => 0,
        n => loop {
            break n;
        },
    };
    let condition = {
        let mut once = true;
        while {
            for _ in 0..2 {}
            once
        } {
            once = false;
        }
        1
    };
    closure(n) + block + arm + condition
}

#[test]
fn loops_in_closures_blocks_arms_and_conditions() {
    // 4 of the closure, 4 of the block, 1 of the arm, 2 * 2 of the condition and 1 of its loop.
    assert_eq!(count(|| assert_eq!(in_every_place(4), 6 + 4 + 1)), (1, 14));
}

/// A type, so that loops can be written where a length is.
struct Length<const N: usize>;

impl<const N: usize> Length<N> {
    fn get(&self) -> usize {
        N
    }
}

#[checked(crate = "crate::mock")]
fn at_compile_time() -> usize {
    let array: [u8; {
        let mut n = 0;
        while n < 3 {
            n += 1;
        }
        n
    }] = [0; {
        let mut n = 0;
        while n < 3 {
            n += 1;
        }
        n
    }];
    let block = const {
        let mut n = 0;
        loop {
            n += 1;
            if n == 2 {
                break n;
            }
        }
    };
    let length = Length::<
        {
            let mut n = 0;
            while n < 4 {
                n += 1;
            }
            n
        },
    >;
    array.len() + block + length.get()
}

#[test]
fn what_runs_in_the_compiler_is_left_alone() {
    assert_eq!(count(|| assert_eq!(at_compile_time(), 9)), (1, 0));
}

#[checked(crate = "crate::mock")]
fn with_items_inside(n: u32) -> u32 {
    fn inner(n: u32) -> u32 {
        let mut sum = 0;
        for i in 0..n {
            sum += i;
        }
        sum
    }
    struct Type;
    impl Type {
        fn method(&self, n: u32) -> u32 {
            let mut left = n;
            while left > 0 {
                left -= 1;
            }
            left
        }
    }
    macro_rules! spin {
        ($n:expr) => {
            for _ in 0..$n {}
        };
    }
    spin!(n);
    assert_eq!(
        {
            for _ in 0..n {}
            n
        },
        n
    );
    inner(n) + Type.method(n)
}

#[test]
fn items_in_a_function_and_macros_are_left_alone() {
    assert_eq!(count(|| assert_eq!(with_items_inside(3), 3)), (1, 0));
}

#[checked(crate = "crate::mock", loops = false)]
fn entry_only(n: u32) -> u32 {
    let mut sum = 0;
    for i in 0..n {
        sum += i;
    }
    sum
}

#[checked(crate = "crate::mock", loops = true, red_zone = "64KiB")]
fn wide(n: u32) {
    for _ in 0..n {}
}

#[checked(red_zone = "1 MiB", crate = "crate::mock")]
fn wider() {}

#[checked(red_zone = r"2048B", crate = "crate::mock")]
fn narrow() {}

#[test]
fn arguments() {
    assert_eq!(count(|| assert_eq!(entry_only(3), 3)), (1, 0));
    let ((), seen) = checks(|| wide(2));
    assert_eq!(seen, [Enter(65_536), Safepoint, Safepoint]);
    assert_eq!(checks(wider).1, [Enter(1_048_576)]);
    assert_eq!(checks(narrow).1, [Enter(2048)]);
}

#[checked(crate = "crate::mock")]
async fn waits(n: u32) -> u32 {
    let mut sum = 0;
    for i in 0..n {
        sum += std::future::ready(i).await;
    }
    let block = async { for _ in 0..n {} };
    block.await;
    sum
}

#[test]
fn loops_that_await() {
    let (future, none) = checks(|| waits(4));
    assert_eq!(none, []);
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let (polled, seen) = checks(|| future.as_mut().poll(&mut context));
    assert_eq!(polled, Poll::Ready(6));
    assert_eq!(seen, vec![Safepoint; 9]);
}
