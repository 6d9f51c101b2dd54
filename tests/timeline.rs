//! `Builder::record_timeline`: what it writes is parsed back, and says what happened.

mod support;
#[path = "support/trace.rs"]
mod trace;

use preemptive::runtime::{Builder, Runtime};
use preemptive::sync::channel;
use preemptive::task::{Builder as Task, JoinHandle, LocalSet, yield_now};
use preemptive::testing::timeline_room;
use preemptive::time::sleep;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::load::{Hogs, LONG, SHORT, block_on, spin_until, wait_until};
use trace::{Scratch, Slice, Trace};

/// A runtime that records there.
fn recording(file: &Scratch, workers: usize, slice: Duration) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .time_slice(slice)
        .record_timeline(file.path())
        .build()
        .expect("a runtime")
}

fn spawn<F>(runtime: &Runtime, name: &str, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Task::new()
        .name(name)
        .spawn_on(future, runtime.handle())
        .expect("no stack size was asked for")
}

/// Blocks the thread in the kernel until `done`, in a call that is restarted after signals: a read of a pipe.
fn block_until_told() -> (impl FnOnce() + Send, impl FnOnce() + Send) {
    let mut ends = [0; 2];
    // SAFETY: two descriptors fit in.
    let result = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(result, 0);
    let [from, to] = ends;
    let block = move || {
        let mut byte = 0_u8;
        // SAFETY: one byte fits in; the descriptor is this closure's.
        let read = unsafe { libc::read(from, (&raw mut byte).cast(), 1) };
        assert_eq!(read, 1, "the call was not restarted");
        // SAFETY: it is open, and nobody else's.
        unsafe { libc::close(from) };
    };
    let tell = move || {
        // SAFETY: a byte to read; the descriptor is this closure's.
        let written = unsafe { libc::write(to, [1_u8].as_ptr().cast(), 1) };
        assert_eq!(written, 1);
        // SAFETY: it is open, and nobody else's.
        unsafe { libc::close(to) };
    };
    (block, tell)
}

/// The pieces of the one poll of a task with this name: they follow one another in time.
#[track_caller]
fn pieces<'a>(trace: &'a Trace, name: &str) -> Vec<&'a Slice> {
    let pieces = trace.named(name);
    for pair in pieces.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{pair:?}");
        assert_eq!(pair[0].number("task"), pair[1].number("task"));
    }
    pieces
}

#[test]
fn every_poll_of_a_task_is_a_slice() {
    let file = Scratch::new("polls");
    let runtime = recording(&file, 2, Duration::from_millis(10));
    let task = spawn(&runtime, "yields", async {
        for _ in 0..9 {
            yield_now().await;
        }
    });
    let id = task.id().to_string();
    block_on(&runtime, task).unwrap();
    let line = line!() + 1;
    block_on(&runtime, runtime.spawn(async {})).unwrap();
    drop(runtime);
    let trace = file.trace();
    let polls: Vec<_> = trace.named("yields");
    let first: Vec<_> = polls
        .iter()
        .filter_map(|poll| poll.number("polls"))
        .collect();
    // One that was preempted is there twice, with the same number.
    let mut numbers = first.clone();
    numbers.dedup();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    for poll in polls {
        assert_eq!(poll.number("task").unwrap().to_string(), id);
        assert!(poll.number("processor").unwrap() < 2);
        assert!(
            poll.args["spawned"]
                .as_str()
                .unwrap()
                .contains("timeline.rs:")
        );
    }
    // One without a name is called by where it was spawned.
    assert!(!trace.named(&format!("{}:{line}", file!())).is_empty());
    assert_eq!(trace.lost(), 0);
    assert!(trace.unfinished.is_empty());
}

#[test]
fn a_hog_is_in_pieces_that_arrows_join() {
    let file = Scratch::new("hog");
    let runtime = recording(&file, 1, SHORT);
    let metrics = runtime.metrics();
    let hogs = ["hog 1", "hog 2"].map(|name| {
        let metrics = metrics.clone();
        spawn(&runtime, name, async move {
            spin_until("there are preemptions", || metrics.preemptions() > 20);
        })
    });
    for hog in hogs {
        block_on(&runtime, hog).unwrap();
    }
    drop(runtime);
    let trace = file.trace();
    let mut preempted = 0;
    for name in ["hog 1", "hog 2"] {
        let pieces = pieces(&trace, name);
        assert!(pieces.len() > 2, "{pieces:?}");
        for piece in &pieces[1..] {
            assert!(piece.args["waited_us"].as_f64().unwrap() > 0.0);
        }
        let (last, before) = pieces.split_last().unwrap();
        assert!(
            before
                .iter()
                .all(|piece| piece.then().starts_with("preempted: "))
        );
        assert_eq!(last.then(), "");
        preempted += before.len();
    }
    assert!(preempted as u64 <= metrics.preemptions());
    assert!(trace.check_arrows() >= preempted);
}

