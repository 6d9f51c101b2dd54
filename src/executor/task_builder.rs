//! Tasks with more than a future: names, and stacks of their own size.
//!
//! What a task has beside its future is in a wrapper around that future, so a plain task neither stores it nor looks for
//! it. The wrapper's poll hangs its name on the fiber that runs it, for reports, and takes it down again.

use super::local::{LocalSet, spawn_local_from};
use super::runtime::Handle;
use super::task::{JoinHandle, Seed};
use super::timeline;
use super::trace::{Kind, Origin};
use crate::primitives::atomic::Ordering;
use crate::stack;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::ptr::null_mut;
use std::task::{Context, Poll};

/// Spawns tasks that have a name, or need more stack than others.
///
/// The functions are Tokio's, but for [`stack_size`](Self::stack_size). A task's name is for people: a report about a
/// [stack overflow](crate::runtime::Builder::on_stack_overflow) shows it. Several tasks may have the same.
///
/// ```
/// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
/// let task = preemptive::task::Builder::new()
///     .name("the answer")
///     .spawn(async { 6 * 7 })?;
/// assert_eq!(task.await?, 42);
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Builder<'a> {
    name: Option<&'a str>,
    stack_size: Option<usize>,
}

/// The largest stack that may be asked for: more than machines have memory.
const MAX_STACK: usize = 1 << 40;

impl<'a> Builder<'a> {
    /// Nothing special, so far.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let task = preemptive::task::Builder::new().spawn(async { 6 * 7 })?;
    /// assert_eq!(task.await?, 42);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn new() -> Builder<'a> {
        Builder::default()
    }

    /// What the task is called. The name is copied when the task is spawned.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let mut tasks = Vec::new();
    /// for number in 0..3 {
    ///     let name = format!("worker {number}");
    ///     tasks.push(preemptive::task::Builder::new().name(&name).spawn(async move { number })?);
    /// }
    /// for (number, task) in tasks.into_iter().enumerate() {
    ///     assert_eq!(task.await?, number);
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn name(self, name: &'a str) -> Builder<'a> {
        Builder {
            name: Some(name),
            ..self
        }
    }

    /// Bytes of stack that each poll of the task has, at least.
    ///
    /// Where the runtime's own stacks ([`thread_stack_size`](crate::runtime::Builder::thread_stack_size)) are not as
    /// large, polls run on a [segment](crate::stack::grow) that is. It is reserved, and committed when it is touched. A
    /// poll that needs one takes some tens of nanoseconds more. The future's destructor has a stack like any other's.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let task = preemptive::task::Builder::new()
    ///     .stack_size(64 << 20)
    ///     .spawn(async { preemptive::stack::remaining() })?;
    /// assert!(task.await?.unwrap() > 63 << 20);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn stack_size(self, bytes: usize) -> Builder<'a> {
        Builder {
            stack_size: Some(bytes),
            ..self
        }
    }

    /// Starts a task on the current runtime: see [`spawn`](crate::spawn).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a [`stack_size`](Self::stack_size) of more than 1 TiB.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    ///
    /// ```
    /// use preemptive::task::Builder;
    /// use std::io::ErrorKind;
    ///
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let task = Builder::new().stack_size(8 << 20).spawn(async { 6 * 7 })?;
    /// assert_eq!(task.await?, 42);
    /// let error = Builder::new().stack_size(usize::MAX).spawn(async {}).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> io::Result<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_on(future, &Handle::current())
    }

    /// Starts a task on the runtime of `handle`: see [`Handle::spawn`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let builder = preemptive::task::Builder::new().name("adder");
    /// let task = builder.spawn_on(async { 1 + 1 }, runtime.handle())?;
    /// assert_eq!(runtime.block_on(task)?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F>(self, future: F, handle: &Handle) -> io::Result<JoinHandle<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let extras = self.extras()?;
        let seed = self.seed::<F>(Kind::Task);
        Ok(match extras {
            None => handle.spawn_from(future, seed),
            Some(extras) => handle.spawn_from(WithExtras { extras, future }, seed),
        })
    }

    /// Starts a task that is not `Send` on the current [`LocalSet`] or local runtime: see
    /// [`spawn_local`](crate::task::spawn_local).
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Where `spawn_local` does.
    ///
    /// ```
    /// use preemptive::task::Builder;
    /// use std::rc::Rc;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = preemptive::runtime::LocalRuntime::new()?;
    /// runtime.block_on(async {
    ///     let task = Builder::new().name("local").spawn_local(async { Rc::new(42) })?;
    ///     assert_eq!(*task.await?, 42);
    ///     std::io::Result::Ok(())
    /// })
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> io::Result<JoinHandle<F::Output>>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let extras = self.extras()?;
        let seed = self.seed::<F>(Kind::Local);
        Ok(match extras {
            None => spawn_local_from(future, seed),
            Some(extras) => spawn_local_from(WithExtras { extras, future }, seed),
        })
    }

    /// Starts a task that is not `Send` on `set`: see [`LocalSet::spawn_local`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let set = preemptive::task::LocalSet::new();
    /// let builder = preemptive::task::Builder::new().name("adder");
    /// let task = builder.spawn_local_on(async { std::rc::Rc::new(2) }, &set)?;
    /// assert_eq!(*set.block_on(&runtime, task)?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_local_on<F>(self, future: F, set: &LocalSet) -> io::Result<JoinHandle<F::Output>>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let extras = self.extras()?;
        let seed = self.seed::<F>(Kind::Local);
        Ok(match extras {
            None => set.spawn_local_from(future, seed),
            Some(extras) => set.spawn_local_from(WithExtras { extras, future }, seed),
        })
    }

    /// What its task begins with; the caller's caller is where it is spawned.
    #[track_caller]
    fn seed<F>(self, kind: Kind) -> Seed {
        Seed::new(kind, &self.origin::<F>())
    }

    #[track_caller]
    fn origin<F>(self) -> Origin<'a> {
        Origin::of::<F>(Location::caller()).named(self.name)
    }

    /// What its task has beside its future.
    fn extras(&self) -> io::Result<Option<Extras>> {
        if let Some(bytes) = self.stack_size
            && bytes > MAX_STACK
        {
            return Err(super::config::bad(format!(
                "a stack of {bytes} bytes is too large: use at most 1 TiB"
            )));
        }
        Ok(Extras::of(*self))
    }

    /// Runs a closure on a thread of the blocking pool of the current runtime: see
    /// [`spawn_blocking`](super::spawn_blocking).
    ///
    /// A stack overflow there is reported by std, with the thread's name, not the closure's.
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Outside of a runtime; if the first thread of the pool cannot be created.
    ///
    /// ```
    /// # preemptive::runtime::Runtime::new().unwrap().block_on(async {
    /// let builder = preemptive::task::Builder::new().name("reader");
    /// let length = builder.spawn_blocking(|| "a file".len())?.await?;
    /// assert_eq!(length, 6);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, R>(self, f: F) -> io::Result<JoinHandle<R>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.spawn_blocking_on(f, &Handle::current())
    }

    /// The same on the runtime of `handle`: see [`Handle::spawn_blocking`].
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// If the first thread of the pool cannot be created.
    ///
    /// ```
    /// let runtime = preemptive::runtime::Runtime::new()?;
    /// let builder = preemptive::task::Builder::new().name("reader");
    /// let task = builder.spawn_blocking_on(|| "a file".len(), runtime.handle())?;
    /// assert_eq!(runtime.block_on(task)?, 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking_on<F, R>(self, f: F, handle: &Handle) -> io::Result<JoinHandle<R>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        // Reports do not show the name, for these threads are no fibers; `tracing` does.
        let seed = Seed::blocking::<F>(&self.origin::<F>());
        Ok(handle.spawn_blocking_from(f, seed))
    }
}

