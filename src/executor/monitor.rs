//! The monitor: one ordinary thread, the backstop. It is not what ends time slices; timers are.
//!
//! What it does, about every millisecond while anything runs:
//!
//! - A worker in the same poll for over a millisecond while others wait, and *asleep in the kernel*: its processor
//!   is taken without a signal (rule R6: a signal would make calls that are never restarted fail with EINTR).
//! - The same worker running, long past its slice, though signals were sent: it cannot be signalled (the task
//!   blocked its signals, or another handler has replaced ours). Its processor is taken, too.
//! - A worker without a processor that has come back from the kernel and goes on running: it is sent a
//!   signal and queues up.
//! - A processor without a worker, and the supplier makes none: a fiber is given back (rule R7).
//! - A worker whose timer the kernel refused (RLIMIT_SIGPENDING): the monitor sends its signals. With
//!   asynchronous preemption off it poisons the guard word instead.
//!
//! It never allocates after its start and takes no lock, so no preempted fiber can hold it up. When everything is
//! idle it sleeps without a timeout.

use super::latency::short_slices;
use super::processor::Processor;
use super::shared::Shared;
use super::worker::Worker;
use crate::preempt::{Target, UNKNOWN, Verdict};
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::stack::Fiber;
use crate::sys::{self, ThreadState};

/// Between two looks while tasks wait, in nanoseconds.
const TICK: u64 = 1_000_000;
/// Between two looks while nobody waits.
const LAZY_TICK: u64 = 10_000_000;
/// So long after the last work it stops looking.
const LINGER: u64 = 100_000_000;

/// What others know of the monitor.
#[derive(Debug)]
pub(crate) struct MonitorState {
    /// 0: it sleeps without a timeout. Moves whenever it should look.
    word: AtomicU32,
    asleep: AtomicBool,
    ends: AtomicBool,
    /// 1: the thread is past its last allocation.
    ready: AtomicU32,
}

impl MonitorState {
    pub(crate) fn new() -> MonitorState {
        MonitorState {
            word: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            ready: AtomicU32::new(0),
        }
    }

    /// Waits until the monitor's thread will not allocate any more.
    pub(crate) fn wait_until_ready(&self) {
        while self.ready.load(Ordering::SeqCst) == 0 {
            sys::futex_wait(&self.ready, 0, None);
        }
    }

    /// A processor is not idle any more. One load, unless everything has been idle for long.
    #[inline]
    pub(crate) fn busy_again(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            self.poke();
        }
    }

    /// Makes the monitor look now. Async-signal-safe.
    pub(crate) fn poke(&self) {
        self.word.fetch_add(1, Ordering::SeqCst);
        sys::futex_wake(&self.word, 1);
    }

    /// The monitor's thread is to end.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
        self.poke();
    }
}

/// What the monitor remembers of a processor between two looks.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    tick: u64,
    worker: usize,
    since: u64,
    generation: u32,
    next_look: u64,
    /// How long the worker's thread had run on a core by `since`.
    ran: u64,
}

/// What the monitor remembers of a worker without a processor.
#[derive(Clone, Copy, Debug, Default)]
struct Loose {
    /// How often in a row it was found running.
    running: u8,
    /// When to look again: seldom, if the kernel has it for long.
    next_look: u64,
    pause: u64,
}

/// What it remembers of everything.
#[derive(Debug)]
struct Memory {
    seen: Vec<Seen>,
    loose: Vec<Loose>,
    /// Since when there have been processors without a worker.
    orphaned: Option<u64>,
}

/// How long the supplier has to make a worker before fibers are given back, in nanoseconds. It usually takes a
/// tenth of a millisecond, unless it waits for a lock that a runnable fiber holds; and a hog that was given back is
/// scheduled by the kernel alone until its poll ends.
const PATIENCE: u64 = 5_000_000;

/// The longest pause between two looks at a worker that is blocked, in nanoseconds.
const LONGEST_PAUSE: u64 = 100_000_000;

/// The monitor's thread.
pub(crate) fn run(shared: &Arc<Shared>) {
    let state = &shared.monitor;
    let mut memory = Memory {
        seen: vec![Seen::default(); shared.processors.len()],
        loose: vec![Loose::default(); shared.workers.len()],
        orphaned: None,
    };
    let mut last_busy = sys::now();
    sys::no_timer_slack();
    // It looks every millisecond beside workers that compute. Where it is refused, it looks later.
    let _ = short_slices();
    state.ready.store(1, Ordering::SeqCst);
    sys::futex_wake(&state.ready, 1);
    loop {
        // In this order: who ends the monitor says so and then changes the word. A word read later could be one that nobody
        // will change again.
        let word = state.word.load(Ordering::SeqCst);
        if state.ends.load(Ordering::SeqCst) {
            return;
        }
        let now = sys::now();
        let look = look(shared, now, &mut memory);
        if look.busy {
            last_busy = now;
        }
        let deadline = if look.busy || now - last_busy < LINGER {
            Some(look.next)
        } else {
            state.asleep.store(true, Ordering::SeqCst);
            // Whoever became busy before the store did not poke.
            if shared.sleep.idle.len() < shared.processors.len() && !shared.is_undriven() {
                Some(look.next)
            } else {
                look.timer
                    .into_iter()
                    .chain((look.loose != u64::MAX).then_some(look.loose))
                    .min()
            }
        };
        sys::futex_wait(&state.word, word, deadline);
        state.asleep.store(false, Ordering::SeqCst);
    }
}

