//! Workers: the kernel threads that execute fibers, and what happens on their system stacks.
//!
//! # The life of a worker
//!
//! ```text
//!            ┌────────────── no fiber, no processor: spare ◀─────────────┐
//!            │ given a processor                                       │
//!            ▼                                                         │
//!        dispatch: picks a fiber ──▶ runs it ──mcall──▶ preempted ─────┤ lost its processor
//!                                      ▲                    │            │
//!                                      └──── switch ◀─────────┘            │
//!                                      └──── switch ◀── leave_for          │
//!                                           leave_without_processor ──────┘
//! ```
//!
//! A poll that parks leaves its worker like one that is preempted: see `parked`.
//!
//! Every function below runs on the system stack, at its base: `mcall` adds its frames below what the stack
//! already holds, and none of them returns. They are critical sections (R1): the worker's `fiber` is null, so
//! the signal handler leaves them alone.
//!
//! # The order of a switch
//!
//! A fiber's signal stack may be used by one kernel thread at a time. So a switch from one fiber to another
//! is: choose the next; install its signal stack, which also tells what the old one had installed; only then
//! put the old one where another worker can take it; go.

use super::actions::WorkerActions;
use super::batch::Place;
use super::parker::Parker;
use super::processor::Processor;
use super::shared::Shared;
use super::timeline::{Recorder, Why};
use crate::arch;
use crate::fatal::fatal;
use crate::preempt::{Target, setxid};
use crate::primitives::Arc;
use crate::primitives::atomic::{AtomicBool, AtomicU32, Ordering};
use crate::stack::{self, Fiber};
use crate::sys::{self, SignalStack};
use std::cell::{Cell, UnsafeCell};
use std::io;

thread_local! {
    /// This identity is a worker's own: its code runs on a system stack (rule R1's checker asks).
    static ON_SYSTEM_STACK: Cell<bool> = const { Cell::new(false) };
}

/// Does the calling code run on a worker's system stack?
pub(crate) fn on_system_stack() -> bool {
    ON_SYSTEM_STACK.get()
}

/// See the module's head.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Worker {
    /// What the signal handler looks at. The first field: a target's address is its worker's.
    pub(crate) target: Target,
    shared: *const Shared,
    pub(crate) index: usize,
    /// What a spare worker sleeps on: 0 asleep, 1 told to look.
    wake: AtomicU32,
    /// What `leave_for` switches to.
    next: Cell<Option<New>>,
    /// What the fiber is to park for.
    pub(super) parker: Cell<*const Parker>,
    /// Where the thread goes on when the worker ends.
    home: UnsafeCell<arch::Saved>,
    /// The thread has ended.
    pub(crate) ended: AtomicBool,
    /// What it does is recorded.
    pub(crate) recorder: Option<Recorder>,
}

// SAFETY: `next`, `parker`, `home` and the cells of `recorder` are used by the worker's own thread only.
unsafe impl Sync for Worker {}
// SAFETY: as above.
unsafe impl Send for Worker {}

/// Where a fiber that leaves its worker goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goes {
    /// It is in the middle of a poll.
    Batch(Place),
    /// It is at the top of its loop.
    Spare,
    /// It waits, in the middle of a poll.
    Parked(*const Parker),
}

