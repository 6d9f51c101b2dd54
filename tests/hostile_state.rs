//! What a task changes about its kernel thread, its signal stack and its GS base, goes where the task goes, and never
//! to its neighbours.

mod support;

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;
use support::hostile::{HANDLER_STACK, churn, install, join_all, note_stack, runtime, tgkill};
use support::isolated;
use support::load::{Hogs, spin_until};
use support::pressure::kernel_thread;

/// The kernel thread's signal stack; installs `new` where given.
fn signal_stack(new: Option<&libc::stack_t>) -> libc::stack_t {
    let mut old = MaybeUninit::uninit();
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: both point to stack descriptions; the memory of a new one outlives its use.
    let answer = unsafe { libc::sigaltstack(new, old.as_mut_ptr()) };
    assert_eq!(answer, 0);
    // SAFETY: the call succeeded and wrote it.
    unsafe { old.assume_init() }
}

#[test]
fn a_signal_stack_of_a_tasks_own_travels_with_it() {
    isolated::run("a_signal_stack_of_a_tasks_own_travels_with_it", || {
        install(
            libc::SIGUSR1,
            note_stack as *const () as usize,
            libc::SA_ONSTACK,
        );
        let runtime = runtime(2);
        let hogs = Hogs::crowd(&runtime, 2);
        let tasks = (0..2).map(|_| {
            runtime.spawn(async {
                let mut memory = vec![0_u8; 256 * 1024];
                let mine = libc::stack_t {
                    ss_sp: memory.as_mut_ptr().cast(),
                    ss_flags: 0,
                    ss_size: memory.len(),
                };
                let before = signal_stack(Some(&mine));
                churn(200, 20, || {
                    let now = signal_stack(None);
                    assert_eq!((now.ss_sp, now.ss_size), (mine.ss_sp, mine.ss_size));
                    assert_eq!(now.ss_flags, 0);
                });
                signal_stack(Some(&before));
                memory.as_ptr() as usize..memory.as_ptr() as usize + memory.len()
            })
        });
        join_all(&runtime, tasks);
        // The handlers of other signals use it, too.
        let used = runtime.spawn(async {
            let mut memory = vec![0_u8; 256 * 1024];
            let range = memory.as_ptr() as usize..memory.as_ptr() as usize + memory.len();
            let mine = libc::stack_t {
                ss_sp: memory.as_mut_ptr().cast(),
                ss_flags: 0,
                ss_size: memory.len(),
            };
            let before = signal_stack(Some(&mine));
            // The kernel thread may change between the question for it and the signal.
            spin_until("a signal on the task's own stack", || {
                tgkill(kernel_thread(), libc::SIGUSR1);
                range.contains(&HANDLER_STACK.load(Ordering::SeqCst))
            });
            signal_stack(Some(&before));
        });
        join_all(&runtime, [used]);
        hogs.stop(&runtime);
    });
}

#[test]
fn a_task_that_disables_its_signal_stack_is_preempted_all_the_same() {
    let runtime = runtime(2);
    let hogs = Hogs::crowd(&runtime, 2);
    for restores in [true, false] {
        let without = runtime.spawn(async move {
            let disabled = libc::stack_t {
                ss_sp: std::ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: 0,
            };
            let before = signal_stack(Some(&disabled));
            churn(200, 20, || {
                assert_eq!(signal_stack(None).ss_flags, libc::SS_DISABLE);
            });
            if restores {
                signal_stack(Some(&before));
            }
        });
        let with = runtime.spawn(async {
            // Its own identity's: not the neighbour's disabled one.
            let before = signal_stack(None);
            churn(200, 20, || {
                assert_eq!(signal_stack(None).ss_sp, before.ss_sp);
            });
        });
        join_all(&runtime, [without, with]);
    }
    // Whoever inherits the identity without a signal stack.
    let heirs = (0..8).map(|_| runtime.spawn(async { churn(50, 2, || ()) }));
    join_all(&runtime, heirs);
    hogs.stop(&runtime);
}

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_GET_GS: i32 = 0x1004;

fn set_gs(base: u64) {
    // SAFETY: nothing in this program addresses through GS.
    let answer = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, base) };
    assert_eq!(answer, 0);
}

fn gs() -> u64 {
    let mut base = 0_u64;
    // SAFETY: the kernel writes one word.
    let answer = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_GET_GS, &raw mut base) };
    assert_eq!(answer, 0);
    base
}

#[test]
fn the_gs_base_belongs_to_the_task_that_set_it() {
    let runtime = runtime(2);
    let hogs = Hogs::crowd(&runtime, 2);
    let tasks = (0..4_u64).map(|number| {
        runtime.spawn(async move {
            let before = gs();
            let words = [0x1234_0000 + number; 16];
            let mine = match number {
                // One that never touches it.
                0 => before,
                _ => words.as_ptr() as u64,
            };
            if number > 0 {
                set_gs(mine);
            }
            churn(200, 20, || {
                assert_eq!(gs(), mine);
                if number > 0 {
                    let read: u64;
                    // SAFETY: GS is based at `words`, which live.
                    unsafe {
                        std::arch::asm!("mov {}, gs:[8]", out(reg) read, options(nostack, readonly));
                    }
                    assert_eq!(read, words[1]);
                }
            });
            set_gs(before);
        })
    });
    join_all(&runtime, tasks);
    hogs.stop(&runtime);
}