/// What a look has found.
struct Look {
    busy: bool,
    /// When to look again.
    next: u64,
    /// When to look again at workers without a processor.
    loose: u64,
    /// When the monitor must send a signal in a timer's stead.
    timer: Option<u64>,
}

fn look(shared: &Shared, now: u64, memory: &mut Memory) -> Look {
    let Memory {
        seen,
        loose,
        orphaned,
    } = memory;
    let mut found = Look {
        busy: false,
        next: now + LAZY_TICK,
        loose: u64::MAX,
        timer: None,
    };
    for (processor, seen) in shared.processors.iter().zip(seen.iter_mut()) {
        if processor.retired.load(Ordering::SeqCst)
            || shared.sleep.idle.contains(processor.index)
            || shared.is_undriven()
        {
            seen.since = now;
            continue;
        }
        found.busy = true;
        if shared.timers.shard(processor.index).next() <= now.saturating_sub(TICK) {
            // The worker's own timer should have said so a while ago: no signal reaches it.
            processor.due.store(true, Ordering::SeqCst);
        }
        let _ = processor.mark_here(now);
        if shared.anything_waits(processor) {
            found.next = now + TICK;
            look_at_processor(shared, processor, now, seen);
        } else {
            seen.since = now;
        }
    }
    if !shared.orphans.is_empty() {
        found.busy = true;
        found.next = now + TICK;
        let since = *orphaned.get_or_insert(now);
        if shared.spare_workers.is_empty() {
            shared.supply.ask();
            if now - since >= PATIENCE {
                shared.give_back_one();
            }
        }
    } else {
        *orphaned = None;
    }
    for (worker, loose) in shared.all_workers().zip(loose.iter_mut()) {
        let target = &worker.target;
        if target.processor.peek() == 0 {
            if look_at_loose(shared, worker, now, loose) {
                found.loose = found.loose.min(loose.next_look.max(now + TICK));
            }
        } else if target.lacks_timer() {
            let armed = stand_in_for_timer(shared, target, now);
            found.next = found.next.min(armed.max(now + 10_000));
            found.timer = found
                .timer
                .into_iter()
                .chain((armed != u64::MAX).then_some(armed))
                .min();
        } else {
            let armed = target.armed.load(Ordering::SeqCst);
            if armed != UNKNOWN && armed.saturating_add(2 * TICK) < now {
                // The alarm should have been answered long ago: some task has blocked the signal, and may have
                // ended. The worker's next visit to its loop restores its mask.
                target.stuck.fetch_add(1, Ordering::Relaxed);
            }
            if armed != u64::MAX {
                found.next = found.next.min(now + 2 * TICK);
            }
        }
    }
    found.next = found.next.min(found.loose);
    found
}

/// A busy processor, while others wait for it.
fn look_at_processor(shared: &Shared, processor: &Processor, now: u64, seen: &mut Seen) {
    let worker = processor.worker.load(Ordering::SeqCst);
    let tick = processor.tick.load(Ordering::Relaxed);
    // SAFETY: null, or a worker that is freed together with `shared`.
    let Some(worker) = (unsafe { worker.as_ref() }) else {
        return;
    };
    if processor.look.load(Ordering::SeqCst) < now.saturating_sub(TICK) {
        // The look is overdue: whatever became of its alarm, here is another. (Poisoned already, a fiber needs none.)
        let is_poisoned = worker
            .target
            .fiber()
            .is_some_and(Fiber::is_wanted_from_afar);
        if !worker.target.lacks_timer() {
            shared.rearm(processor, true);
        } else if !is_poisoned {
            worker.target.arm(now);
        }
    }
    let generation = worker.target.generation.load(Ordering::Relaxed);
    if seen.tick != tick || seen.worker != worker.index {
        *seen = Seen {
            tick,
            worker: worker.index,
            since: now,
            generation,
            next_look: now + TICK,
            ran: sys::running_time(worker.target.thread.load(Ordering::SeqCst)),
        };
        return;
    }
    let age = now.saturating_sub(seen.since);
    if now < seen.next_look || age < TICK {
        return;
    }
    if shared.interactive_waits(processor) {
        shared.press_from_afar(processor);
    }
    match sys::thread_state(worker.target.thread.load(Ordering::SeqCst)) {
        // Its slice will end, and interrupt the call.
        ThreadState::Blocked if shared.config.home => {}
        ThreadState::Blocked => {
            take(shared, worker);
        }
        // It gives way where it enters the runtime, or not at all.
        ThreadState::Running if !shared.config.async_preempt => {
            seen.next_look = now + (age / 2).clamp(TICK, 10 * TICK);
        }
        ThreadState::Running => {
            // Running is what a hog does, and its slice will end; look less and less often.
            seen.next_look = now + (age / 2).clamp(TICK, 10 * TICK);
            let overdue = 2 * shared.config.slice + 2 * TICK;
            // A thread that waits for a core takes no signal either, and another would wait like it.
            let ran = sys::running_time(worker.target.thread.load(Ordering::SeqCst));
            let age = age.min(ran.saturating_sub(seen.ran));
            let unreachable =
                generation == seen.generation || worker.target.stuck.load(Ordering::Relaxed) > 2;
            if age > overdue && unreachable {
                take(shared, worker);
            } else if age > overdue {
                seen.generation = generation;
                seen.since = now;
                seen.ran = ran;
                shared.rearm(processor, true);
            }
        }
        ThreadState::Unknown => {}
    }
}

