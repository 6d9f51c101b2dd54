//! The `Spawn` trait of the `futures` crates.

use super::local::{LocalRuntime, LocalSet};
use super::runtime::{Handle, Runtime};
use super::task::Seed;
use super::trace::{Kind, Origin};
use futures_task::{FutureObj, LocalFutureObj, LocalSpawn, Spawn, SpawnError};
use std::panic::Location;

/// With the feature `futures`: libraries that spawn through `futures::task::Spawn` do it on this runtime, and
/// `futures::task::SpawnExt` has functions for people, among them `spawn_with_handle`. So a `Handle` stands where
/// `futures::executor::ThreadPool` did; of its `spawn_ok`, [`Handle::spawn`] is the equivalent.
///
/// A reference to a handle is a `Spawn` as well.
///
/// # Errors
///
/// After the runtime has ended. The future is dropped then.
///
/// ```
/// use futures_task::{FutureObj, Spawn};
///
/// let runtime = preemptive::runtime::Runtime::new().unwrap();
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let future = Box::new(async move { sender.send(6 * 7).unwrap() });
/// runtime.handle().spawn_obj(FutureObj::new(future))?;
/// assert_eq!(receiver.recv(), Ok(42));
/// # Ok::<(), futures_task::SpawnError>(())
/// ```
impl Spawn for Handle {
    #[track_caller]
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        let origin = Origin::of::<FutureObj<'static, ()>>(Location::caller());
        let (_, rest) = self.try_spawn(future, Seed::new(Kind::Task, &origin));
        match rest.is_none_or(|rest| rest.admit()) {
            true => Ok(()),
            false => Err(SpawnError::shutdown()),
        }
    }

    fn status(&self) -> Result<(), SpawnError> {
        match self.shared.shutdown.has_begun() {
            false => Ok(()),
            true => Err(SpawnError::shutdown()),
        }
    }
}

/// With the feature `futures`: as its [`Handle`] does.
impl Spawn for Runtime {
    #[track_caller]
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.handle().spawn_obj(future)
    }

    fn status(&self) -> Result<(), SpawnError> {
        self.handle().status()
    }
}

/// With the feature `futures`: spawns onto this set, whose thread the caller is on.
///
/// ```
/// use futures_task::{LocalFutureObj, LocalSpawn};
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// let runtime = preemptive::runtime::Runtime::new().unwrap();
/// let set = preemptive::task::LocalSet::new();
/// let answer = Rc::new(Cell::new(0));
/// let inside = answer.clone();
/// let future = Box::new(async move { inside.set(6 * 7) });
/// set.spawn_local_obj(LocalFutureObj::new(future))?;
/// runtime.block_on(set);
/// assert_eq!(answer.get(), 42);
/// # Ok::<(), futures_task::SpawnError>(())
/// ```
impl LocalSpawn for LocalSet {
    #[track_caller]
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        drop(self.spawn_local(future));
        Ok(())
    }
}

/// With the feature `futures`: spawns onto this runtime, whose thread the caller is on.
impl LocalSpawn for LocalRuntime {
    #[track_caller]
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        drop(self.spawn_local(future));
        Ok(())
    }
}