/// What a worker goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) enum New {
    /// A poll that was preempted.
    Preempted(&'static Fiber),
    /// A poll that was parked. It runs like a task; `true`: what ran before was wanted, so what is known of it is void.
    Woken(&'static Fiber, bool),
    /// The loop, on a fiber that nobody used.
    Spare(&'static Fiber),
}

impl Worker {
    /// A worker that has not started yet.
    pub(crate) fn new(shared: &Shared, index: usize) -> io::Result<Worker> {
        let size = stack::signal_size();
        let memory = sys::map(size).map_err(|error| {
            error.with("cannot reserve a worker's signal stack (raise RLIMIT_AS)")
        })?;
        let signal_stack = SignalStack {
            ss_sp: memory.cast(),
            ss_flags: 0,
            ss_size: size,
        };
        Ok(Worker {
            target: Target::new(signal_stack, &WorkerActions),
            shared,
            index,
            wake: AtomicU32::new(0),
            next: Cell::new(None),
            parker: Cell::new(std::ptr::null()),
            home: UnsafeCell::new(arch::Saved::default()),
            ended: AtomicBool::new(false),
            recorder: shared
                .timeline
                .as_ref()
                .map(|timeline| Recorder::new(timeline, index)),
        })
    }

    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: the worker's thread holds an `Arc` of it, and `Shared` frees its workers last.
        unsafe { &*self.shared }
    }

    /// The worker's processor. On the system stack, in critical sections.
    #[inline]
    pub(crate) fn processor(&self) -> Option<&Processor> {
        // SAFETY: 0, or the address of one of this runtime's processors.
        unsafe { (self.target.processor.held() as *const Processor).as_ref() }
    }

    /// Tells a spare worker to look.
    pub(crate) fn wake(&self) {
        self.wake.store(1, Ordering::SeqCst);
        sys::futex_wake(&self.wake, 1);
    }

    /// What functions on the system stack get.
    fn argument(&self) -> *mut () {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// # Safety
    ///
    /// `argument` came from [`argument`](Self::argument).
    pub(super) unsafe fn of<'a>(argument: *mut ()) -> &'a Worker {
        // SAFETY: workers are freed after their threads have ended, and this runs on the worker's thread.
        unsafe { &*argument.cast::<Worker>() }
    }

    /// Suspends `fiber`, which this code runs as, and goes on with `f` on the system stack.
    pub(super) fn mcall(&self, fiber: &Fiber, f: unsafe extern "sysv64" fn(*mut ()) -> !) {
        // SAFETY: the caller runs as `fiber`, critical, on this worker; the system stack below its base is free
        // and goes with the worker's own identity; each `f` publishes the fiber once, as its last act with it.
        unsafe {
            fiber.suspend(
                self.target.system_stack.load(Ordering::Relaxed),
                self.target.thread_pointer.load(Ordering::Relaxed),
                f,
                self.argument(),
            );
        }
    }

    /// From the top of the loop: this fiber becomes spare, the worker goes on with `next`.
    pub(crate) fn leave_for(&self, fiber: &Fiber, next: &'static Fiber) {
        self.next.set(Some(New::Preempted(next)));
        self.mcall(fiber, switch_to_next);
    }

    /// The same, for a poll that was parked.
    pub(crate) fn leave_for_woken(&self, fiber: &Fiber, next: &'static Fiber) {
        self.next.set(Some(New::Woken(next, fiber.is_wanted())));
        self.mcall(fiber, switch_to_next);
    }

    /// From the top of the loop: this fiber becomes spare, and so does the worker, which has no processor.
    pub(crate) fn leave_without_processor(&self, fiber: &Fiber) {
        self.mcall(fiber, become_spare);
    }

    /// The fiber that has just been suspended; from here on the worker has none.
    pub(super) fn detach(&self) -> &'static Fiber {
        let Some(fiber) = self.target.fiber() else {
            fatal!(
                "worker {} came to its system stack without a fiber",
                self.index
            )
        };
        self.target
            .fiber
            .store(std::ptr::null_mut(), Ordering::SeqCst);
        // Only this thread writes it.
        let switches = self.target.switches.load(Ordering::Relaxed);
        self.target
            .switches
            .store(switches.wrapping_add(1), Ordering::SeqCst);
        fiber
    }

    /// Installs the worker's own signal stack; what the fiber had installed stays with the fiber.
    pub(super) fn keep_signal_stack(&self, fiber: &Fiber) {
        self.install(&self.target.signal_stack, Some(fiber));
    }

    fn install(&self, new: &SignalStack, old: Option<&Fiber>) {
        match sys::sigaltstack(new) {
            // SAFETY: the worker owns the suspended fiber.
            Ok(was) => old.into_iter().for_each(|old| unsafe {
                *old.signal_stack.get() = SignalStack {
                    ss_flags: was.ss_flags & !libc::SS_ONSTACK,
                    ..was
                };
            }),
            Err(error) => fatal!("cannot install a signal stack: error {}", error.0),
        }
    }

    /// Puts a suspended fiber where it can be found.
    pub(super) fn publish(&self, fiber: &'static Fiber, goes: Goes) {
        let shared = self.shared();
        fiber.worker.store(std::ptr::null_mut(), Ordering::Relaxed);
        if fiber.is_home() && matches!(goes, Goes::Spare) {
            shared.home.put(fiber);
            return;
        }
        if !matches!(goes, Goes::Spare) {
            fiber.goes_away(matches!(goes, Goes::Batch(_)));
        }
        // SAFETY: the worker owns the suspended fiber, on its system stack, and gives it up here. The parker lies on
        // that fiber's stack, or is kept by it.
        unsafe {
            match goes {
                Goes::Batch(place) => {
                    shared.batch.push(fiber, place);
                    shared.submitted_fiber();
                }
                Goes::Spare => {
                    shared.spare_fibers.push_front(fiber);
                    shared.fiber_available();
                }
                Goes::Parked(parker) => shared.commit_park(fiber, &*parker),
            }
        }
    }

    /// For the timeline: why what is about to leave does so.
    fn because(&self, why: Why) {
        if let Some(recorder) = &self.recorder {
            recorder.because(why);
        }
    }

    /// For the timeline: a fiber is about to be published. Afterwards it may be gone.
    pub(super) fn record_leaving(&self, fiber: &Fiber, goes: Goes) {
        if let Some(recorder) = &self.recorder {
            match goes {
                Goes::Parked(_) => recorder.leaves(self, fiber, Why::Parked),
                Goes::Batch(_) | Goes::Spare => recorder.makes_room(self, fiber),
            }
        }
    }

    /// Leaves the system stack for `new`, whose signal stack is installed.
    pub(super) fn enter(&self, new: &'static Fiber) -> ! {
        let me = self.argument();
        if new.preemptions.load(Ordering::Relaxed) > 0
            && new.last_worker.swap(me, Ordering::Relaxed) != me
        {
            let counters = &self.shared().counters;
            counters.add(&counters.migrations);
        }
        new.worker.store(self.argument(), Ordering::Relaxed);
        new.comes_back();
        if let Some(processor) = self.processor() {
            new.processor
                .store(processor.index as u32, Ordering::Relaxed);
        }
        self.target
            .fiber
            .store(std::ptr::from_ref(new).cast_mut(), Ordering::SeqCst);
        // SAFETY: the worker owns the fiber, which is suspended; the system stack's frames are done with.
        unsafe { new.resume() }
    }

    /// A poll is about to make room for another: where it goes, and what is left of its slice.
    ///
    /// A task or a timer cuts a slice short; what is left of it, if it is worth a signal, is the fiber's.
    fn set_aside(&self, processor: &Processor, fiber: &Fiber) -> Goes {
        fiber.preemptions.fetch_add(1, Ordering::Relaxed);
        fiber.last_worker.store(self.argument(), Ordering::Relaxed);
        Goes::Batch(self.shared().set_aside(processor, fiber))
    }

    /// From `old`, if any, to `new`: a preempted poll, or a spare fiber that takes tasks.
    pub(super) fn switch(
        &self,
        processor: &Processor,
        old: Option<(&'static Fiber, Goes)>,
        new: New,
    ) -> ! {
        let shared = self.shared();
        let (New::Preempted(fiber) | New::Woken(fiber, _) | New::Spare(fiber)) = new;
        // SAFETY: the worker owns both fibers.
        let signal_stack = unsafe { *fiber.signal_stack.get() };
        self.install(&signal_stack, old.map(|(old, _)| old));
        if let Some((old, goes)) = old {
            self.record_leaving(old, goes);
            self.publish(old, goes);
        }
        match new {
            New::Preempted(_) => shared.switched(processor, Some(fiber)),
            New::Woken(_, was_wanted) => shared.resumed(processor, was_wanted),
            New::Spare(_) => shared.switched(processor, None),
        }
        if let Some(recorder) = &self.recorder {
            recorder.comes(self, fiber);
        }
        self.enter(fiber)
    }

    /// A processor and no fiber: finds one. Does not return.
    pub(super) fn dispatch(&self, processor: &Processor) -> ! {
        let shared = self.shared();
        loop {
            let tasks = shared.interactive_waits(processor);
            if shared.shutdown.is_abandoned() {
                shared.give_back_all(true);
            }
            if !tasks && let Some(next) = shared.batch.pop() {
                self.switch(processor, None, New::Preempted(next));
            }
            if let Some(spare) = shared.take_spare_fiber() {
                self.switch(processor, None, New::Spare(spare));
            }
            if let Some(next) = shared.batch.pop() {
                self.switch(processor, None, New::Preempted(next));
            }
            // Nothing that could be resumed, and nothing to run tasks with: the supplier makes fibers.
            let supplied = shared.supplied.load(Ordering::SeqCst);
            shared.supply.ask();
            if shared.spare_fibers.is_empty() {
                shared.wait_for_fiber(supplied, sys::now() + 1_000_000);
            }
        }
    }

    /// No fiber and no processor: waits for one. Does not return.
    pub(super) fn spare(&self) -> ! {
        let shared = self.shared();
        loop {
            if let Some(processor) = self.processor() {
                if let Some(recorder) = &self.recorder {
                    recorder.gets(self);
                }
                self.dispatch(processor);
            }
            if shared.shutdown.workers_may_end() {
                // A fiber that gave way while the last processor retired: nobody else will run it.
                while !shared.batch.is_empty() {
                    shared.give_back_one();
                }
                // And one that the kernel had for longer than shutdown waited.
                shared.end_spare_fibers();
                // SAFETY: `home` was saved by `run`, and is resumed this once; the identity is the thread's own.
                unsafe {
                    arch::resume(
                        self.home.get(),
                        self.target.thread_pointer.load(Ordering::Relaxed),
                    )
                }
            }
            self.wake.store(0, Ordering::SeqCst);
            shared.spare_workers.insert(self.index);
            // Whoever orphans a processor looks for a spare worker after it; so look again after saying so.
            let needed = !shared.orphans.is_empty() || shared.shutdown.workers_may_end();
            if needed {
                if !shared.spare_workers.remove(self.index) {
                    // Somebody has chosen this worker and is about to say so.
                    self.wait_until_woken();
                } else if let Some(index) = shared.orphans.take_any() {
                    let processor = &shared.processors[index];
                    processor
                        .worker
                        .store(std::ptr::from_ref(self).cast_mut(), Ordering::SeqCst);
                    self.target
                        .processor
                        .give(std::ptr::from_ref(processor) as usize);
                }
                continue;
            }
            self.wait_until_woken();
        }
    }

    /// Whoever takes a worker out of `spare_workers` wakes it, last of all.
    fn wait_until_woken(&self) {
        while self.wake.load(Ordering::SeqCst) == 0 {
            sys::futex_wait(&self.wake, 0, None);
        }
    }

    /// The thread's whole work. `arc` keeps the runtime alive.
    pub(crate) fn run(&self, arc: Arc<Shared>) {
        let shared = &*arc;
        let target = &self.target;
        sys::no_timer_slack();
        // The preemption signal must arrive whatever the creator had blocked.
        let mask = sys::sigmask(Some(shared.config.mask()));
        target.mask.store(shared.config.mask(), Ordering::SeqCst);
        target
            .thread_pointer
            .store(arch::thread_pointer(), Ordering::SeqCst);
        let here = 0_u8;
        // Well below this function's frames and those of `mcall`.
        let base = (std::ptr::from_ref(&here) as usize - 16 * 1024) & !15;
        target.system_stack.store(base, Ordering::SeqCst);
        let Ok(before) = sys::sigaltstack(&target.signal_stack) else {
            fatal!("cannot install a worker's signal stack");
        };
        setxid::wrap();
        // SAFETY: the target lives until this thread has ended and unregistered.
        let registered = unsafe { &*std::ptr::from_ref(target) };
        if let Err(error) = registered.register(shared.config.signal, shared.config.async_preempt) {
            fatal!("{error}");
        }
        ON_SYSTEM_STACK.set(true);
        // SAFETY: the stack below `base` is this thread's and free; the identity is its own and no signal of
        // ours interrupts a worker without a fiber.
        unsafe {
            arch::mcall(
                self.home.get(),
                base,
                arch::thread_pointer(),
                start,
                self.argument(),
            );
        }
        ON_SYSTEM_STACK.set(false);
        target.unregister();
        let _ = sys::sigaltstack(&before);
        sys::sigmask(Some(mask));
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// The worker of a current-thread runtime (see `home`).
impl Worker {
    /// The calling thread, which runs as `home`, is this worker from here on.
    #[track_caller]
    pub(super) fn adopt(&self, home: &'static Fiber) {
        let target = &self.target;
        target
            .thread_pointer
            .store(arch::thread_pointer(), Ordering::SeqCst);
        target
            .system_stack
            .store(home.system_stack(), Ordering::SeqCst);
        setxid::wrap();
        // SAFETY: the worker lives as long as its runtime, and is released by this thread before.
        let registered = unsafe { &*std::ptr::from_ref(target) };
        let config = &self.shared().config;
        if let Err(error) = registered.register(config.signal, config.async_preempt) {
            fatal!("{error}");
        }
        home.adopt();
        home.worker.store(self.argument(), Ordering::Relaxed);
        target
            .fiber
            .store(std::ptr::from_ref(home).cast_mut(), Ordering::SeqCst);
    }

    /// Undoes [`adopt`](Self::adopt), on the same thread, without a processor.
    pub(super) fn release(&self, home: &'static Fiber) {
        self.detach();
        home.worker.store(std::ptr::null_mut(), Ordering::Relaxed);
        // Signals that are pending find a worker without a fiber.
        sys::sigmask(Some(self.target.mask.load(Ordering::Relaxed)));
        self.target.unregister();
        home.release();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let stack = self.target.signal_stack;
        // SAFETY: mapped in `new`; the thread has ended or never started.
        unsafe { sys::unmap(stack.ss_sp.cast(), stack.ss_size) };
    }
}

/// The first thing on a worker's system stack.
unsafe extern "sysv64" fn start(argument: *mut ()) -> ! {
    // SAFETY: `run` passes its worker.
    let worker = unsafe { Worker::of(argument) };
    worker.shared().supply.worker_started();
    worker.spare()
}

/// The fiber at the top of its loop makes room for another.
unsafe extern "sysv64" fn switch_to_next(argument: *mut ()) -> ! {
    // SAFETY: `mcall` passes its worker.
    let worker = unsafe { Worker::of(argument) };
    let old = worker.detach();
    let Some(next) = worker.next.take() else {
        fatal!("worker {} was to switch to no fiber", worker.index)
    };
    match worker.processor() {
        Some(processor) => {
            let new = match next {
                // A home fiber that is free takes tasks; all others come out of `batch`.
                New::Preempted(home)
                    if home.is_home() && home.preemptions.load(Ordering::Relaxed) == 0 =>
                {
                    New::Spare(home)
                }
                next => next,
            };
            worker.switch(processor, Some((old, Goes::Spare)), new)
        }
        None => fatal!(
            "worker {} lost its processor in a critical section",
            worker.index
        ),
    }
}

/// The fiber at the top of its loop, and its worker, are not needed.
unsafe extern "sysv64" fn become_spare(argument: *mut ()) -> ! {
    // SAFETY: `mcall` passes its worker.
    let worker = unsafe { Worker::of(argument) };
    let old = worker.detach();
    worker.target.arm(u64::MAX);
    worker.keep_signal_stack(old);
    worker.publish(old, Goes::Spare);
    worker.spare()
}

/// A fiber has given way in the middle of a poll.
pub(super) unsafe extern "sysv64" fn preempted(argument: *mut ()) -> ! {
    // SAFETY: `mcall` passes its worker.
    let worker = unsafe { Worker::of(argument) };
    let shared = worker.shared();
    let fiber = worker.detach();
    if shared.shutdown.is_abandoned() && !fiber.is_home() {
        // Shutdown waits no longer: the lender goes on with it, at the kernel's leisure.
        worker.keep_signal_stack(fiber);
        worker.because(Why::GivenBack);
        worker.record_leaving(fiber, Goes::Batch(Place::Old));
        shared.counters.add(&shared.counters.given_back);
        // SAFETY: the worker owns the suspended fiber.
        unsafe { fiber.give_back(shared.config.mask(), true) };
        match worker.processor() {
            Some(processor) => worker.dispatch(processor),
            None => worker.spare(),
        }
    }
    let Some(processor) = worker.processor() else {
        if shared.shutdown.has_begun() {
            worker.enter(fiber);
        }
        // It came back from a blocking call and went on: it queues up.
        worker.keep_signal_stack(fiber);
        fiber.is_young.store(false, Ordering::Relaxed);
        worker.because(Why::CameBack);
        worker.record_leaving(fiber, Goes::Batch(Place::Old));
        worker.publish(fiber, Goes::Batch(Place::Old));
        worker.spare()
    };
    let used_up = processor.used_up.swap(false, Ordering::Relaxed);
    let runs_tasks = processor.runs_tasks.load(Ordering::Relaxed);
    if used_up && !runs_tasks && processor.slice_end.load(Ordering::Relaxed) <= sys::now() {
        // Only the owner writes it.
        let slices = processor.slices.load(Ordering::Relaxed);
        processor.slices.store(slices + 1, Ordering::Relaxed);
    }
    if runs_tasks
        && processor.batch_turn.load(Ordering::Relaxed)
        && let Some(next) = shared.batch.pop()
    {
        let goes = worker.set_aside(processor, fiber);
        worker.because(Why::ForPreempted);
        worker.switch(processor, Some((fiber, goes)), New::Preempted(next));
    }
    let tasks = shared.interactive_waits(processor) && !shared.is_owed(processor);
    if tasks && !used_up && !processor.due.load(Ordering::Relaxed) {
        shared.counters.add(&shared.counters.wakeups);
    }
    if tasks && let Some(spare) = shared.take_spare_fiber() {
        let goes = worker.set_aside(processor, fiber);
        worker.because(match processor.due.load(Ordering::Relaxed) {
            true => Why::ForTimer,
            false => Why::ForTask,
        });
        worker.switch(processor, Some((fiber, goes)), New::Spare(spare));
    }
    // Nobody to run tasks with, or no tasks: the next fiber. It needs nothing that must be made.
    if (used_up || tasks)
        && let Some(next) = shared.batch.pop()
    {
        let goes = worker.set_aside(processor, fiber);
        worker.because(match used_up {
            true => Why::SliceUsedUp,
            false => Why::ForPreempted,
        });
        worker.switch(processor, Some((fiber, goes)), New::Preempted(next));
    }
    // Whoever waited has been served elsewhere.
    if runs_tasks {
        shared.go_on(processor);
    } else {
        let _ = shared.set_aside(processor, fiber);
        shared.switched(processor, Some(fiber));
    }
    worker.enter(fiber)
}
