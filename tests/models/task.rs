//! A task as `raw`, `header` and `join` make one of the state: who may touch the future, the output and the join slot
//! only the state says, and loom reports who touches them out of turn.
//!
//! Whoever makes a task runnable runs it at once, as if another worker had been waiting for it.

use crate::executor::task::state::{
    BeginPoll, BeginShutdown, Completed, EndPoll, JoinDropped, JoinWaker, JoinWoken, Released,
    State, Wake, WakeByValue,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use loom::sync::{Arc, Notify};

/// What a joiner gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Value,
    Cancelled,
    /// There is none: the poll was lost.
    Lost,
}

/// In the place of a waker: what the joiner sleeps on.
pub(crate) type Signal = Arc<Notify>;

pub(crate) struct Task {
    pub(crate) state: State,
    /// The future's polls; `None` once it is dropped.
    future: UnsafeCell<Option<u32>>,
    output: UnsafeCell<Option<Output>>,
    join_slot: UnsafeCell<Option<Signal>>,
    /// The owned list still has its reference.
    is_listed: AtomicBool,
    is_alive: UnsafeCell<bool>,
    /// What the future waits for: so many pieces of news.
    expects: u32,
    /// A bit for each piece that has arrived.
    pub(crate) news: AtomicU32,
    /// Outputs that were taken or dropped.
    outputs: AtomicU32,
}

impl Task {
    /// A task that was just spawned; its future is ready once `expects` pieces of news have arrived.
    pub(crate) fn new(expects: u32) -> Arc<Task> {
        Arc::new(Task {
            state: State::new(),
            future: UnsafeCell::new(Some(0)),
            output: UnsafeCell::new(None),
            join_slot: UnsafeCell::new(None),
            is_listed: AtomicBool::new(true),
            is_alive: UnsafeCell::new(true),
            expects,
            news: AtomicU32::new(0),
            outputs: AtomicU32::new(0),
        })
    }

    /// The caller has a reference.
    pub(crate) fn touch(&self) {
        // SAFETY: loom reports a use that is not before the free.
        self.is_alive.with(|alive| unsafe {
            assert!(*alive, "used after it was freed");
        });
    }

    /// `Notified::run`.
    pub(crate) fn run(&self) {
        match self.state.begin_poll() {
            BeginPoll::Poll => self.poll(),
            BeginPoll::Cancel => self.cancel(),
            BeginPoll::Lost => self.complete_lost(),
            BeginPoll::Nothing => (),
            BeginPoll::Dealloc => self.dealloc(),
        }
    }

    /// Begins a poll, as `run` does, which then loses its stack in the middle. Whoever gets the `Notified` that this leaves
    /// behind runs it.
    pub(crate) fn begin_and_lose(&self) {
        assert_eq!(self.state.begin_poll(), BeginPoll::Poll);
        self.future.with_mut(|future| {
            // SAFETY: as in `poll`.
            *unsafe { &mut *future }.as_mut().expect("it is new") += 1;
        });
        self.state.lose();
    }

    fn poll(&self) {
        self.touch();
        // The news need no order of their own: the state carries them.
        let is_ready = self.news.load(Ordering::Relaxed).count_ones() == self.expects;
        self.future.with_mut(|future| {
            // SAFETY: the runner has the future (Invariant 1): loom checks that.
            let future = unsafe { &mut *future };
            *future.as_mut().expect("polled after its end") += 1;
            if is_ready {
                *future = None;
            }
        });
        if is_ready {
            return self.complete(Output::Value);
        }
        match self.state.end_poll() {
            EndPoll::Idle => (),
            EndPoll::Dealloc => self.dealloc(),
            EndPoll::Reschedule => {
                self.release(1);
                self.run();
            }
            EndPoll::Cancel => self.cancel(),
        }
    }

    fn cancel(&self) {
        self.touch();
        // SAFETY: as in `poll`.
        let future = self.future.with_mut(|future| unsafe { (*future).take() });
        assert!(future.is_some(), "cancelled after its end");
        self.complete(Output::Cancelled);
    }

    fn complete(&self, output: Output) {
        // SAFETY: the output is the runner's until the next step (Invariant 4).
        self.output.with_mut(|place| unsafe {
            assert_eq!((*place).replace(output), None);
        });
        let completed = self.state.complete();
        if completed == Completed::Detached {
            assert!(self.take_output().is_some());
        }
        let listed = self.is_listed.swap(false, Ordering::AcqRel);
        if completed == Completed::Watched {
            // SAFETY: nobody writes the slot (Invariant 6).
            self.join_slot.with(|slot| unsafe {
                (*slot).as_ref().expect("no waker").notify();
            });
            match self.state.finish_join_wake() {
                JoinWoken::LeaveWaker => (),
                JoinWoken::DropWaker => self.empty_join_slot(),
            }
        }
        self.release(1 + usize::from(listed));
    }

    /// The completion of a task whose poll was lost: no output, and the runner's reference stays.
    fn complete_lost(&self) {
        self.touch();
        let completed = self.state.complete();
        let listed = self.is_listed.swap(false, Ordering::AcqRel);
        if completed == Completed::Watched {
            // SAFETY: nobody writes the slot (Invariant 6).
            self.join_slot.with(|slot| unsafe {
                (*slot).as_ref().expect("no waker").notify();
            });
            match self.state.finish_join_wake() {
                JoinWoken::LeaveWaker => (),
                JoinWoken::DropWaker => self.empty_join_slot(),
            }
        }
        self.release(usize::from(listed));
    }

