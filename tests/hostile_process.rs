//! What concerns the whole process while identities are lent: user ids, forks, new programs.

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::hostile::{churn, join_all, runtime};
use support::isolated;
use support::load::{Hogs, spin_until};

unsafe extern "C" {
    fn setresuid(real: u32, effective: u32, saved: u32) -> i32;
}

/// Real, effective and saved user of every thread of this process, with the thread's name.
fn users() -> Vec<(String, String)> {
    let entries = std::fs::read_dir("/proc/self/task").expect("procfs is mounted");
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("Uid:"))?;
            let ids: Vec<_> = line.split_whitespace().skip(1).take(3).collect();
            Some((status.lines().next()?.to_owned(), ids.join(" ")))
        })
        .collect()
}

fn is_root() -> bool {
    // SAFETY: it has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped: changing user ids needs root");
    }
    root
}

/// Changes the effective id, `rounds` times there and back, and looks at all threads after each.
fn change_users(rounds: u32) {
    for round in 0..rounds {
        for user in [1000 + round, 0] {
            // SAFETY: it has no preconditions.
            assert_eq!(unsafe { setresuid(0, user, 0) }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::geteuid() }, user);
            let wanted = format!("0 {user} 0");
            // Threads that run code have it when the call returns; those that only lend their identities
            // may follow a moment later.
            let start = std::time::Instant::now();
            loop {
                let mut others = users();
                others.retain(|(_, ids)| *ids != wanted);
                if others.is_empty() {
                    break;
                }
                assert!(
                    start.elapsed() < Duration::from_secs(20),
                    "after round {round}, user {user}: {others:?}"
                );
            }
        }
    }
}

#[test]
fn a_thread_outside_changes_the_user_of_every_thread() {
    isolated::run("a_thread_outside_changes_the_user_of_every_thread", || {
        if !is_root() {
            return;
        }
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::crowd(&runtime, 3);
            change_users(40);
            hogs.stop(&runtime);
            assert!(runtime.metrics().preemptions() > 0);
        }
    });
}

#[test]
fn a_task_changes_the_user_of_every_thread() {
    isolated::run("a_task_changes_the_user_of_every_thread", || {
        if !is_root() {
            return;
        }
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::crowd(&runtime, 3);
            join_all(
                &runtime,
                [runtime.spawn(async {
                    change_users(40);
                })],
            );
            hogs.stop(&runtime);
            assert!(runtime.metrics().preemptions() > 0);
        }
    });
}

/// Waits for a child and returns its wait status.
fn wait(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: there is room for a status.
    let ended = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(ended, child, "{}", std::io::Error::last_os_error());
    status
}

/// Forks; the child uses malloc and ends with status 7.
fn fork_and_allocate() {
    // SAFETY: the child calls what glibc allows after a fork of threads: malloc, write, _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let strings: Vec<String> = (0..500)
            .map(|number| format!("{number}").repeat(30))
            .collect();
        let length: usize = strings.iter().map(String::len).sum();
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(if length > 0 { 7 } else { 8 }) };
    }
    let status = wait(child);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 7);
}

#[test]
fn a_forked_child_can_allocate_whatever_was_preempted() {
    isolated::run("a_forked_child_can_allocate_whatever_was_preempted", || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let stop = Arc::new(AtomicBool::new(false));
            let hogs = Hogs::crowd(&runtime, 1);
            // Preempted inside malloc as often as not.
            let allocating: Vec<_> = (0..3)
                .map(|_| {
                    let stop = stop.clone();
                    runtime.spawn(async move {
                        let mut blocks = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            blocks.push(vec![1_u8; 1 + blocks.len() % 5000]);
                            if blocks.len() > 100 {
                                blocks.clear();
                            }
                        }
                    })
                })
                .collect();
            let forking = (0..2).map(|_| {
                runtime.spawn(async {
                    for _ in 0..10 {
                        churn(3, 0, || ());
                        fork_and_allocate();
                    }
                })
            });
            join_all(&runtime, forking);
            stop.store(true, Ordering::SeqCst);
            join_all(&runtime, allocating);
            hogs.stop(&runtime);
        }
    });
}

