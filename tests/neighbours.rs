//! Whatever a task does, the others go on: each kind of bad neighbour, and tasks that block in the kernel.
//!
//! A hog here is one poll that ends only when somebody else has made progress. So a test that completes has shown
//! that the other was not starved, however slow the machine is; one that does not is ended by its watchdog.

mod support;

use preemptive::runtime::{Handle, Runtime};
use preemptive::time::sleep;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use support::pressure::{PATIENCE, SHORTEST, Watchdog, runtime, spin};

const SLICES: [Duration; 3] = [
    SHORTEST,
    Duration::from_millis(1),
    Duration::from_millis(10),
];

/// So often the ticker is to tick while the hogs are at it.
const TICKS: usize = 15;

const HOGS: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Spin,
    Alloc,
    Tls,
    Lock,
    Sleep,
    Ffi,
}

const KINDS: [Kind; 6] = [
    Kind::Spin,
    Kind::Alloc,
    Kind::Tls,
    Kind::Lock,
    Kind::Sleep,
    Kind::Ffi,
];

/// What the hogs of a test and its ticker share.
#[derive(Default)]
struct Yard {
    ticks: AtomicUsize,
    /// Held by lock hogs for a millisecond at a time; guards two numbers that are always equal.
    lock: Mutex<(u64, u64)>,
}

impl Kind {
    /// One round of work that is wrong if anything of it got lost.
    fn work(self, yard: &Yard) {
        match self {
            Kind::Spin => {
                let sum = (0..20_000_u64).fold(0, |sum, n| sum + std::hint::black_box(n));
                assert_eq!(sum, 199_990_000);
            }
            Kind::Alloc => {
                let mut text = String::new();
                let numbers: Vec<Box<usize>> = (0..300).map(Box::new).collect();
                for number in &numbers {
                    write!(text, "{number},").expect("a string takes all");
                }
                let sum: usize = text
                    .split_terminator(',')
                    .map(|n| n.parse::<usize>().expect("a number"))
                    .sum();
                assert_eq!(sum, 44_850);
            }
            Kind::Tls => {
                thread_local! {
                    static WORDS: RefCell<HashMap<String, usize>> = RefCell::new(HashMap::new());
                }
                WORDS.with(|words| {
                    let mut words = words.borrow_mut();
                    words.clear();
                    for n in 0..300 {
                        *words.entry(format!("word {}", n % 10)).or_default() += n;
                    }
                    assert_eq!(words.len(), 10);
                    assert_eq!(words.values().sum::<usize>(), 44_850);
                });
            }
            Kind::Lock => {
                {
                    let mut pair = yard.lock.lock().expect("not poisoned");
                    pair.0 += 1;
                    let begin = Instant::now();
                    while begin.elapsed() < Duration::from_millis(1) {
                        spin(100);
                    }
                    pair.1 += 1;
                    assert_eq!(pair.0, pair.1);
                }
                // The mutex is not fair; leave the others a moment.
                spin(20_000);
            }
            Kind::Sleep => {
                let begin = Instant::now();
                std::thread::sleep(Duration::from_millis(5));
                assert!(begin.elapsed() >= Duration::from_millis(5));
            }
            Kind::Ffi => {
                extern "C" fn compare(
                    a: *const libc::c_void,
                    b: *const libc::c_void,
                ) -> libc::c_int {
                    // SAFETY: qsort passes two elements of the array.
                    let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
                    a.cmp(&b) as libc::c_int
                }
                let mut numbers: Vec<u32> = (0..5_000_u32)
                    .map(|n| n.wrapping_mul(2_654_435_761))
                    .collect();
                // SAFETY: the array has that many elements of that size.
                unsafe {
                    libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), 4, Some(compare));
                }
                assert!(numbers.is_sorted());
                // SAFETY: as above.
                unsafe { libc::memset(numbers.as_mut_ptr().cast(), 0x11, numbers.len() * 4) };
                assert!(numbers.iter().all(|&n| n == 0x1111_1111));
            }
        }
    }
}

