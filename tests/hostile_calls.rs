//! What system calls that a preemption signal interrupts return: who may see EINTR, and who never does.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use support::hostile::{join_all, runtime};
use support::load::Hogs;

/// The last call's error; 0 where it succeeded.
fn errno(answer: i64) -> i32 {
    match answer {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn the_standard_library_never_sees_an_interrupted_call() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, 2);
        let rounds = 15_u8;
        let (mut left, mut right) = UnixStream::pair().expect("two sockets");
        let echo = runtime.spawn(async move {
            let mut byte = [0];
            for _ in 0..rounds {
                // Single calls: `read_exact` would hide an interruption.
                assert_eq!(right.read(&mut byte).expect("a read"), 1);
                assert_eq!(right.write(&byte).expect("a write"), 1);
            }
        });
        let asking = runtime.spawn(async move {
            let mut byte = [0];
            for round in 0..rounds {
                std::thread::sleep(Duration::from_millis(1));
                assert_eq!(left.write(&[round]).expect("a write"), 1);
                assert_eq!(left.read(&mut byte).expect("a read"), 1);
                assert_eq!(byte[0], round);
            }
        });
        let sleeping = runtime.spawn(async {
            for _ in 0..15 {
                let start = Instant::now();
                std::thread::sleep(Duration::from_millis(2));
                assert!(start.elapsed() >= Duration::from_millis(2));
                let start = Instant::now();
                std::thread::park_timeout(Duration::from_millis(1));
                assert!(start.elapsed() >= Duration::from_micros(900));
            }
        });
        let (sender, receiver) = mpsc::channel::<u8>();
        let receiving = runtime.spawn(async move {
            for _ in 0..15 {
                let start = Instant::now();
                let answer = receiver.recv_timeout(Duration::from_millis(2));
                assert_eq!(answer, Err(mpsc::RecvTimeoutError::Timeout));
                assert!(start.elapsed() >= Duration::from_millis(2));
            }
        });
        let waiting = runtime.spawn(async {
            let (mutex, condition) = (Mutex::new(()), Condvar::new());
            for _ in 0..15 {
                let start = Instant::now();
                let guard = mutex.lock().expect("nobody else");
                let (_guard, timed_out) = condition
                    .wait_timeout_while(guard, Duration::from_millis(2), |()| true)
                    .expect("nobody else");
                assert!(timed_out.timed_out() && start.elapsed() >= Duration::from_millis(2));
            }
        });
        join_all(&runtime, [echo, asking, sleeping, receiving, waiting]);
        drop(sender);
        hogs.stop(&runtime);
        let metrics = runtime.metrics();
        assert!(metrics.hand_overs() > 0 && metrics.preemptions() > 0);
    }
}

#[test]
fn calls_that_are_restarted_never_fail_with_eintr() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, 2);
        let mut ends = [0; 2];
        // SAFETY: there is room for two descriptors.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        let [reader, writer] = ends;
        let reading = runtime.spawn(async move {
            let mut byte = 0_u8;
            for _ in 0..20 {
                // SAFETY: there is room for one byte.
                let answer = unsafe { libc::read(reader, (&raw mut byte).cast(), 1) };
                assert_eq!((answer, errno(answer as i64)), (1, 0), "read");
            }
        });
        let word = Arc::new(AtomicU32::new(0));
        let futex = {
            let word = word.clone();
            runtime.spawn(async move {
                for round in 0..20 {
                    while word.load(Ordering::SeqCst) == round {
                        // SAFETY: the word lives; there is no timeout.
                        let answer = unsafe {
                            libc::syscall(
                                libc::SYS_futex,
                                word.as_ptr(),
                                libc::FUTEX_WAIT,
                                round,
                                0,
                            )
                        };
                        let error = errno(answer);
                        assert!(error == 0 || error == libc::EAGAIN, "futex: {error}");
                    }
                }
            })
        };
        let child = runtime.spawn(async {
            for _ in 0..3 {
                let child = std::process::Command::new("/bin/sleep").arg("0.02").spawn();
                let child = child.expect("sleep starts").id() as libc::pid_t;
                let mut status = 0;
                // SAFETY: there is room for a status.
                let answer = unsafe { libc::waitpid(child, &mut status, 0) };
                assert_eq!(
                    (answer, errno(i64::from(answer)), status),
                    (child, 0, 0),
                    "waitpid"
                );
            }
        });
        let feeding = runtime.spawn(async move {
            for _ in 0..20 {
                preemptive::time::sleep(Duration::from_millis(2)).await;
                // SAFETY: one byte is there to be written.
                assert_eq!(unsafe { libc::write(writer, [1_u8].as_ptr().cast(), 1) }, 1);
                word.fetch_add(1, Ordering::SeqCst);
                // SAFETY: the word lives.
                unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
            }
        });
        join_all(&runtime, [reading, futex, child, feeding]);
        hogs.stop(&runtime);
        // SAFETY: nobody uses them any more.
        unsafe {
            libc::close(reader);
            libc::close(writer);
        }
        assert!(runtime.metrics().hand_overs() > 0);
    }
}

/// What C calls it, and one call of it; returns its error, 0 for none.
type Named = (&'static str, fn() -> i32);

/// Calls of about 2 ms that the kernel never restarts: they return what they should, or EINTR.
const UNRESTARTED: [Named; 6] = [
    ("poll", || {
        // SAFETY: no descriptors.
        errno(i64::from(unsafe { libc::poll(std::ptr::null_mut(), 0, 2) }))
    }),
    ("usleep", || {
        // SAFETY: it has no preconditions.
        errno(i64::from(unsafe { libc::usleep(2000) }))
    }),
    ("nanosleep", || {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        // SAFETY: the time lives.
        errno(i64::from(unsafe {
            libc::nanosleep(&time, std::ptr::null_mut())
        }))
    }),
    ("select", || {
        let mut time = libc::timeval {
            tv_sec: 0,
            tv_usec: 2000,
        };
        let none = std::ptr::null_mut();
        // SAFETY: no descriptors; the time lives.
        errno(i64::from(unsafe {
            libc::select(0, none, none, none, &mut time)
        }))
    }),
    ("epoll_wait", || {
        // SAFETY: there is room for one event; the descriptor is closed once.
        unsafe {
            let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            let error = errno(i64::from(libc::epoll_wait(epoll, &mut event, 1, 2)));
            libc::close(epoll);
            error
        }
    }),
    ("futex with a timeout", || {
        let time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        let word = AtomicU32::new(0);
        // SAFETY: the word and the time live.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT,
                0,
                &raw const time,
            )
        };
        match errno(answer) {
            libc::ETIMEDOUT => 0,
            error => error,
        }
    }),
];

#[test]
fn calls_that_are_never_restarted_are_interrupted_once_not_for_ever() {
    const CALLS: usize = 20;
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, 2);
        let tasks = UNRESTARTED.map(|(name, call)| {
            runtime.spawn(async move {
                let mut interrupted = 0;
                for _ in 0..CALLS {
                    // What C code that knows of EINTR does: calls again.
                    loop {
                        match call() {
                            0 => break,
                            libc::EINTR => interrupted += 1,
                            error => panic!("{name}: error {error}"),
                        }
                    }
                }
                (name, interrupted)
            })
        });
        for (name, interrupted) in join_all(&runtime, tasks) {
            println!(
                "{workers} workers: {interrupted} of {CALLS} calls of {name} were interrupted"
            );
            assert!(
                interrupted <= 3 * CALLS,
                "{name}: {interrupted} interruptions"
            );
        }
        hogs.stop(&runtime);
        assert!(runtime.metrics().hand_overs() > 0);
    }
}
