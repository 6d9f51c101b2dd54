//! Recursion over segment boundaries is right wherever it is preempted.

mod support;

use preemptive::stack;
use preemptive::testing::signal_this_worker;
use preemptive::time::timeout;
use std::sync::Arc;
use support::isolated;
use support::load::{Hogs, LONG, SHORT, block_on, runtime};

/// Ackermann's function, with its depth on the stack.
fn ackermann(m: u64, n: u64) -> u64 {
    stack::grow(16 * 1024, 0, || match (m, n) {
        (0, n) => n + 1,
        (m, 0) => ackermann(m - 1, 1),
        (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
    })
}

/// The sum of a tree that is as deep as it has nodes.
fn sum(tree: &Tree) -> u64 {
    stack::grow(16 * 1024, 0, || {
        tree.value + tree.left.as_deref().map_or(0, sum) + tree.right.as_deref().map_or(0, sum)
    })
}

struct Tree {
    value: u64,
    left: Option<Box<Tree>>,
    right: Option<Box<Tree>>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        let (left, right) = (self.left.take(), self.right.take());
        stack::grow(16 * 1024, 0, || drop((left, right)));
    }
}

fn chain(length: u64) -> Tree {
    (1..=length).fold(
        Tree {
            value: 0,
            left: None,
            right: None,
        },
        |tree, value| {
            let (left, right) = match value % 2 {
                0 => (Some(Box::new(tree)), None),
                _ => (None, Some(Box::new(tree))),
            };
            Tree { value, left, right }
        },
    )
}

/// How many arrays and numbers a text of nested JSON arrays has: by recursive descent.
fn count(text: &mut &[u8]) -> (u64, u64) {
    stack::grow(16 * 1024, 0, || {
        let (mut arrays, mut numbers) = (1, 0);
        assert_eq!(text[0], b'[');
        *text = &text[1..];
        loop {
            match text[0] {
                b'[' => {
                    let inside = count(text);
                    arrays += inside.0;
                    numbers += inside.1;
                }
                b']' => {
                    *text = &text[1..];
                    return (arrays, numbers);
                }
                b',' => *text = &text[1..],
                _ => {
                    let end = text
                        .iter()
                        .position(|c| !c.is_ascii_digit())
                        .expect("an end");
                    *text = &text[end..];
                    numbers += 1;
                }
            }
        }
    })
}

/// 10 MB: half a million arrays, one in the other.
fn nested_json() -> Vec<u8> {
    let depth = 500_000_u64;
    let mut text = Vec::new();
    for number in 0..depth {
        text.extend_from_slice(format!("[{},", 1_000_000_000_000 + number).as_bytes());
    }
    for _ in 0..depth {
        text.extend_from_slice(b",7,8]");
    }
    text
}

#[test]
fn recursion_is_right_wherever_it_is_preempted() {
    isolated::run_with(
        "recursion_is_right_wherever_it_is_preempted",
        &[],
        3 * LONG,
        || {
            let runtime = runtime(2, SHORT);
            let hogs = Hogs::crowd(&runtime, 2);
            let text: Arc<[u8]> = nested_json().into();
            assert!(text.len() >= 10_000_000);
            let mut tasks = Vec::new();
            for _ in 0..2 {
                let text = Arc::clone(&text);
                tasks.push(runtime.spawn(async move {
                    assert_eq!(ackermann(2, 2_000), 4_003);
                    let tree = chain(200_000);
                    assert_eq!(sum(&tree), 200_000 * 200_001 / 2);
                    drop(tree);
                    assert_eq!(count(&mut &text[..]), (500_000, 1_500_000));
                }));
            }
            for task in tasks {
                block_on(&runtime, async { timeout(2 * LONG, task).await })
                    .expect("in time")
                    .expect("right");
            }
            assert!(runtime.metrics().asynchronous_preemptions() > 0);
            drop(hogs);
        },
    );
}

/// Preempted before, on and after every boundary.
fn preempted_everywhere(levels: u64) -> u64 {
    signal_this_worker(true);
    // Every third call finds room enough.
    let red_zone = if levels.is_multiple_of(3) {
        0
    } else {
        usize::MAX
    };
    let inside = stack::grow(red_zone, 0, || {
        signal_this_worker(true);
        let inner = match levels {
            0 => 0,
            _ => preempted_everywhere(levels - 1),
        };
        signal_this_worker(true);
        inner + levels
    });
    signal_this_worker(true);
    inside
}

#[test]
fn a_recursion_that_is_preempted_at_every_boundary_is_right() {
    for workers in [1, 2] {
        let runtime = runtime(workers, SHORT);
        let hogs = Hogs::crowd(&runtime, workers + 1);
        let before = runtime.metrics().asynchronous_preemptions();
        let tasks: Vec<_> = (0..2)
            .map(|_| runtime.spawn(async { preempted_everywhere(200) }))
            .collect();
        for task in tasks {
            let sum = block_on(&runtime, async { timeout(2 * LONG, task).await });
            assert_eq!(sum.expect("in time").expect("no panic"), 200 * 201 / 2);
        }
        // Most signals find their poll. But on a loaded machine it may have been given back meanwhile, and then there is no
        // worker to be preempted on.
        let preempted = runtime.metrics().asynchronous_preemptions() - before;
        assert!(preempted >= 50, "only {preempted}");
        drop(hogs);
    }
}
