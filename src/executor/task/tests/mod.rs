//! What a task promises, under a scheduler that does nothing by itself: the test is the worker.

use super::{
    AbortHandle, Id, JoinError, JoinHandle, Notified, OwnedTasks, Schedule, Seed, TaskRef, id,
    try_id,
};
use std::collections::{HashSet, VecDeque};
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

#[derive(Clone)]
struct Scheduler(Arc<Shared>);

struct Shared {
    queue: Mutex<VecDeque<Notified>>,
    tasks: OwnedTasks,
    yields: AtomicUsize,
}

impl Schedule for Scheduler {
    fn schedule(&self, task: Notified) {
        self.0.queue.lock().unwrap().push_back(task);
    }

    fn yield_now(&self, task: Notified) {
        self.0.yields.fetch_add(1, SeqCst);
        self.schedule(task);
    }

    fn release(&self, task: &TaskRef) -> Option<TaskRef> {
        self.0.tasks.remove(task)
    }
}

impl Scheduler {
    fn new() -> Scheduler {
        Scheduler(Arc::new(Shared {
            queue: Mutex::default(),
            tasks: OwnedTasks::new(3),
            yields: AtomicUsize::new(0),
        }))
    }

    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (listed, notified, handle) = super::spawn(
            future,
            self.clone(),
            Seed::plain(Id::next(), Location::caller()),
        );
        match self.0.tasks.bind(listed) {
            Ok(()) => self.schedule(notified),
            Err(listed) => listed.shutdown(),
        }
        handle
    }

    fn next(&self) -> Option<Notified> {
        self.0.queue.lock().unwrap().pop_front()
    }

    fn queued(&self) -> usize {
        self.0.queue.lock().unwrap().len()
    }

    fn run_all(&self) {
        while let Some(task) = self.next() {
            task.run();
        }
    }

    fn shut_down(&self) {
        self.0.tasks.close();
        while let Some(task) = self.0.tasks.pop(1) {
            task.shutdown();
        }
    }
}

/// A drop in a type that can be named.
type BoxedOnDrop = OnDrop<Box<dyn FnMut() + Send>>;

/// Counts its drops.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn get(&self) -> usize {
        self.0.load(SeqCst)
    }

    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn on_drop(&self) -> OnDrop<impl FnMut() + Send + use<>> {
        let counter = self.clone();
        OnDrop(move || counter.add())
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.add();
    }
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn poll<T>(handle: &mut JoinHandle<T>) -> Poll<Result<T, JoinError>> {
    poll_with(handle, Waker::noop())
}

fn poll_with<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

#[track_caller]
fn joined<T>(handle: &mut JoinHandle<T>) -> Result<T, JoinError> {
    match poll(handle) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("{handle:?} is not ready"),
    }
}

#[track_caller]
fn error<T>(handle: &mut JoinHandle<T>) -> JoinError {
    joined(handle).err().expect("the task has an output")
}

/// A future that hands out its waker and stays pending until `open`.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Option<Waker>)>>);

impl Gate {
    async fn wait(self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            gate.1 = Some(cx.waker().clone());
            if gate.0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await
    }

    fn waker(&self) -> Waker {
        self.0.lock().unwrap().1.clone().expect("not polled yet")
    }

    fn open(&self) {
        self.0.lock().unwrap().0 = true;
        self.waker().wake();
    }
}

mod identity;
mod outputs;
mod stopping;