/// Eight hogs, whose polls end when the ticker has ticked often enough. Answers how often they worked.
fn assert_ticks_beside(runtime: &Runtime, kinds: &[Kind]) {
    let yard = Arc::new(Yard::default());
    let hogs: Vec<_> = (0..HOGS)
        .map(|index| {
            let (yard, kind) = (yard.clone(), kinds[index % kinds.len()]);
            runtime.spawn(async move {
                let mut rounds = 0_u64;
                while rounds == 0 || yard.ticks.load(Ordering::SeqCst) < TICKS {
                    kind.work(&yard);
                    rounds += 1;
                }
                rounds
            })
        })
        .collect();
    let locks = kinds.iter().any(|kind| matches!(kind, Kind::Lock));
    let ticker = runtime.spawn({
        let yard = yard.clone();
        async move {
            for _ in 0..TICKS {
                sleep(Duration::from_millis(1)).await;
                if locks {
                    let pair = yard.lock.lock().expect("not poisoned");
                    assert_eq!(pair.0, pair.1);
                }
                yard.ticks.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    runtime.block_on(async {
        ticker.await.expect("the ticker");
        for hog in hogs {
            assert!(hog.await.expect("a hog") > 0);
        }
    });
    let metrics = runtime.metrics();
    assert!(
        metrics.preemptions() + metrics.hand_overs() > 0,
        "eight hogs ended without anybody being asked to give way"
    );
}

fn assert_neighbourly(kinds: &[Kind]) {
    for workers in [1, 2] {
        for slice in SLICES {
            let _watchdog =
                Watchdog::new(format!("{kinds:?}, {workers} workers, slices of {slice:?}"));
            assert_ticks_beside(&runtime(workers, slice), kinds);
        }
    }
}

#[test]
fn spinning_hogs_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Spin]);
}

#[test]
fn allocating_hogs_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Alloc]);
}

#[test]
fn hogs_in_thread_locals_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Tls]);
}

#[test]
fn lock_holders_do_not_starve_a_ticker_that_takes_the_lock() {
    assert_neighbourly(&[Kind::Lock]);
}

#[test]
fn sleeping_hogs_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Sleep]);
}

#[test]
fn hogs_in_foreign_code_do_not_starve_a_ticker() {
    assert_neighbourly(&[Kind::Ffi]);
}

#[test]
fn all_kinds_of_hogs_together_do_not_starve_a_ticker() {
    assert_neighbourly(&KINDS);
}

/// Nobody waits, so nobody interrupts.
#[test]
fn a_lone_hog_is_not_interrupted_at_all() {
    for workers in [1, 2] {
        let _watchdog = Watchdog::new("a lone hog");
        let runtime = runtime(workers, SHORTEST);
        let metrics = runtime.metrics();
        let counts = {
            let metrics = metrics.clone();
            move || {
                // Signals that find the scheduler are left out: they found the other worker, which looks for work.
                [
                    metrics.preemptions(),
                    metrics.refused_in_critical_section(),
                    metrics.refused_in_handler(),
                    metrics.refused_in_system_call(),
                    metrics.signals_sent_by_monitor(),
                    metrics.hand_overs(),
                ]
            }
        };
        let hog = runtime.spawn(async move {
            // What happened between two polls before this one does not concern it.
            let before = counts();
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(200) {
                spin(1_000);
            }
            [before, counts()]
        });
        let [before, after] = runtime.block_on(hog).expect("no panic");
        assert_eq!(after, before, "{workers} workers");
        assert_eq!(metrics.polls(), 1);
        assert_eq!(metrics.preemptions(), 0);
        assert_eq!(metrics.hand_overs(), 0);
    }
}