#[test]
fn tasks_start_programs_beside_hogs() {
    isolated::run("tasks_start_programs_beside_hogs", || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::crowd(&runtime, 2);
            let tasks = (0..3).map(|task| {
                runtime.spawn(async move {
                    for round in 0..8 {
                        let text = format!("{task}-{round}");
                        // `output` polls two pipes; a pre-exec hook makes std fork rather than spawn.
                        let mut command = Command::new("/bin/echo");
                        command.arg(&text);
                        if round % 2 == 1 {
                            use std::os::unix::process::CommandExt;
                            // SAFETY: the hook does nothing.
                            unsafe { command.pre_exec(|| Ok(())) };
                        }
                        let output = command.output().expect("echo runs");
                        assert!(output.status.success());
                        assert_eq!(output.stdout, format!("{text}\n").into_bytes());
                    }
                    let name = c"/bin/true".as_ptr().cast_mut();
                    let arguments = [name, std::ptr::null_mut()];
                    let none = [std::ptr::null_mut()];
                    let mut child = 0;
                    // SAFETY: the name and both arrays live, and end in null.
                    let answer = unsafe {
                        libc::posix_spawn(
                            &mut child,
                            name,
                            std::ptr::null(),
                            std::ptr::null(),
                            arguments.as_ptr(),
                            none.as_ptr(),
                        )
                    };
                    assert_eq!(answer, 0);
                    assert_eq!(wait(child), 0);
                })
            });
            join_all(&runtime, tasks);
            hogs.stop(&runtime);
        }
    });
}

/// Makes a child by `vfork`, which sleeps for two milliseconds and ends with status 7. Until then the caller's kernel
/// thread is stopped where no signal reaches it, and its memory is the child's.
///
/// All of it is one piece of assembly: the child runs on the caller's stack, and must not touch it.
fn vfork_and_sleep() -> libc::pid_t {
    let time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 2_000_000,
    };
    let child: i64;
    // SAFETY: the child makes two system calls and is gone; the parent sees one that returns. The time lives.
    unsafe {
        std::arch::asm!(
            "mov eax, {vfork}",
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, {nanosleep}",
            "mov rdi, {time}",
            "xor esi, esi",
            "syscall",
            "mov eax, {exit_group}",
            "mov edi, 7",
            "syscall",
            "2:",
            vfork = const libc::SYS_vfork,
            nanosleep = const libc::SYS_nanosleep,
            exit_group = const libc::SYS_exit_group,
            time = in(reg) &raw const time,
            out("rax") child,
            out("rcx") _,
            out("r11") _,
            out("rdi") _,
            out("rsi") _,
        );
    }
    assert!(child > 0, "error {child}");
    child as libc::pid_t
}

#[test]
fn a_task_stopped_by_vfork_delays_nobody() {
    isolated::run("a_task_stopped_by_vfork_delays_nobody", || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::crowd(&runtime, 2);
            let ticks = Arc::new(AtomicU64::new(0));
            let stop = Arc::new(AtomicBool::new(false));
            let ticker = runtime.spawn({
                let (ticks, stop) = (ticks.clone(), stop.clone());
                async move {
                    while !stop.load(Ordering::Relaxed) {
                        preemptive::time::sleep(Duration::from_micros(200)).await;
                        ticks.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            let tasks = (0..workers).map(|_| {
                let ticks = ticks.clone();
                runtime.spawn(async move {
                    let mut beside = 0;
                    spin_until("ticks while the task is stopped", || {
                        let before = ticks.load(Ordering::Relaxed);
                        let child = vfork_and_sleep();
                        // Within a call that takes two milliseconds: somebody else had the processor.
                        beside += u32::from(ticks.load(Ordering::Relaxed) > before);
                        let status = wait(child);
                        assert!(libc::WIFEXITED(status), "status {status:#x}");
                        assert_eq!(libc::WEXITSTATUS(status), 7);
                        beside >= 10
                    });
                })
            });
            join_all(&runtime, tasks);
            stop.store(true, Ordering::Relaxed);
            join_all(&runtime, [ticker]);
            hogs.stop(&runtime);
            assert!(runtime.metrics().hand_overs() > 0);
        }
    });
}
