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
use support::moves::{Moves, assert_moving};
use support::pressure::spin;

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
