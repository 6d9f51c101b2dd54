//! One poll is one thread from its first instruction to its last, whatever kernel thread runs it.
//!
//! Each task below does everything in a single poll, which sees itself move: the kernel's thread id, asked of the
//! kernel, changes, and nothing else about the thread does. `assert_moving` checks against the runtime's
//! counters that no poll but these ran meanwhile, so that what happened to the tasks happened inside a poll.

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::RandomState;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use support::pressure::{PATIENCE, SHORTEST, Watchdog, kernel_thread, runtime, spin};

/// Tasks at once. An odd number: two workers that take turns in step would otherwise share them out for good.
const TASKS: usize = 5;

/// So often each poll is to see itself on another kernel thread.
const MOVES: usize = 25;

/// Counts how often the calling poll has moved, and knows whether all polls of the test have moved enough.
struct Moves {
    count: usize,
    last: i64,
    reached: bool,
    missing: Arc<AtomicUsize>,
    begin: Instant,
}

impl Moves {
    /// Looks where the poll runs. False: everybody has moved often enough, or it takes too long.
    fn go_on(&mut self) -> bool {
        let now = kernel_thread();
        if now != self.last {
            self.count += 1;
            self.last = now;
        }
        if self.count >= MOVES && !self.reached {
            self.reached = true;
            self.missing.fetch_sub(1, Ordering::SeqCst);
        }
        self.missing.load(Ordering::SeqCst) > 0 && self.begin.elapsed() < PATIENCE / 10
    }
}

/// Runs `body` as several tasks of one poll each, on two workers, until each has moved `MOVES` times.
///
/// On a machine without a free core the runtime may continue polls outside of the scheduler, where they stay on
/// one thread: then it all begins again with a fresh runtime, until the watchdog's time is up.
fn assert_moving(what: &str, body: impl Fn(usize, &mut Moves) + Send + Sync + 'static) {
    let _watchdog = Watchdog::new(what);
    let body = Arc::new(body);
    loop {
        let runtime = runtime(2, SHORTEST);
        let metrics = runtime.metrics();
        let missing = Arc::new(AtomicUsize::new(TASKS));
        let handles: Vec<_> = (0..TASKS)
            .map(|index| {
                let (body, missing) = (body.clone(), missing.clone());
                runtime.spawn(async move {
                    let mut moves = Moves {
                        count: 0,
                        last: kernel_thread(),
                        reached: false,
                        missing,
                        begin: Instant::now(),
                    };
                    body(index, &mut moves);
                    moves.count as u64
                })
            })
            .collect();
        let mut moves = 0;
        for handle in handles {
            moves += runtime
                .block_on(handle)
                .unwrap_or_else(|error| resume_unwind(error.into_panic()));
        }
        assert_eq!(metrics.polls(), TASKS as u64, "one poll each");
        if missing.load(Ordering::SeqCst) == 0 {
            assert!(moves >= (TASKS * MOVES) as u64);
            for counter in [metrics.migrations(), metrics.preemptions()] {
                assert!(counter >= MOVES as u64, "{moves} moves, {counter} counted");
            }
            return;
        }
    }
}

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(0) };
    static LAZY: RefCell<Vec<usize>> = RefCell::new(Vec::with_capacity(4));
    static SHARED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// What a program can ask about its thread.
#[derive(Debug, PartialEq)]
struct Thread {
    local: usize,
    lazy: usize,
    errno: usize,
    pthread: libc::pthread_t,
    id: std::thread::ThreadId,
    name: Option<String>,
}

impl Thread {
    fn ask() -> Thread {
        Thread {
            local: PLACE.with(|place| std::ptr::from_ref(place) as usize),
            lazy: LAZY.with(|lazy| std::ptr::from_ref(lazy) as usize),
            // SAFETY: both only answer.
            errno: unsafe { libc::__errno_location() } as usize,
            // SAFETY: as above.
            pthread: unsafe { libc::pthread_self() },
            id: std::thread::current().id(),
            name: std::thread::current().name().map(str::to_owned),
        }
    }
}

#[test]
fn a_poll_keeps_its_thread() {
    assert_moving("identity", |index, moves| {
        let begin = Thread::ask();
        let address = PLACE.with(|place| {
            place.set(index + 1);
            std::ptr::from_ref(place)
        });
        while moves.go_on() {
            spin(2_000);
            assert_eq!(Thread::ask(), begin);
            assert_eq!(PLACE.get(), index + 1);
            // SAFETY: the thread-local lives as long as the thread, which this poll is.
            let through_address = unsafe { (*address).get() };
            assert_eq!(through_address, index + 1, "an address taken before a move");
        }
    });
}

