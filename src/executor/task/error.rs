//! Why a task has no output.

use super::id::Id;
use std::any::Any;
use std::fmt;
use std::io;

/// What a panic was raised with.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// A task that was joined has no output: it was cancelled, it panicked, or it has overflowed its stack.
///
/// Comes out of a [`JoinHandle`](super::JoinHandle). It converts into an [`io::Error`] of kind
/// [`Other`](io::ErrorKind::Other), so `?` works in functions that return [`io::Result`].
///
/// # Examples
///
/// ```
/// preemptive::runtime::Runtime::new().unwrap().block_on(async {
///     let task = preemptive::spawn(async { panic!("boom") });
///     let id = task.id();
///     let error: preemptive::task::JoinError = task.await.unwrap_err();
///     assert_eq!(error.to_string(), format!("task {id} panicked with message \"boom\""));
///     assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::Other);
/// })
/// ```
pub struct JoinError {
    id: Id,
    reason: Reason,
}

enum Reason {
    Cancelled,
    Panic(SharedPayload),
    Overflow,
}

/// A payload that can be looked at from several threads, because nearly nothing can be seen.
struct SharedPayload(Payload);

// SAFETY: `Payload` is not `Sync`. A shared `SharedPayload` gives access through `message` alone, which asks
// for the type and then reads only a `&'static str` or a `String`; both are `Sync`.
unsafe impl Sync for SharedPayload {}

impl SharedPayload {
    fn message(&self) -> Option<&str> {
        if let Some(text) = self.0.downcast_ref::<&'static str>() {
            return Some(text);
        }
        self.0.downcast_ref::<String>().map(String::as_str)
    }
}

impl JoinError {
    pub(crate) fn cancelled(id: Id) -> JoinError {
        JoinError {
            id,
            reason: Reason::Cancelled,
        }
    }

    pub(crate) fn panicked(id: Id, payload: Payload) -> JoinError {
        JoinError {
            id,
            reason: Reason::Panic(SharedPayload(payload)),
        }
    }

    pub(crate) fn overflowed(id: Id) -> JoinError {
        JoinError {
            id,
            reason: Reason::Overflow,
        }
    }

    /// Whether the task has overflowed its stack, in a runtime that goes on then
    /// ([`Builder::on_stack_overflow`](crate::runtime::Builder::on_stack_overflow)).
    ///
    /// Such a task is **never finished and never dropped**: it stays where it was, in the middle of its poll. What it had
    /// borrowed out is still there, and others may go on using it. No destructor of its future or of anything on its
    /// stack has run, or will. The locks that it held stay locked, those of `malloc` and of standard output included if it
    /// was inside them.
    ///
    /// # Examples
    ///
    /// ```
    /// use preemptive::runtime::{Builder, OnStackOverflow};
    ///
    /// fn deeper(depth: u64) -> u64 {
    ///     if depth == u64::MAX { 0 } else { std::hint::black_box(deeper(depth + 1)) + 1 }
    /// }
    ///
    /// let runtime = Builder::new_multi_thread()
    ///     .on_stack_overflow(OnStackOverflow::FailTask)
    ///     .build()
    ///     .unwrap();
    /// let task = runtime.spawn(async { deeper(0) });
    /// assert!(runtime.block_on(task).unwrap_err().is_stack_overflow());
    /// ```
    pub fn is_stack_overflow(&self) -> bool {
        matches!(self.reason, Reason::Overflow)
    }

    /// Whether the task was cancelled: by `abort`, or because its runtime shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let handle = preemptive::spawn(std::future::pending::<()>());
    ///     handle.abort();
    ///     assert!(handle.await.unwrap_err().is_cancelled());
    /// })
    /// ```
    pub fn is_cancelled(&self) -> bool {
        matches!(self.reason, Reason::Cancelled)
    }

    /// Whether the task panicked: while it was polled, or in a destructor of its future.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let error = preemptive::spawn(async { panic!("boom") }).await.unwrap_err();
    ///     assert!(error.is_panic());
    /// })
    /// ```
    pub fn is_panic(&self) -> bool {
        matches!(self.reason, Reason::Panic(_))
    }

    /// What the task panicked with, for instance to resume the panic here.
    ///
    /// # Panics
    ///
    /// If the task did not panic: it was cancelled, or has overflowed its stack. [`try_into_panic`](JoinError::try_into_panic) does not.
    ///
    /// # Examples
    ///
    /// ```should_panic
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let error = preemptive::spawn(async { panic!("boom") }).await.unwrap_err();
    ///     std::panic::resume_unwind(error.into_panic());
    /// })
    /// ```
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("into_panic called, but {error}: ask is_panic first"),
        }
    }

    /// What the task panicked with.
    ///
    /// # Errors
    ///
    /// The error itself, if the task did not panic.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let error = preemptive::spawn(async { panic!("boom") }).await.unwrap_err();
    ///     let payload = error.try_into_panic().unwrap();
    ///     assert_eq!(payload.downcast_ref::<&str>(), Some(&"boom"));
    /// })
    /// ```
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, JoinError> {
        match self.reason {
            Reason::Panic(payload) => Ok(payload.0),
            Reason::Cancelled | Reason::Overflow => Err(self),
        }
    }

    /// Which task it was.
    ///
    /// # Examples
    ///
    /// ```
    /// preemptive::runtime::Runtime::new().unwrap().block_on(async {
    ///     let task = preemptive::spawn(std::future::pending::<()>());
    ///     let id = task.id();
    ///     task.abort();
    ///     assert_eq!(task.await.unwrap_err().id(), id);
    /// })
    /// ```
    pub fn id(&self) -> Id {
        self.id
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.reason {
            Reason::Cancelled => write!(f, "task {id} was cancelled"),
            Reason::Overflow => write!(f, "task {id} has overflowed its stack"),
            Reason::Panic(payload) => match payload.message() {
                Some(message) => write!(f, "task {id} panicked with message {message:?}"),
                None => write!(f, "task {id} panicked"),
            },
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.reason {
            Reason::Cancelled => write!(f, "JoinError::Cancelled({id:?})"),
            Reason::Overflow => write!(f, "JoinError::StackOverflow({id:?})"),
            Reason::Panic(payload) => match payload.message() {
                Some(message) => write!(f, "JoinError::Panic({id:?}, {message:?}, ...)"),
                None => write!(f, "JoinError::Panic({id:?}, ...)"),
            },
        }
    }
}

impl std::error::Error for JoinError {}

impl From<JoinError> for io::Error {
    fn from(error: JoinError) -> io::Error {
        io::Error::other(match error.reason {
            Reason::Cancelled => "task was cancelled",
            Reason::Overflow => "task has overflowed its stack",
            Reason::Panic(_) => "task panicked",
        })
    }
}
