//! Signal handlers of the application's that grow the stack, and threads that end with what they have grown.

mod support;

use preemptive::stack;
use std::hint::black_box;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use support::hostile::install;
use support::isolated;
use support::load::{SHORT, block_on, runtime};

static INNER: AtomicUsize = AtomicUsize::new(0);
static WRONG: AtomicUsize = AtomicUsize::new(0);

/// Uses a few KiB of whatever stack it runs on.
extern "C" fn inner(_: i32) {
    black_box([0xAA_u8; 4096]);
    INNER.fetch_add(1, Ordering::SeqCst);
}

/// Grows, and is interrupted by another handler there.
extern "C" fn outer(_: i32) {
    let mut kept = black_box([0x55_u8; 4096]);
    stack::grow(64 * 1024, 1 << 20, || {
        // SAFETY: the handler is async-signal-safe.
        unsafe { libc::raise(libc::SIGUSR2) };
    });
    if black_box(&mut kept).iter().any(|&byte| byte != 0x55) {
        WRONG.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_handler_on_a_signal_stack_may_grow_and_be_interrupted() {
    isolated::run(
        "a_handler_on_a_signal_stack_may_grow_and_be_interrupted",
        || {
            for (signal, handler) in [
                (libc::SIGUSR1, outer as extern "C" fn(i32)),
                (libc::SIGUSR2, inner),
            ] {
                let flags = libc::SA_ONSTACK | libc::SA_RESTART;
                install(signal, handler as *const () as usize, flags);
            }
            let test = || {
                // That of std's threads has no room for two handlers.
                let mut memory = vec![0_u8; 256 * 1024];
                let new = libc::stack_t {
                    ss_sp: memory.as_mut_ptr().cast(),
                    ss_flags: 0,
                    ss_size: memory.len(),
                };
                // SAFETY: all-zero is a valid value to be overwritten.
                let mut old: libc::stack_t = unsafe { std::mem::zeroed() };
                // SAFETY: the memory is there until the stack before is back.
                assert_eq!(unsafe { libc::sigaltstack(&new, &mut old) }, 0);
                for _ in 0..100 {
                    // SAFETY: the handler is async-signal-safe, but for the first segment's memory.
                    unsafe { libc::raise(libc::SIGUSR1) };
                }
                // SAFETY: it was installed before.
                assert_eq!(unsafe { libc::sigaltstack(&old, std::ptr::null_mut()) }, 0);
            };
            std::thread::spawn(test).join().expect("on a plain thread");
            assert_eq!(INNER.load(Ordering::SeqCst), 100);
            assert_eq!(WRONG.load(Ordering::SeqCst), 0);
            let runtime = runtime(2, SHORT);
            block_on(&runtime, runtime.spawn(async move { test() })).expect("in a task");
            assert_eq!(INNER.load(Ordering::SeqCst), 200);
            assert_eq!(WRONG.load(Ordering::SeqCst), 0);
        },
    );
}

#[test]
fn a_thread_that_ends_gives_back_what_it_took_from_the_pool() {
    isolated::run(
        "a_thread_that_ends_gives_back_what_it_took_from_the_pool",
        || {
            let metrics = runtime(1, SHORT).metrics();
            for _ in 0..100 {
                // Two at a time: one stays with the thread, the other goes to the pool, for the next thread.
                std::thread::spawn(|| {
                    stack::grow(usize::MAX, 0, || stack::grow(usize::MAX, 0, || ()))
                })
                .join()
                .expect("it ends");
                std::thread::spawn(|| stack::grow(usize::MAX, 0, || ()))
                    .join()
                    .expect("it ends");
            }
            // What the pools hold, of which there are as many as threads have places.
            let left = metrics.stack_segments();
            assert!(left <= 50, "{left} segments are left");
        },
    );
}

/// Above 0: after so many instructions the handler grows, and comes no more.
static LEFT: AtomicIsize = AtomicIsize::new(0);
/// The flag that has SIGTRAP come after each instruction.
const TRAP: u64 = 0x100;

/// Grows beyond what is spare, so that something else is spare afterwards.
extern "C" fn grows_more(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        stack::grow(usize::MAX, 3 << 20, || black_box([0xAA_u8; 256]));
        // SAFETY: the context of a running handler.
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        context.uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP as i64;
    }
}

/// Where the stack is, more or less.
#[inline(never)]
fn place() -> usize {
    std::ptr::from_ref(&black_box(0_u8)) as usize
}

/// A handler that runs on the thread's own stack may come between any two instructions that change segments.
#[test]
fn a_handler_may_grow_in_the_middle_of_growing() {
    isolated::run("a_handler_may_grow_in_the_middle_of_growing", || {
        let handler = grows_more as *const () as usize;
        install(libc::SIGTRAP, handler, libc::SA_SIGINFO);
        let mut instructions = 1;
        loop {
            let is_over = std::thread::spawn(move || {
                stack::grow(usize::MAX, 0, || ());
                LEFT.store(instructions, Ordering::Relaxed);
                // SAFETY: SIGTRAP has a handler.
                unsafe { step(TRAP) };
                let (outer, inner) = stack::grow(usize::MAX, 0, || {
                    (place(), stack::grow(usize::MAX, 0, place))
                });
                // SAFETY: as above.
                unsafe { step(0) };
                assert!(
                    outer.abs_diff(inner) > 64 * 1024,
                    "two calls are on one segment if a handler comes after {instructions} instructions"
                );
                LEFT.load(Ordering::Relaxed) > 0
            })
            .join()
            .expect("no panic");
            if is_over {
                break;
            }
            // Without optimisation there are thousands, and the steps between which it matters are many.
            instructions += match cfg!(debug_assertions) {
                true => (instructions / 32).max(7),
                false => 1,
            };
        }
        assert!(instructions > 100);
    });
}

/// Has SIGTRAP come after each instruction, or no longer.
///
/// # Safety
///
/// SIGTRAP has a handler.
unsafe fn step(flag: u64) {
    // SAFETY: what it pushes it pops: an asm block without `nostack` has the room.
    unsafe {
        std::arch::asm!(
            "pushfq",
            "and qword ptr [rsp], -257",
            "or qword ptr [rsp], {flag}",
            "popfq",
            "nop",
            flag = in(reg) flag,
        );
    }
}
