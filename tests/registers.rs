//! A preempted poll finds its registers as it left them, and its neighbours do not find them at all.
//!
//! Each test lets several polls, with different patterns, spin with a part of the processor's state in use, beside
//! one that computes with what a fresh thread has, until they have been preempted thousands of times
//! and moved between workers hundreds of times. What fails when a step of the switch is left out:
//!
//! | left out | fails |
//! |---|---|
//! | a general register, the red zone's words | `general_registers_and_the_red_zone_survive` |
//! | the flags' own save, or `cld` and AC before the scheduler runs | `flags_survive`, `carries_survive` |
//! | the x87 part of the state; `fninit` | `a_full_x87_stack_survives` (the neighbour's tags), `a_poll_begins_with_a_fresh_threads_state_after_a_preempted_one` |
//! | MXCSR; its initial value | `rounding_survives` (the neighbour rounds as we do) |
//! | upper halves, ZMM16-31, masks | `vector_registers_survive` |
//! | GS base | `the_gs_base_travels_with_the_poll` |

mod support;

use preemptive::runtime::Handle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::load::{SHORT, runtime};
use support::pressure::{Numbers, Watchdog};
use support::probes::{Probe, SPINS, neighbour, on_one_and_two_workers, x87_pattern};
use support::registers::{
    GENERAL, USER_FLAGS, VectorProbe, Vectors, flags, general, gs_base, long_addition, mxcsr, x87,
    xmm, ymm, zmm,
};

/// The comparison itself sees one wrong bit in any of the words that it watches.
#[test]
fn the_probe_of_general_registers_sees_a_single_flipped_bit() {
    macro_rules! flipped {
        ($($index:literal)*) => {
            [$(general::<$index>),*]
        };
    }
    let flipped: [extern "sysv64" fn(u64, u64) -> u64; GENERAL] = flipped!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
    );
    for seed in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
        assert_eq!(general::<GENERAL>(seed, 10), 0);
        for (index, probe) in flipped.iter().enumerate() {
            assert_eq!(
                probe(seed, 10).count_ones(),
                1,
                "word {index} is not watched"
            );
        }
    }
}

#[test]
fn general_registers_and_the_red_zone_survive() {
    on_one_and_two_workers("general registers", || {
        [
            0x0123_4567_89ab_cdef,
            0xfedc_ba98_7654_3210,
            u64::MAX,
            0x8000_0000_0000_0001,
            0,
        ]
        .into_iter()
        .map(|seed| -> Probe {
            Box::new(move || match general::<GENERAL>(seed, SPINS) {
                0 => Ok(()),
                wrong => Err(format!("bits {wrong:#x} of pattern {seed:#x} differ")),
            })
        })
        .collect()
    });
}

#[test]
fn flags_survive() {
    const CF: u64 = 1;
    const PF: u64 = 1 << 2;
    const AF: u64 = 1 << 4;
    const ZF: u64 = 1 << 6;
    const SF: u64 = 1 << 7;
    const DF: u64 = 1 << 10;
    const OF: u64 = 1 << 11;
    const NT: u64 = 1 << 14;
    const AC: u64 = 1 << 18;
    const ID: u64 = 1 << 21;
    assert_eq!(USER_FLAGS, CF | PF | AF | ZF | SF | DF | OF | NT | AC | ID);
    on_one_and_two_workers("flags", || {
        [
            CF | AF | SF,
            PF | ZF | OF,
            DF,
            AC,
            DF | AC | CF,
            NT,
            ID,
            USER_FLAGS,
        ]
        .into_iter()
        .map(|pattern| -> Probe {
            Box::new(move || match flags(pattern, SPINS) {
                found if found == pattern => Ok(()),
                found => Err(format!("flags {pattern:#x} became {found:#x}")),
            })
        })
        .collect()
    });
}

#[test]
fn carries_survive() {
    const WORDS: usize = 50_000;
    on_one_and_two_workers("carries", || {
        (1..=3)
            .map(|seed| -> Probe {
                let mut numbers = Numbers::new(seed);
                let a: Vec<u64> = (0..WORDS).map(|_| numbers.next()).collect();
                // Long stretches where each carry makes the next one.
                let b: Vec<u64> = a
                    .iter()
                    .map(|a| {
                        if numbers.next().is_multiple_of(64) {
                            numbers.next()
                        } else {
                            !a
                        }
                    })
                    .collect();
                let mut expected = Vec::with_capacity(WORDS);
                let mut carry = false;
                for (a, b) in a.iter().zip(&b) {
                    let (sum, one) = a.overflowing_add(*b);
                    let (sum, two) = sum.overflowing_add(u64::from(carry));
                    carry = one || two;
                    expected.push(sum);
                }
                let mut sum = vec![0; WORDS];
                Box::new(move || {
                    let last = long_addition(&a, &b, &mut sum);
                    if last != carry || sum != expected {
                        return Err(format!("the sum of seed {seed} is wrong"));
                    }
                    Ok(())
                })
            })
            .collect()
    });
}

#[test]
fn a_full_x87_stack_survives() {
    on_one_and_two_workers("x87", || {
        // Precisions of 24, 53 and 64 bits; all four ways of rounding.
        [0x037f, 0x007f, 0x067f, 0x0b7f, 0x0f7f]
            .into_iter()
            .map(|control| -> Probe {
                let pattern = x87_pattern(u64::from(control), control);
                Box::new(move || {
                    let mut found = x87_pattern(99, 0);
                    x87(&pattern, &mut found, SPINS);
                    if found != pattern {
                        return Err(format!("{pattern:x?} became {found:x?}"));
                    }
                    Ok(())
                })
            })
            .collect()
    });
}

