//! The check: by itself, in recursive functions, in loops.

use preemptive_benches::{Report, Samples, interleave, time};
use std::hint::black_box;
use std::time::Instant;

const SAMPLES: usize = 100;
/// Checks per sample.
const CHECKS: u32 = 100_000;
/// Rounds of the loops.
const ROUNDS: u64 = 1_000_000;
/// Samples of `fib(35)`, which takes some 50 ms.
const LONG_SAMPLES: usize = 15;

pub(crate) fn run(report: &Report) {
    let checks: Samples = (0..SAMPLES)
        .map(|_| time(CHECKS, preemptive::safepoint))
        .collect();
    report.figure_with_goal("safepoint", "ns", &checks, 1.5);

    compare(
        report,
        "checked/fib35",
        5.0,
        LONG_SAMPLES,
        [&mut || discard(fib(black_box(35))), &mut || {
            discard(checked_fib(black_box(35)))
        }],
    );
    compare(
        report,
        "checked/loop",
        8.0,
        SAMPLES,
        [&mut || discard(mix(black_box(ROUNDS))), &mut || {
            discard(checked_mix(black_box(ROUNDS)))
        }],
    );
    compare(
        report,
        "checked/sort",
        8.0,
        SAMPLES,
        [&mut || sort(&mut numbers()), &mut || {
            checked_sort(&mut numbers())
        }],
    );
}

/// How much longer the second takes than the first, in percent; in turn.
fn compare(report: &Report, name: &str, goal: f64, samples: usize, of: [&mut dyn FnMut(); 2]) {
    let [plain, checked] = of;
    let nanos = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed().as_nanos() as f64
    };
    let [plain, checked] = interleave(samples, [&mut || nanos(plain), &mut || nanos(checked)]);
    report.figure(&format!("{name}/plain"), "ns", &plain);
    report.figure(&format!("{name}/checked"), "ns", &checked);
    let percent = checked.map_with(&plain, |checked, plain| (checked / plain - 1.0) * 100.0);
    report.figure_with_goal(&format!("{name}/overhead"), "%", &percent, goal);
}

#[inline(never)]
fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

#[inline(never)]
#[preemptive::checked]
fn checked_fib(n: u64) -> u64 {
    if n < 2 {
        n
    } else {
        checked_fib(n - 1) + checked_fib(n - 2)
    }
}

/// A loop of four instructions that cannot be vectorised.
#[inline(never)]
fn mix(rounds: u64) -> u64 {
    let mut state = 0_u64;
    for round in 0..rounds {
        state = (state ^ round)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31);
    }
    state
}

#[inline(never)]
#[preemptive::checked]
fn checked_mix(rounds: u64) -> u64 {
    let mut state = 0_u64;
    for round in 0..rounds {
        state = (state ^ round)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(31);
    }
    state
}

fn discard(value: u64) {
    black_box(value);
}

fn numbers() -> Vec<u64> {
    (0..20_000_u64)
        .map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        .collect()
}

/// Quicksort: recursion and inner loops, in the proportion of ordinary code.
#[inline(never)]
fn sort(numbers: &mut [u64]) {
    if numbers.len() < 2 {
        return;
    }
    let pivot = numbers[numbers.len() / 2];
    let (mut low, mut high) = (0, numbers.len() - 1);
    loop {
        while numbers[low] < pivot {
            low += 1;
        }
        while numbers[high] > pivot {
            high -= 1;
        }
        if low >= high {
            break;
        }
        numbers.swap(low, high);
        low += 1;
        high -= 1;
    }
    let (left, right) = numbers.split_at_mut(low);
    sort(left);
    sort(right);
}

#[inline(never)]
#[preemptive::checked]
fn checked_sort(numbers: &mut [u64]) {
    if numbers.len() < 2 {
        return;
    }
    let pivot = numbers[numbers.len() / 2];
    let (mut low, mut high) = (0, numbers.len() - 1);
    loop {
        while numbers[low] < pivot {
            low += 1;
        }
        while numbers[high] > pivot {
            high -= 1;
        }
        if low >= high {
            break;
        }
        numbers.swap(low, high);
        low += 1;
        high -= 1;
    }
    let (left, right) = numbers.split_at_mut(low);
    checked_sort(left);
    checked_sort(right);
}