/// Takes a worker's processor from outside and gives it to another. The protocol is in `preempt::take`.
fn take(shared: &Shared, worker: &Worker) {
    if shared.config.home {
        // There is nobody to give it to; should an alarm have been lost, this is another.
        if shared.config.async_preempt {
            shared.counters.add(&shared.counters.signals);
            worker.target.send(shared.config.signal);
        }
        return;
    }
    let target = &worker.target;
    let switches = target.switches.load(Ordering::SeqCst);
    let Some(fiber) = target.fiber() else {
        return;
    };
    let Some(held) = target.processor.begin_take() else {
        return;
    };
    let outside = sys::membarrier().is_ok()
        && fiber.gate.critical.load(Ordering::SeqCst) == 0
        && target.fiber.load(Ordering::SeqCst) == std::ptr::from_ref(fiber).cast_mut()
        && target.switches.load(Ordering::SeqCst) == switches;
    if !outside {
        target.processor.cancel_take(held);
        return;
    }
    // Before the worker can miss its processor.
    let time = sys::now();
    if let Some(recorder) = &worker.recorder {
        recorder.taken.store(time, Ordering::SeqCst);
    }
    if target.processor.finish_take(held) {
        // R6: what is still armed would only interrupt the call.
        target.arm(u64::MAX);
        // SAFETY: 0, or the address of one of this runtime's processors.
        if let Some(other) = unsafe { (target.processor.peek() as *const Processor).as_ref() } {
            // It has come back meanwhile, and holds another: that one's alarm is what was stopped.
            shared.rearm(other, true);
        }
        shared.counters.add(&shared.counters.taken);
        // SAFETY: the address of one of this runtime's processors, now ours to give.
        let processor = unsafe { &*(held as *const Processor) };
        if let Some(timeline) = &shared.timeline {
            timeline.monitor_takes(time, processor.index, worker.index);
        }
        shared.hand_over(processor);
    } else if let Some(recorder) = &worker.recorder {
        recorder.taken.store(0, Ordering::SeqCst);
    }
}

/// A worker without a processor. True: it has a fiber, so it is worth another look.
fn look_at_loose(shared: &Shared, worker: &Worker, now: u64, loose: &mut Loose) -> bool {
    let target = &worker.target;
    if target.fiber().is_none() || worker.ended.load(Ordering::SeqCst) {
        *loose = Loose::default();
        return false;
    }
    if now < loose.next_look {
        return true;
    }
    // Nobody waits: it may as well go on.
    let contended = shared.is_contended();
    match sys::thread_state(target.thread.load(Ordering::SeqCst)) {
        ThreadState::Running if contended => {
            loose.running += 1;
            loose.pause = 2 * TICK;
            // Twice: once can be a call's last microsecond.
            if loose.running >= 2 {
                loose.running = 0;
                if shared.config.async_preempt {
                    shared.counters.add(&shared.counters.signals);
                    target.send(shared.config.signal);
                } else if let Some(fiber) = target.fiber() {
                    target.unchecked.store(true, Ordering::Relaxed);
                    fiber.poison_from_afar();
                }
            }
        }
        _ => {
            loose.running = 0;
            loose.pause = (2 * loose.pause).clamp(2 * TICK, LONGEST_PAUSE);
        }
    }
    loose.next_look = now + loose.pause;
    true
}

/// Does for a worker without a timer what the timer would do. Returns when it is due next.
fn stand_in_for_timer(shared: &Shared, target: &Target, now: u64) -> u64 {
    let armed = target.armed.load(Ordering::SeqCst);
    if armed > now {
        return armed;
    }
    if shared.config.async_preempt {
        shared.counters.add(&shared.counters.signals);
        target.send(shared.config.signal);
        // The handler sets the next one; should the signal be lost, this one is still due.
        return now + TICK;
    }
    if target.actions.judge(target) == Verdict::GiveWay {
        let Some(fiber) = target.fiber() else {
            // It is between two fibers, and may have set the alarm that was just taken for spent.
            target.armed.store(now, Ordering::SeqCst);
            return now + TICK / 10;
        };
        target.unchecked.store(true, Ordering::Relaxed);
        fiber.poison_from_afar();
    }
    target.armed.load(Ordering::SeqCst)
}