#[test]
fn a_blocked_poll_is_seen_and_so_is_every_hand_over() {
    let file = Scratch::new("blocked");
    let runtime = recording(&file, 2, SHORT);
    let metrics = runtime.metrics();
    let hogs = Hogs::crowd(&runtime, 2);
    for _ in 0..5 {
        let before = metrics.hand_overs();
        let (block, tell) = block_until_told();
        let blocker = spawn(&runtime, "blocker", async move { block() });
        wait_until("its processor is handed over", || {
            metrics.hand_overs() > before
        });
        tell();
        block_on(&runtime, blocker).unwrap();
    }
    hogs.stop(&runtime);
    drop(runtime);
    let trace = file.trace();
    let blocked = trace.named("blocked");
    assert!(!blocked.is_empty());
    let polls: Vec<_> = trace
        .slices
        .iter()
        .filter(|slice| slice.depth == 0)
        .collect();
    for slice in &blocked {
        assert_eq!(slice.depth, 1);
        assert!(polls.iter().any(|poll| poll.contains(slice)), "{slice:?}");
    }
    let blockers = trace.named("blocker");
    let is_blocker = |slice: &Slice| blockers.iter().any(|poll| poll.contains(slice));
    assert!(blocked.iter().any(|slice| is_blocker(slice)));
    assert_eq!(trace.lost(), 0);
    assert_eq!(
        trace.events("i", "hand-over").len() as u64,
        metrics.hand_overs()
    );
    trace.check_arrows();
}

/// One worker has a processor at a time, and what it runs it runs with that one.
#[test]
fn processors_are_held_by_one_worker_at_a_time() {
    let file = Scratch::new("processors");
    let runtime = recording(&file, 2, SHORT);
    let hogs = Hogs::crowd(&runtime, 3);
    for _ in 0..20 {
        block_on(
            &runtime,
            runtime.spawn(async {
                std::thread::sleep(Duration::from_micros(500));
                sleep(Duration::from_micros(300)).await;
            }),
        )
        .unwrap();
    }
    hogs.stop(&runtime);
    drop(runtime);
    let trace = file.trace();
    let held: Vec<_> = trace
        .slices
        .iter()
        .filter(|slice| slice.track.0 % 2 == 0)
        .collect();
    // Apart: that they do not lie in each other either.
    assert!(held.iter().all(|slice| slice.depth == 0));
    let mut checked = 0;
    for poll in &trace.slices {
        let Some(processor) = poll.number("processor") else {
            continue;
        };
        let worker = format!("worker {}", poll.track.1 - 1000);
        let by_whom: Vec<_> = held
            .iter()
            .filter(|held| held.track.1 == 1000 + processor)
            .filter(|held| held.start <= poll.start && poll.start <= held.end)
            .map(|held| &held.name)
            .collect();
        assert!(by_whom.contains(&&worker), "{poll:?}: {by_whom:?}");
        checked += 1;
    }
    assert!(checked > 100);
}

#[test]
fn idle_times_and_timers_are_seen() {
    let file = Scratch::new("idle");
    let runtime = recording(&file, 1, Duration::from_millis(10));
    for _ in 0..5 {
        let sleeper = runtime.spawn(async { sleep(Duration::from_millis(5)).await });
        block_on(&runtime, sleeper).unwrap();
    }
    drop(runtime);
    let trace = file.trace();
    let idle = trace.named("idle");
    assert!(idle.iter().any(|idle| idle.end - idle.start > 1_000_000));
    let timers = trace.named("timers");
    assert!(timers.len() >= 5);
    for timer in &timers {
        assert!(timer.number("wakes").unwrap() >= 1);
        let late = timer.args["late_us"].as_f64().unwrap();
        assert!((0.0..LONG.as_micros() as f64).contains(&late), "{timer:?}");
    }
    let late = trace.events("C", "timers late (us)");
    assert_eq!(late.len(), timers.len());
}