#[test]
fn errno_is_the_polls_own() {
    assert_moving("errno", |index, moves| {
        let mine = 1000 + index as i32;
        while moves.go_on() {
            // SAFETY: the address is this thread's own for as long as the poll runs.
            unsafe { *libc::__errno_location() = mine };
            spin(3_000);
            // SAFETY: as above.
            assert_eq!(unsafe { *libc::__errno_location() }, mine);
            // Set by libc itself, read after more spinning.
            // SAFETY: closing no descriptor harms nobody.
            assert_eq!(unsafe { libc::close(-1 - index as i32) }, -1);
            spin(1_000);
            assert_eq!(
                std::io::Error::last_os_error().raw_os_error(),
                Some(libc::EBADF)
            );
        }
    });
}

/// Two tasks at once inside `borrow_mut` of what is, by name, one thread-local.
#[test]
fn polls_never_see_each_others_borrow() {
    let inside = AtomicUsize::new(0);
    let together = Arc::new(AtomicUsize::new(0));
    assert_moving("borrow", {
        let together = together.clone();
        move |index, moves| {
            while moves.go_on() {
                SHARED.with(|shared| {
                    let mut mine = shared.try_borrow_mut().expect("nobody else's borrow");
                    if inside.fetch_add(1, Ordering::SeqCst) >= 2 {
                        // More than there are workers: some of them are preempted right here.
                        together.fetch_add(1, Ordering::Relaxed);
                    }
                    mine.clear();
                    for round in 0..20 {
                        mine.push(index * 1000 + round);
                        spin(500);
                        assert!(shared.try_borrow().is_err(), "our own borrow is gone");
                    }
                    assert!(
                        mine.iter()
                            .enumerate()
                            .all(|(round, &n)| n == index * 1000 + round)
                    );
                    inside.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    });
    assert!(
        together.load(Ordering::Relaxed) > 0,
        "never were three borrows alive on two workers"
    );
}

/// Spins across moves in the middle of unwinding.
struct SpinsInDrop<'a>(&'a mut Moves);

impl Drop for SpinsInDrop<'_> {
    fn drop(&mut self) {
        let begin = self.0.count;
        while self.0.go_on() && self.0.count == begin {
            spin(1_000);
            assert!(std::thread::panicking(), "the panic count went elsewhere");
        }
        assert!(std::thread::panicking(), "the panic count went elsewhere");
    }
}

/// Half of the tasks unwind, the others look whether they are told so.
#[test]
fn the_panic_count_stays_with_the_poll() {
    assert_moving("panics", |index, moves| {
        while moves.go_on() {
            assert!(!std::thread::panicking());
            if index % 2 == 0 {
                spin(1_000);
                continue;
            }
            let payload = catch_unwind(AssertUnwindSafe(|| {
                let _spins = SpinsInDrop(moves);
                // Not `panic!`: the hook would print each of them.
                resume_unwind(Box::new(index));
            }))
            .expect_err("it unwinds");
            assert_eq!(payload.downcast_ref(), Some(&index));
        }
        assert!(!std::thread::panicking());
    });
}

/// A pthread mutex of some kind that remembers its owner.
struct Owned(Box<std::cell::UnsafeCell<libc::pthread_mutex_t>>);

// SAFETY: pthread mutexes are made for several threads.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

impl Owned {
    fn new(kind: libc::c_int) -> Owned {
        let mutex = Box::new(std::cell::UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
        let mut attributes = std::mem::MaybeUninit::uninit();
        // SAFETY: initialised before use, destroyed after it; the mutex does not move.
        unsafe {
            assert_eq!(libc::pthread_mutexattr_init(attributes.as_mut_ptr()), 0);
            assert_eq!(
                libc::pthread_mutexattr_settype(attributes.as_mut_ptr(), kind),
                0
            );
            assert_eq!(
                libc::pthread_mutex_init(mutex.get(), attributes.as_ptr()),
                0
            );
            libc::pthread_mutexattr_destroy(attributes.as_mut_ptr());
        }
        Owned(mutex)
    }

    fn lock(&self) -> libc::c_int {
        // SAFETY: initialised in `new`.
        unsafe { libc::pthread_mutex_lock(self.0.get()) }
    }

    fn try_lock(&self) -> libc::c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) }
    }

    fn unlock(&self) -> libc::c_int {
        // SAFETY: as above.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) }
    }
}