/// One worker. A task blocks its thread in the kernel with `block`, which returns only after another task, spawned
/// when the first was about to block, has called `release`. Beside them a ticker keeps the signals coming.
fn assert_others_go_on<T: Send + Sync + 'static>(
    what: &str,
    make: impl Fn() -> T,
    block: fn(&T) -> usize,
    release: fn(&T),
) {
    const ROUNDS: usize = 10;
    for workers in [1, 2] {
        let _watchdog = Watchdog::new(format!("{what}, {workers} workers"));
        let runtime = runtime(workers, SHORTEST);
        let stop = Arc::new(AtomicBool::new(false));
        let ticker = runtime.spawn({
            let stop = stop.clone();
            async move {
                while !stop.load(Ordering::SeqCst) {
                    sleep(Duration::from_micros(300)).await;
                }
            }
        });
        for _ in 0..ROUNDS {
            let shared = Arc::new(make());
            let about_to_block = Arc::new(AtomicBool::new(false));
            let blocked = runtime.spawn({
                let (shared, about_to_block) = (shared.clone(), about_to_block.clone());
                async move {
                    about_to_block.store(true, Ordering::SeqCst);
                    block(&shared)
                }
            });
            let releaser = runtime.spawn(async move {
                while !about_to_block.load(Ordering::SeqCst) {
                    preemptive::task::yield_now().await;
                }
                // Progress of another task, while the first is in the kernel.
                for _ in 0..3 {
                    sleep(Duration::from_micros(500)).await;
                }
                release(&shared);
            });
            runtime.block_on(releaser).expect("the other task");
            assert_eq!(
                runtime.block_on(blocked).expect("the blocked task"),
                7,
                "{what}"
            );
        }
        stop.store(true, Ordering::SeqCst);
        runtime.block_on(ticker).expect("the ticker");
        assert!(
            runtime.metrics().hand_overs() > 0 || workers == 2,
            "{what}: nothing ever moved"
        );
    }
}

#[test]
fn a_task_blocked_in_read_delays_nobody_and_sees_no_eintr() {
    fn read(mut stream: &UnixStream) -> usize {
        let mut byte = [0];
        // Not `read_exact`, which would try again after an EINTR.
        assert_eq!(
            stream
                .read(&mut byte)
                .expect("no error, EINTR least of all"),
            1
        );
        byte[0].into()
    }
    assert_others_go_on(
        "read",
        || UnixStream::pair().expect("two sockets"),
        |(reader, _)| read(reader),
        |(_, writer)| {
            let mut writer = writer;
            assert_eq!(writer.write(&[7]).expect("room"), 1);
        },
    );
}

#[test]
fn a_task_blocked_in_a_pipe_delays_nobody_and_sees_no_eintr() {
    assert_others_go_on(
        "pipe",
        || std::io::pipe().expect("a pipe"),
        |(reader, _)| {
            let mut byte = [0];
            let mut reader = reader;
            assert_eq!(
                reader
                    .read(&mut byte)
                    .expect("no error, EINTR least of all"),
                1
            );
            byte[0].into()
        },
        |(_, writer)| {
            let mut writer = writer;
            assert_eq!(writer.write(&[7]).expect("room"), 1);
        },
    );
}

#[test]
fn a_task_blocked_in_accept_delays_nobody_and_sees_no_eintr() {
    assert_others_go_on(
        "accept",
        || TcpListener::bind("127.0.0.1:0").expect("a port"),
        |listener| {
            listener.accept().expect("no error, EINTR least of all");
            7
        },
        |listener| {
            TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        },
    );
}

#[test]
fn a_task_blocked_in_a_condition_variable_delays_nobody() {
    assert_others_go_on(
        "condition variable",
        || (Mutex::new(false), Condvar::new()),
        |(mutex, condition)| {
            let guard = mutex.lock().expect("not poisoned");
            let (_guard, waited) = condition
                .wait_timeout_while(guard, PATIENCE, |released| !*released)
                .expect("not poisoned");
            assert!(!waited.timed_out());
            7
        },
        |(mutex, condition)| {
            *mutex.lock().expect("not poisoned") = true;
            condition.notify_one();
        },
    );
}