#[test]
fn a_parked_poll_is_in_pieces() {
    let file = Scratch::new("parked");
    let runtime = recording(&file, 2, Duration::from_millis(10));
    let (sender, receiver) = channel(1);
    let begun = Arc::new(AtomicBool::new(false));
    let says = begun.clone();
    let waits = spawn(&runtime, "waits", async move {
        says.store(true, Ordering::SeqCst);
        let mut sum = 0;
        while let Some(value) = receiver.blocking_recv() {
            sum += value;
        }
        sum
    });
    wait_until("it has begun", || begun.load(Ordering::SeqCst));
    block_on(
        &runtime,
        runtime.spawn(async move {
            for value in 0..4 {
                sleep(Duration::from_millis(2)).await;
                sender.send(value).await.unwrap();
            }
        }),
    )
    .unwrap();
    assert_eq!(block_on(&runtime, waits).unwrap(), 6);
    drop(runtime);
    let trace = file.trace();
    let pieces = pieces(&trace, "waits");
    assert!(
        pieces
            .iter()
            .filter(|piece| piece.then() == "parked")
            .count()
            > 2
    );
    assert!(trace.check_arrows() > 2);
}

#[test]
fn what_finds_no_room_is_counted_and_the_rest_is_whole() {
    let file = Scratch::new("lost");
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .time_slice(SHORT)
        .record_timeline(file.path());
    timeline_room(&mut builder, 16);
    let runtime = builder.build().unwrap();
    let hogs = Hogs::crowd(&runtime, 2);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            spawn(&runtime, "a name that takes more than one record", async {
                for _ in 0..2_000 {
                    yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        block_on(&runtime, task).unwrap();
    }
    hogs.stop(&runtime);
    drop(runtime);
    let trace = file.trace();
    let gaps = trace.named("not recorded");
    assert!(!gaps.is_empty());
    let lost: u64 = gaps.iter().map(|gap| gap.number("lost").unwrap()).sum();
    let rare = trace.events("i", "not recorded");
    let rare: u64 = rare
        .iter()
        .map(|gap| gap["args"]["lost"].as_u64().unwrap())
        .sum();
    assert_eq!(lost + rare, trace.lost());
    assert!(trace.unfinished.is_empty());
}

#[test]
fn current_thread_runtimes_are_recorded_as_well() {
    let file = Scratch::new("current-thread");
    let runtime = Builder::new_current_thread()
        .time_slice(SHORT)
        .record_timeline(file.path())
        .build()
        .unwrap();
    let metrics = runtime.metrics();
    for _ in 0..3 {
        let metrics = metrics.clone();
        let before = metrics.preemptions();
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let hog = spawn(&runtime, "hog", async move {
            spin_until("it is stopped", || told.load(Ordering::SeqCst));
        });
        // Before `block_on`, whose own future is not polled while a hog occupies this thread.
        let other = runtime.spawn(async move {
            while metrics.preemptions() < before + 5 {
                sleep(Duration::from_micros(200)).await;
            }
            stop.store(true, Ordering::SeqCst);
        });
        runtime.block_on(async {
            other.await.unwrap();
            hog.await.unwrap();
            sleep(Duration::from_millis(2)).await;
        });
    }
    drop(runtime);
    let trace = file.trace();
    assert!(trace.named("block_on").len() >= 6);
    assert!(trace.named("hog").len() >= 6);
    assert!(!trace.named("idle").is_empty());
    // Nobody has the processor between two calls of `block_on`.
    assert!(trace.named("worker 0").len() >= 3);
    trace.check_arrows();
}

#[test]
fn a_poll_that_was_given_back_has_a_track_of_its_own() {
    let file = Scratch::new("given-back");
    let runtime = Builder::new_current_thread()
        .time_slice(SHORT)
        .record_timeline(file.path())
        .build()
        .unwrap();
    let metrics = runtime.metrics();
    // Occupies this thread's own identity, so that the hog is polled under a spare one.
    let begun = Arc::new(AtomicBool::new(false));
    let (sees, told) = (begun.clone(), metrics.clone());
    let first = runtime.spawn(async move {
        spin_until("the hog has begun", || sees.load(Ordering::SeqCst));
    });
    let hog = spawn(&runtime, "hog", async move {
        begun.store(true, Ordering::SeqCst);
        spin_until("it is given back", || told.given_back() > 0);
    });
    runtime.block_on(first).unwrap();
    wait_until("the hog has ended", || hog.is_finished());
    drop(runtime);
    let trace = file.trace();
    let pieces = pieces(&trace, "hog");
    let last = pieces.last().unwrap();
    assert!(last.track.1 > 100_000, "{last:?}");
    trace.check_arrows();
}

#[test]
fn a_runtime_that_is_dropped_at_work_finishes_the_file() {
    for round in 0..5 {
        let file = Scratch::new(&format!("dropped-{round}"));
        let runtime = recording(&file, 2, SHORT);
        for number in 0..20 {
            drop(runtime.spawn(async move {
                loop {
                    yield_now().await;
                    sleep(Duration::from_micros(50 * number)).await;
                    std::hint::black_box((0..5_000_u64).fold(0, |a, b| a ^ b));
                }
            }));
        }
        block_on(&runtime, async {
            sleep(Duration::from_millis(5 * round)).await
        });
        drop(runtime);
        assert!(file.trace().unfinished.is_empty());
    }
}

#[test]
fn a_shutdown_that_leaves_polls_finishes_the_file() {
    let file = Scratch::new("left");
    let runtime = recording(&file, 2, SHORT);
    let stop = Arc::new(AtomicBool::new(false));
    let begun = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let (stop, begun) = (stop.clone(), begun.clone());
        drop(spawn(&runtime, "left", async move {
            begun.fetch_add(1, Ordering::SeqCst);
            spin_until("it is stopped", || stop.load(Ordering::SeqCst));
        }));
    }
    wait_until("both run", || begun.load(Ordering::SeqCst) == 2);
    runtime.shutdown_timeout(Duration::from_millis(20));
    let trace = file.trace();
    stop.store(true, Ordering::SeqCst);
    assert!(trace.named("left").len() >= 2);
    assert!(trace.unfinished.is_empty());
}

#[test]
fn each_runtime_has_a_file_of_its_own() {
    let files = [Scratch::new("first"), Scratch::new("second")];
    let runtimes = files.each_ref().map(|file| recording(file, 1, SHORT));
    let error = Builder::new_current_thread()
        .record_timeline(files[0].path())
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
    for (index, runtime) in runtimes.iter().enumerate() {
        block_on(runtime, spawn(runtime, &format!("task {index}"), async {})).unwrap();
    }
    drop(runtimes);
    for (index, file) in files.iter().enumerate() {
        let trace = file.trace();
        assert!(!trace.named(&format!("task {index}")).is_empty());
        assert!(trace.named(&format!("task {}", 1 - index)).is_empty());
    }
    // Free again; what was there is gone.
    drop(recording(&files[0], 1, SHORT));
    assert!(files[0].trace().named("task 0").is_empty());
}

#[test]
fn a_path_that_cannot_be_written_is_an_error_that_names_it() {
    let build = |path: &str| {
        let error = Builder::new_multi_thread()
            .worker_threads(1)
            .record_timeline(path)
            .build()
            .unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
        error.kind()
    };
    assert_eq!(build("/nonexistent/timeline.json"), io::ErrorKind::NotFound);
    assert_eq!(build("/"), io::ErrorKind::IsADirectory);
}

#[test]
fn any_name_can_be_read_back() {
    let file = Scratch::new("names");
    let runtime = recording(&file, 1, Duration::from_millis(10));
    let long = "x".repeat(200);
    // Characters of two bytes, which no part of a name has a whole number of.
    let wide = format!("x{}", "é".repeat(99));
    let names = [
        "quote \" and \\",
        "line\nand \u{1} tab\t",
        "grün 🦀",
        &long,
        &wide,
    ];
    for name in names {
        block_on(&runtime, spawn(&runtime, name, async {})).unwrap();
    }
    drop(runtime);
    let trace = file.trace();
    for name in &names[..3] {
        assert!(!trace.named(name).is_empty(), "{name}");
    }
    // Cut.
    assert!(!trace.named(&long[..72]).is_empty());
    assert!(!trace.named(&wide[..71]).is_empty());
}

#[test]
fn tasks_of_a_local_set_do_not_lend_their_names() {
    let file = Scratch::new("local");
    let runtime = Builder::new_current_thread()
        .record_timeline(file.path())
        .build()
        .unwrap();
    let set = LocalSet::new();
    let inner = Task::new()
        .name("inner")
        .spawn_local_on(yield_now(), &set)
        .unwrap();
    set.block_on(&runtime, inner).unwrap();
    drop((set, runtime));
    // It was polled inside of another poll.
    let trace = file.trace();
    assert!(trace.named("inner").is_empty());
    assert!(!trace.named("block_on").is_empty());
}