    pub(crate) fn take_output(&self) -> Option<Output> {
        self.touch();
        if self.state.load().is_lost() {
            return Some(Output::Lost);
        }
        // SAFETY: the output is the caller's (Invariant 4).
        let output = self.output.with_mut(|output| unsafe { (*output).take() });
        if output.is_some() {
            self.outputs.fetch_add(1, Ordering::Relaxed);
        }
        output
    }

    fn empty_join_slot(&self) {
        // SAFETY: the slot is the caller's (Invariant 6).
        drop(self.join_slot.with_mut(|slot| unsafe { (*slot).take() }));
    }

    pub(crate) fn retain(&self) {
        self.touch();
        self.state.retain();
    }

    pub(crate) fn release(&self, references: usize) {
        self.touch();
        match self.state.release(references) {
            Released::Others => (),
            Released::Last => self.dealloc(),
        }
    }

    pub(crate) fn dealloc(&self) {
        self.is_alive.with_mut(|alive| {
            // SAFETY: nobody else has a reference: loom checks that.
            assert!(unsafe { alive.replace(false) }, "freed twice");
        });
        // SAFETY: as above.
        self.output.with_mut(|output| unsafe {
            assert_eq!(*output, None, "an output is left");
        });
        // SAFETY: as above.
        self.join_slot.with_mut(|slot| unsafe {
            assert!((*slot).is_none(), "a join waker is left");
        });
    }

    /// `Waker::wake_by_ref`.
    pub(crate) fn wake_by_ref(&self) {
        self.touch();
        match self.state.wake_by_ref() {
            Wake::Nothing => (),
            Wake::Schedule => self.run(),
        }
    }

    /// `Waker::wake`.
    pub(crate) fn wake(&self) {
        self.touch();
        match self.state.wake_by_value() {
            WakeByValue::Nothing => (),
            WakeByValue::Dealloc => self.dealloc(),
            WakeByValue::Schedule => {
                self.run();
                self.release(1);
            }
        }
    }

    /// `AbortHandle::abort`.
    pub(crate) fn abort(&self) {
        self.touch();
        match self.state.abort() {
            Wake::Nothing => (),
            Wake::Schedule => self.run(),
        }
    }

    /// The runtime ends: takes the task off the owned list, if it is still there, and shuts it down.
    pub(crate) fn shut_down(&self) {
        if !self.is_listed.swap(false, Ordering::AcqRel) {
            return;
        }
        self.touch();
        match self.state.begin_shutdown() {
            BeginShutdown::Cancel => self.cancel(),
            BeginShutdown::Nothing => self.release(1),
        }
    }

    /// When no thread but the caller's is left: a lost task is complete, and otherwise as it was when it was lost.
    pub(crate) fn assert_is_lost(&self) {
        let state = self.state.load();
        assert!(state.is_complete() && state.is_lost());
        assert!(!self.is_listed.load(Ordering::Relaxed), "still on the list");
        // SAFETY: no other thread is left.
        let (is_alive, future) = unsafe {
            (
                self.is_alive.with(|alive| *alive),
                self.future.with(|future| *future),
            )
        };
        assert!(is_alive, "freed");
        assert_eq!(future, Some(1), "touched");
        assert_eq!(state.references(), 1);
    }

    /// When no thread but the caller's is left: all is as it must be at the end of a task.
    pub(crate) fn assert_is_over(&self) {
        assert!(self.state.load().is_complete(), "never completed");
        // SAFETY: no other thread is left.
        let is_alive = self.is_alive.with(|alive| unsafe { *alive });
        assert!(!is_alive, "never freed");
        let outputs = self.outputs.load(Ordering::Relaxed);
        assert_eq!(outputs, 1, "outputs that were taken or dropped");
    }
}

/// `JoinHandle`.
pub(crate) struct Join(pub(crate) Arc<Task>);

impl Join {
    /// Looks for the output, or leaves the signal.
    pub(crate) fn poll(&self, signal: &Signal) -> Option<Output> {
        if self.look_or_register(signal) {
            let output = self.0.take_output();
            assert!(output.is_some(), "complete without an output");
            output
        } else {
            None
        }
    }

    /// True: complete.
    fn look_or_register(&self, signal: &Signal) -> bool {
        let task = &*self.0;
        task.touch();
        let seen = task.state.load();
        if seen.is_complete() {
            return true;
        }
        if seen.has_join_waker() {
            // SAFETY: nobody writes the slot (Invariant 6).
            let is_same = task.join_slot.with(|slot| unsafe {
                (*slot).as_ref().is_some_and(|old| Arc::ptr_eq(old, signal))
            });
            if is_same {
                return false;
            }
            if task.state.withdraw_join_waker() == JoinWaker::Complete {
                return true;
            }
        }
        self.fill_slot(signal);
        task.state.publish_join_waker() == JoinWaker::Complete
    }

    pub(crate) fn fill_slot(&self, signal: &Signal) {
        // SAFETY: `JOIN_WAKER` is clear (Invariant 6).
        drop(
            self.0
                .join_slot
                .with_mut(|slot| unsafe { (*slot).replace(Arc::clone(signal)) }),
        );
    }

    /// Waits for the output.
    pub(crate) fn wait(&self, signal: &Signal) -> Output {
        loop {
            if let Some(output) = self.poll(signal) {
                return output;
            }
            signal.wait();
        }
    }
}

impl Drop for Join {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let task = &*self.0;
        task.touch();
        let (drop_output, drop_waker) = match task.state.drop_join_handle() {
            JoinDropped::Detached => return,
            JoinDropped::Waker => (false, true),
            JoinDropped::Output => (true, false),
            JoinDropped::OutputAndWaker => (true, true),
        };
        if drop_output {
            let _ = task.take_output();
        }
        if drop_waker {
            task.empty_join_slot();
        }
        task.release(1);
    }
}
