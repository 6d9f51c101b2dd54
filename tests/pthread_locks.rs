//! pthread mutexes that remember their owner know the poll that locked them, wherever it has moved since; condition
//! variables wait and wake.

mod support;

use support::hostile::{churn, join_all, runtime, under_preemption};
use support::load::{Hogs, spin_until};
use support::moves::{TASKS, assert_moving};
use support::pressure::spin;
use support::pthread::Protected;

#[test]
fn a_recursive_mutex_knows_its_poll() {
    let mutexes: Vec<_> = (0..TASKS)
        .map(|_| Protected::new(libc::PTHREAD_MUTEX_RECURSIVE, false))
        .collect();
    assert_moving("recursive mutex", move |index, moves| {
        let (mine, neighbours) = (&mutexes[index], &mutexes[(index + 1) % TASKS]);
        while moves.go_on() {
            assert_eq!(mine.lock(), 0);
            spin(1_000);
            assert_eq!(mine.lock(), 0, "locked before by this very thread");
            spin(1_000);
            match neighbours.try_lock() {
                0 => assert_eq!(neighbours.unlock(), 0),
                error => assert_eq!(error, libc::EBUSY),
            }
            spin(1_000);
            assert_eq!(mine.unlock(), 0);
            spin(1_000);
            assert_eq!(mine.unlock(), 0);
            assert_eq!(mine.unlock(), libc::EPERM, "not ours any more");
        }
    });
}

#[test]
fn an_error_checking_mutex_knows_its_poll() {
    let mutexes: Vec<_> = (0..TASKS)
        .map(|_| Protected::new(libc::PTHREAD_MUTEX_ERRORCHECK, false))
        .collect();
    assert_moving("error-checking mutex", move |index, moves| {
        let mine = &mutexes[index];
        while moves.go_on() {
            // A neighbour looks for a moment only.
            while mine.try_lock() != 0 {}
            spin(1_500);
            assert_eq!(mine.lock(), libc::EDEADLK, "this very thread has it");
            spin(1_500);
            assert_eq!(mine.unlock(), 0);
            let neighbours = &mutexes[(index + 1) % TASKS];
            if neighbours.try_lock() == libc::EBUSY {
                // Free or a neighbour's by now, never ours.
                assert_eq!(neighbours.unlock(), libc::EPERM);
            } else {
                assert_eq!(neighbours.unlock(), 0);
            }
        }
    });
}

#[test]
fn a_recursive_mutex_knows_its_owner_across_migrations() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, workers);
        let protected = Protected::new(libc::PTHREAD_MUTEX_RECURSIVE, false);
        let tasks = (0..4).map(|_| {
            let protected = protected.clone();
            runtime.spawn(async move {
                under_preemption(150, || {
                    for _ in 0..3 {
                        assert_eq!(protected.lock(), 0);
                    }
                    protected.step();
                    assert_eq!(protected.try_lock(), 0);
                    for _ in 0..4 {
                        assert_eq!(protected.unlock(), 0);
                    }
                    assert_eq!(protected.unlock(), libc::EPERM);
                });
            })
        });
        join_all(&runtime, tasks);
        hogs.stop(&runtime);
    }
}

#[test]
fn error_checking_and_robust_mutexes_know_their_owner_across_migrations() {
    for (workers, robust) in [(1, false), (2, false), (1, true), (2, true)] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, workers);
        let protected = Protected::new(libc::PTHREAD_MUTEX_ERRORCHECK, robust);
        let tasks = (0..4).map(|_| {
            let protected = protected.clone();
            runtime.spawn(async move {
                under_preemption(100, || {
                    assert_eq!(protected.lock(), 0);
                    assert_eq!(protected.lock(), libc::EDEADLK);
                    protected.step();
                    assert_eq!(protected.unlock(), 0);
                    assert_eq!(protected.unlock(), libc::EPERM);
                });
            })
        });
        join_all(&runtime, tasks);
        hogs.stop(&runtime);
    }
}

/// The kernel finds what an identity has left locked, whichever workers its poll ran on.
#[test]
fn the_next_owner_of_a_robust_mutex_learns_that_the_last_has_ended() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, workers);
        let mutexes: Vec<_> = (0..3)
            .map(|_| Protected::new(libc::PTHREAD_MUTEX_ERRORCHECK, true))
            .collect();
        let tasks = mutexes.clone().into_iter().map(|mutex| {
            runtime.spawn(async move {
                let migrations = if workers > 1 { 3 } else { 0 };
                churn(20, migrations, || ());
                assert_eq!(mutex.lock(), 0);
                churn(20, migrations, || ());
                // And ends, without unlocking it.
            })
        });
        join_all(&runtime, tasks);
        hogs.stop(&runtime);
        for mutex in &mutexes {
            assert_eq!(mutex.try_lock(), libc::EBUSY, "the identity lives");
        }
        drop(runtime);
        for mutex in &mutexes {
            assert_eq!(mutex.lock(), libc::EOWNERDEAD);
            assert_eq!(mutex.make_consistent(), 0);
            assert_eq!(mutex.unlock(), 0);
            assert_eq!(mutex.lock(), 0);
            assert_eq!(mutex.unlock(), 0);
        }
    }
}

#[test]
fn condition_variables_with_timeouts_wait_and_wake_under_preemption() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, 1);
        let protected = Protected::new(libc::PTHREAD_MUTEX_NORMAL, false);
        let tasks = (0..2_u64).map(|side| {
            let protected = protected.clone();
            runtime.spawn(async move {
                let mut timeouts = 0_u64;
                for _ in 0..200 {
                    assert_eq!(protected.lock(), 0);
                    while protected.steps() % 2 != side {
                        match protected.wait(2_000_000) {
                            0 => {}
                            libc::ETIMEDOUT => timeouts += 1,
                            error => panic!("pthread_cond_timedwait: {error}"),
                        }
                    }
                    protected.step();
                    protected.notify();
                    assert_eq!(protected.unlock(), 0);
                }
                timeouts
            })
        });
        join_all(&runtime, tasks);
        // A wait that nobody ends.
        let alone = Protected::new(libc::PTHREAD_MUTEX_NORMAL, false);
        let waits = runtime.spawn(async move {
            assert_eq!(alone.lock(), 0);
            spin_until("a wait that times out", || {
                alone.wait(1_000_000) == libc::ETIMEDOUT
            });
            assert_eq!(alone.unlock(), 0);
        });
        join_all(&runtime, [waits]);
        hogs.stop(&runtime);
        assert_eq!(protected.lock(), 0);
        assert_eq!(protected.steps(), 400);
        assert_eq!(protected.unlock(), 0);
        assert!(runtime.metrics().preemptions() > 0);
    }
}