#[test]
fn a_task_blocked_in_a_mutex_delays_nobody() {
    let _watchdog = Watchdog::new("a mutex");
    let runtime = runtime(1, SHORTEST);
    for _ in 0..10 {
        let mutex = Arc::new(Mutex::new(0));
        let guard = mutex.lock().expect("not poisoned");
        let blocked = runtime.spawn({
            let mutex = mutex.clone();
            async move { *mutex.lock().expect("not poisoned") }
        });
        // Runs on the one worker, while the other task waits for what this thread holds.
        let other = runtime.spawn(async {
            for _ in 0..3 {
                sleep(Duration::from_micros(500)).await;
            }
        });
        runtime.block_on(other).expect("the other task");
        let mut guard = guard;
        *guard = 7;
        drop(guard);
        assert_eq!(runtime.block_on(blocked).expect("the blocked task"), 7);
    }
}

#[test]
fn a_task_that_sleeps_its_thread_delays_nobody() {
    assert_others_go_on(
        "nanosleep",
        || AtomicBool::new(false),
        |released| {
            // Almost always in the kernel; never awake long enough for a slice to end.
            while !released.load(Ordering::SeqCst) {
                let begin = Instant::now();
                std::thread::sleep(Duration::from_millis(20));
                assert!(begin.elapsed() >= Duration::from_millis(20), "cut short");
            }
            7
        },
        |released| released.store(true, Ordering::SeqCst),
    );
}

/// One worker; a task blocks its thread until the sibling that it has just spawned has run.
fn assert_sibling_runs(what: &str, task: impl Fn() -> usize + Send + Sync + Clone + 'static) {
    for workers in [1, 2] {
        for slice in [SHORTEST, Duration::from_millis(10)] {
            let _watchdog = Watchdog::new(format!("{what}, {workers} workers, {slice:?}"));
            let runtime = runtime(workers, slice);
            for _ in 0..5 {
                let task = task.clone();
                let outcome = runtime.block_on(runtime.spawn(async move { task() }));
                assert_eq!(outcome.expect("no panic"), 7, "{what}");
            }
        }
    }
}

#[test]
fn a_task_may_wait_for_its_sibling_in_a_channel() {
    assert_sibling_runs("mpsc", || {
        let (sender, receiver) = mpsc::channel();
        drop(preemptive::spawn(async move {
            sender.send(7).expect("the receiver waits")
        }));
        receiver.recv().expect("the sibling sends")
    });
}

#[test]
fn a_task_may_spin_until_its_sibling_has_run() {
    assert_sibling_runs("atomic", || {
        let done = Arc::new(AtomicUsize::new(0));
        let sibling = done.clone();
        drop(preemptive::spawn(async move {
            sibling.store(7, Ordering::SeqCst)
        }));
        while done.load(Ordering::SeqCst) == 0 {
            std::hint::spin_loop();
        }
        done.load(Ordering::SeqCst)
    });
}

#[test]
fn a_task_may_block_on_its_sibling() {
    assert_sibling_runs("block_on", || {
        let sibling = preemptive::spawn(async { 7 });
        Handle::current().block_on(sibling).expect("no panic")
    });
}

/// What a program that knows nothing of this runtime does to wait for a future: parks its thread.
fn park_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_task_may_block_on_its_sibling_with_another_executor() {
    assert_sibling_runs("a stranger's block_on", || {
        let sibling = preemptive::spawn(async { 7 });
        park_on(sibling).expect("no panic")
    });
}

#[test]
fn a_chain_of_tasks_may_wait_for_each_other() {
    fn link(depth: usize) -> usize {
        if depth == 0 {
            return 7;
        }
        let (sender, receiver) = mpsc::channel();
        drop(preemptive::spawn(async move {
            sender.send(link(depth - 1)).expect("the receiver waits")
        }));
        receiver.recv().expect("the sibling sends")
    }
    assert_sibling_runs("a chain", || link(6));
}