#[test]
fn a_recursive_mutex_knows_its_poll() {
    let mutexes: Vec<_> = (0..TASKS)
        .map(|_| Owned::new(libc::PTHREAD_MUTEX_RECURSIVE))
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
        .map(|_| Owned::new(libc::PTHREAD_MUTEX_ERRORCHECK))
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

/// `RandomState` takes two keys from a thread-local and counts one of them up.
#[test]
fn hash_keys_are_the_polls_own() {
    fn keys() -> [u64; 2] {
        const { assert!(size_of::<RandomState>() == 16) };
        // SAFETY: two integers, in whatever order.
        let mut keys: [u64; 2] = unsafe { std::mem::transmute(RandomState::new()) };
        let first = ORDER.get();
        if first.is_some_and(|first| keys[1] == first) {
            keys.swap(0, 1);
        }
        keys
    }
    thread_local! {
        static ORDER: Cell<Option<u64>> = const { Cell::new(None) };
    }
    assert_moving("hash keys", |index, moves| {
        // The key that stays the same goes first.
        let (one, two) = (keys(), keys());
        let fixed = if one[0] == two[0] { one[0] } else { one[1] };
        ORDER.set(Some(fixed));
        let mut last = keys();
        assert_eq!(last[0], fixed);
        let mut map: HashMap<usize, String> = HashMap::new();
        last[1] = last[1].wrapping_add(1);
        while moves.go_on() {
            spin(500);
            let now = keys();
            assert_eq!(
                now,
                [fixed, last[1].wrapping_add(1)],
                "somebody else took keys of this thread"
            );
            last = now;
            for key in 0..50 {
                map.insert(key, format!("{index}:{key}"));
            }
            assert!((0..50).all(|key| map[&key] == format!("{index}:{key}")));
        }
    });
}

/// Identities end, with their destructors, when the runtime is dropped.
#[test]
fn destructors_of_every_thread_local_run_when_the_runtime_is_dropped() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    struct Counted(Vec<usize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            assert!(!self.0.is_empty());
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }

    thread_local! {
        static COUNTED: Counted = {
            MADE.fetch_add(1, Ordering::SeqCst);
            Counted(vec![7])
        };
    }

    assert_moving("destructors", move |_, moves| {
        let place = COUNTED.with(std::ptr::from_ref);
        while moves.go_on() {
            spin(1_000);
            assert_eq!(COUNTED.with(std::ptr::from_ref), place);
        }
        // As long as nobody has finished, each poll needs an identity of its own.
        assert!(MADE.load(Ordering::SeqCst) >= TASKS);
    });
    let made = MADE.load(Ordering::SeqCst);
    assert!(made >= TASKS);
    assert_eq!(DROPPED.load(Ordering::SeqCst), made, "of {made}");
}

/// What `on_thread_start` leaves in a thread-local is there in every poll; `on_thread_stop` runs as often.
#[test]
fn hooks_run_once_for_every_identity() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    static STOPPED: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MARK: Cell<bool> = const { Cell::new(false) };
    }

    let _watchdog = Watchdog::new("hooks");
    let runtime = preemptive::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(SHORTEST)
        .on_thread_start(|| {
            assert!(!MARK.replace(true), "twice for one identity");
            STARTED.fetch_add(1, Ordering::SeqCst);
        })
        .on_thread_stop(|| {
            assert!(MARK.get(), "an identity that was never started");
            STOPPED.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .expect("a runtime");
    let running = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let running = running.clone();
            runtime.spawn(async move {
                running.fetch_add(1, Ordering::SeqCst);
                // Until all have begun, which takes 20 polls at a time.
                while running.load(Ordering::SeqCst) < 20 {
                    spin(1_000);
                    assert!(MARK.get(), "a poll on an identity that was never started");
                }
            })
        })
        .collect();
    for task in tasks {
        runtime.block_on(task).expect("no panic");
    }
    let fibers = runtime.metrics().fibers();
    drop(runtime);
    let started = STARTED.load(Ordering::SeqCst);
    assert!(started >= 20 && started >= fibers, "{started} starts");
    assert_eq!(STOPPED.load(Ordering::SeqCst), started);
}
