//! Runs probes of the processor's state until they have been preempted thousands of times and moved hundreds of times.

use super::load::{LONG, SHORT, runtime};
use super::pressure::{Numbers, Watchdog};
use super::registers::{X87, flags, floating_point_state, mxcsr, x87};
use preemptive::runtime::Runtime;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rounds of a probe's loop: some tenths of a millisecond, several slices.
pub(crate) const SPINS: u64 = 400_000;

const PREEMPTIONS: u64 = 3_000;
const MIGRATIONS: u64 = 200;

/// What a task does again and again; a message says what it found wrong.
pub(crate) type Probe = Box<dyn FnMut() -> Result<(), String> + Send>;

/// One runtime's share. On a machine without a free core the runtime may continue polls outside of the scheduler,
/// where nothing interrupts them; then this one gives up and a fresh one goes on. Answers what happened here.
fn beside(runtime: &Runtime, mut probes: Vec<Probe>, wanted: [u64; 2]) -> [u64; 2] {
    probes.push(neighbour());
    if probes.len().is_multiple_of(2) {
        // Two workers that take turns in step would share an even number out for good.
        probes.push(neighbour());
    }
    let metrics = runtime.metrics();
    let enough = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = probes
        .into_iter()
        .map(|mut probe| {
            let enough = enough.clone();
            // One poll from the first probe to the last.
            runtime.spawn(async move {
                let mut rounds = 0_u64;
                while !enough.load(Ordering::Relaxed) {
                    probe().map_err(|wrong| format!("after {rounds} rounds: {wrong}"))?;
                    rounds += 1;
                }
                Ok::<u64, String>(rounds)
            })
        })
        .collect();
    let alive = tasks.len();
    let begin = Instant::now();
    let counts = || [metrics.preemptions(), metrics.migrations()];
    while metrics.num_alive_tasks() == alive
        && counts()
            .iter()
            .zip(wanted)
            .any(|(count, wanted)| *count < wanted)
        && begin.elapsed() < LONG / 10
    {
        std::thread::sleep(Duration::from_millis(1));
    }
    let counts = counts();
    enough.store(true, Ordering::Relaxed);
    for task in tasks {
        runtime
            .block_on(task)
            .expect("no panic")
            .unwrap_or_else(|wrong| panic!("{wrong}"));
    }
    counts
}

pub(crate) fn on_one_and_two_workers(what: &str, probes: impl Fn() -> Vec<Probe>) {
    for (workers, mut wanted) in [(1, [PREEMPTIONS, 0]), (2, [PREEMPTIONS, MIGRATIONS])] {
        let _watchdog = Watchdog::new(what);
        while wanted != [0, 0] {
            let counts = beside(&runtime(workers, SHORT), probes(), wanted);
            wanted = std::array::from_fn(|i| wanted[i].saturating_sub(counts[i]));
        }
    }
}

/// Computes as a fresh thread does: to the nearest, with an empty x87 stack, DF and AC clear.
pub(crate) fn neighbour() -> Probe {
    Box::new(|| {
        let third = std::hint::black_box(1.0_f32) / std::hint::black_box(3.0_f32);
        if third.to_bits() != 0x3eaa_aaab {
            return Err(format!(
                "a neighbour's rounding was inherited: 1/3 = {:#x}",
                third.to_bits()
            ));
        }
        let (control, tags, exceptions) = floating_point_state();
        if (control, tags, exceptions & !0x3f) != (0x037f, 0xffff, 0x1f80) {
            return Err(format!(
                "x87 control {control:#x} and tags {tags:#x}, MXCSR {exceptions:#x} were inherited"
            ));
        }
        let status = mxcsr(0x1f80, 1);
        if status as u32 != 0x1f80 {
            return Err(format!("MXCSR is {:#x}", status as u32));
        }
        let numbers = x87_pattern(7, 0x037f);
        let mut found = numbers;
        x87(&numbers, &mut found, 1);
        if found.values != numbers.values {
            return Err("eight numbers did not fit on the x87 stack".to_owned());
        }
        let mut copy = [0_u8; 4096];
        copy.copy_from_slice(&[std::hint::black_box(7_u8); 4096]);
        if copy != [7; 4096] {
            return Err("copied in the wrong direction".to_owned());
        }
        let now = flags(0, 1);
        if now != 0 {
            return Err(format!("flags {now:#x} were inherited"));
        }
        Ok(())
    })
}

/// Eight different 80-bit numbers.
pub(crate) fn x87_pattern(seed: u64, control: u16) -> X87 {
    let mut numbers = Numbers::new(seed);
    let values = std::array::from_fn(|_| {
        let mut value = [0; 16];
        // A normal number: its integer bit set, any exponent but the two ends.
        let mantissa = numbers.next() | 1 << 63;
        let exponent = (numbers.next() % 0x7ffd + 1) as u16 | (numbers.next() as u16 & 0x8000);
        value[..8].copy_from_slice(&mantissa.to_le_bytes());
        value[8..10].copy_from_slice(&exponent.to_le_bytes());
        value
    });
    X87 {
        values,
        control,
        status: 0,
    }
}