/// What a task has beside its future.
struct Extras {
    name: Option<Box<str>>,
    /// 0: whatever there is.
    stack_size: usize,
}

impl Extras {
    /// None: nothing.
    fn of(builder: Builder<'_>) -> Option<Extras> {
        let Builder { name, stack_size } = builder;
        (name.is_some() || stack_size.is_some()).then(|| Extras {
            name: name.map(Box::from),
            stack_size: stack_size.unwrap_or(0),
        })
    }
}

/// A future and what its task has beside it.
struct WithExtras<F> {
    extras: Extras,
    future: F,
}

impl<F: Future> Future for WithExtras<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the future stays where it is, and nothing else of `self` is pinned.
        let (extras, future) = unsafe {
            let this = self.get_unchecked_mut();
            (&this.extras, Pin::new_unchecked(&mut this.future))
        };
        let _shown = extras.name.is_some().then(|| Shown::new(extras));
        match extras.stack_size {
            0 => future.poll(context),
            bytes => stack::grow(bytes, bytes, || future.poll(context)),
        }
    }
}

/// While it lives, a name hangs on the fiber that runs this code. They nest.
struct Shown {
    outer: *mut Box<str>,
}

impl Shown {
    fn new(extras: &Extras) -> Shown {
        let name = extras.name.as_ref();
        let shown = Shown {
            outer: hang(name.map_or_else(null_mut, |name| std::ptr::from_ref(name).cast_mut())),
        };
        name.into_iter().for_each(|name| timeline::is_called(name));
        shown
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        hang(self.outer);
    }
}

/// Hangs another name on the current fiber, if there is one; returns what hung there.
fn hang(name: *mut Box<str>) -> *mut Box<str> {
    // SAFETY: null, or the fiber that this code runs as.
    match unsafe { stack::current().as_ref() } {
        // Relaxed: the handler that reads it interrupts this very code.
        Some(fiber) => fiber.name.swap(name, Ordering::Relaxed),
        None => null_mut(),
    }
}