#[test]
fn rounding_survives() {
    on_one_and_two_workers("MXCSR", || {
        // Nearest, down, up, towards zero; with flush-to-zero, denormals-are-zero and flags of past exceptions.
        [
            (0x1f80, 0x3eaa_aaab),
            (0x3f80, 0x3eaa_aaaa),
            (0x5f80, 0x3eaa_aaab),
            (0x7f80, 0x3eaa_aaaa),
            (0xffff & !0x6000, 0x3eaa_aaab),
            (0x3fbf, 0x3eaa_aaaa),
        ]
        .into_iter()
        .map(|(value, third)| -> Probe {
            Box::new(move || {
                let found = mxcsr(value, SPINS);
                let expected = u64::from(value) | third << 32;
                if found != expected {
                    return Err(format!("MXCSR and 1/3: {expected:#x} became {found:#x}"));
                }
                Ok(())
            })
        })
        .collect()
    });
}

fn vector_probe(seed: u64, bytes: usize, count: usize, masks: bool, probe: VectorProbe) -> Probe {
    let mut numbers = Numbers::new(seed);
    let mut pattern = Vectors::zeroed();
    for vector in pattern.vectors.iter_mut().take(count) {
        vector[..bytes].fill_with(|| numbers.next() as u8 | 1);
    }
    if masks {
        pattern.masks.fill_with(|| numbers.next() | 1);
    }
    let pattern = Box::new(pattern);
    let mut found = Box::new(Vectors::zeroed());
    Box::new(move || {
        *found = Vectors::zeroed();
        probe(&pattern, &mut found, SPINS);
        if *found != *pattern {
            let register = (0..count).find(|&i| found.vectors[i] != pattern.vectors[i]);
            return Err(format!(
                "{bytes}-byte vectors of seed {seed}: first wrong register {register:?}, masks {:x?} of {:x?}",
                found.masks, pattern.masks
            ));
        }
        Ok(())
    })
}

/// Every width that this machine has.
fn vector_probes() -> Vec<Probe> {
    let mut probes = Vec::new();
    for seed in 1..=2 {
        probes.push(vector_probe(seed, 16, 16, false, xmm));
        if std::arch::is_x86_feature_detected!("avx") {
            probes.push(vector_probe(seed + 10, 32, 16, false, ymm));
        }
        if std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
        {
            probes.push(vector_probe(seed + 20, 64, 32, true, zmm));
        }
    }
    probes
}

#[test]
fn vector_registers_survive() {
    on_one_and_two_workers("vectors", vector_probes);
}

fn gs_probe() -> Probe {
    let mut words = Box::new([0_u64; 2]);
    words[0] = words.as_ptr() as u64;
    Box::new(move || match gs_base(&words, SPINS) {
        0 => Ok(()),
        wrong => Err(format!("{wrong} reads through GS found another base")),
    })
}

#[test]
fn the_gs_base_travels_with_the_poll() {
    on_one_and_two_workers("GS base", || vec![gs_probe(), gs_probe(), gs_probe()]);
}

#[test]
fn all_of_them_beside_each_other_survive() {
    on_one_and_two_workers("everything", || {
        let mut probes = vector_probes();
        probes.push(gs_probe());
        probes.push(Box::new(|| {
            match general::<GENERAL>(0x5555_aaaa_3333_cccc, SPINS) {
                0 => Ok(()),
                wrong => Err(format!("general registers: bits {wrong:#x}")),
            }
        }));
        probes.push(Box::new(|| match flags(USER_FLAGS, SPINS) {
            USER_FLAGS => Ok(()),
            found => Err(format!("flags became {found:#x}")),
        }));
        probes.push(Box::new(|| match mxcsr(0x7f80, SPINS) as u32 {
            0x7f80 => Ok(()),
            found => Err(format!("MXCSR became {found:#x}")),
        }));
        let pattern = x87_pattern(3, 0x0c7f);
        probes.push(Box::new(move || {
            let mut found = x87_pattern(99, 0);
            x87(&pattern, &mut found, SPINS);
            if found == pattern {
                Ok(())
            } else {
                Err("x87".to_owned())
            }
        }));
        probes
    });
}

/// The same where each poll ends and the next begins on another fiber: nothing is inherited there either.
#[test]
fn a_poll_begins_with_a_fresh_threads_state_after_a_preempted_one() {
    let _watchdog = Watchdog::new("fresh state");
    let runtime = runtime(1, SHORT);
    let enough = Arc::new(AtomicBool::new(false));
    let hog = runtime.spawn({
        let enough = enough.clone();
        let pattern = x87_pattern(3, 0x0c7f);
        async move {
            let mut found = pattern;
            while !enough.load(Ordering::Relaxed) {
                x87(&pattern, &mut found, SPINS);
                mxcsr(0x7f80, SPINS);
                flags(USER_FLAGS, SPINS);
            }
        }
    });
    runtime.block_on(async {
        for _ in 0..300 {
            let fresh = Handle::current().spawn(async { neighbour()() });
            fresh
                .await
                .expect("no panic")
                .unwrap_or_else(|wrong| panic!("{wrong}"));
        }
    });
    assert!(runtime.metrics().preemptions() > 0, "nothing was preempted");
    enough.store(true, Ordering::Relaxed);
    runtime.block_on(hog).expect("no panic");
}
