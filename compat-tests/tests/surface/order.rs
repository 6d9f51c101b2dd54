// Bodies of `contract_surface`: `rt` is the runtime's crate.

use super::super::support::Log;
use compat_tests::{message, text};
use rt::runtime::{Handle, RuntimeFlavor};
use rt::task::yield_now;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

type Order = Arc<Mutex<Vec<u32>>>;

/// On one thread tasks run in the order in which they became runnable.
pub(crate) fn current_thread_is_first_in_first_out() -> Vec<u32> {
    let order = Order::default();
    steady().block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let order = order.clone();
                rt::spawn(async move {
                    order.lock().unwrap().push(number);
                    let inner = order.clone();
                    rt::spawn(async move { inner.lock().unwrap().push(number + 100) })
                        .await
                        .unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    std::mem::take(&mut order.lock().unwrap())
}

/// Nobody has a second turn before all have had their first. (In a turn, tasks go on in the order in which they have yielded
/// here, and in reverse on Tokio 1.54.)
pub(crate) fn yielding() -> Vec<u32> {
    let order = Order::default();
    steady().block_on(async {
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let order = order.clone();
                rt::spawn(async move {
                    for turn in 0..3 {
                        order.lock().unwrap().push(10 * turn + number);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let mut order = std::mem::take(&mut *order.lock().unwrap());
    order.chunks_mut(3).for_each(<[u32]>::sort);
    order
}

/// One task wakes three that wait.
pub(crate) fn wake_order() -> Vec<u32> {
    let order = Order::default();
    let runtime = steady();
    let notify = Arc::new(tokio::sync::Notify::new());
    runtime.block_on(async {
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                // From here on it counts as waiting, however late it is polled.
                let (order, notified) = (order.clone(), notify.clone().notified_owned());
                rt::spawn(async move {
                    notified.await;
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        for _ in 0..3 {
            yield_now().await;
        }
        let inside = notify.clone();
        rt::spawn(async move { inside.notify_waiters() }).await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
    });
    std::mem::take(&mut order.lock().unwrap())
}

pub(crate) fn current_handles() -> Vec<bool> {
    let runtime = multi();
    let mut seen = vec![Handle::try_current().is_ok()];
    {
        let _guard = runtime.enter();
        seen.push(Handle::try_current().is_ok());
    }
    seen.push(Handle::try_current().is_err_and(|error| error.is_missing_context()));
    runtime.block_on(async {
        seen.push(Handle::try_current().is_ok());
        seen.push(rt::spawn(async { Handle::try_current().is_ok() }).await.unwrap());
        let blocking = rt::task::spawn_blocking(|| Handle::try_current().is_ok());
        seen.push(blocking.await.unwrap());
        let plain = std::thread::spawn(|| Handle::try_current().is_ok());
        seen.push(plain.join().unwrap());
        seen.push(rt::task::try_id().is_some());
        seen.push(rt::spawn(async { rt::task::try_id().is_some() }).await.unwrap());
        let task = rt::spawn(async { rt::task::id() });
        let id = task.id();
        seen.push(task.await.unwrap() == id);
    });
    seen
}

tokio::task_local! { static NUMBER: u32; }

pub(crate) fn task_locals() -> Vec<String> {
    multi().block_on(async {
        NUMBER
            .scope(1, async {
                let mut seen = vec![text(NUMBER.get())];
                // Not inherited.
                seen.push(text(rt::spawn(async { NUMBER.try_with(|_| ()).is_ok() }).await.unwrap()));
                let inner = rt::spawn(NUMBER.scope(2, async {
                    yield_now().await;
                    NUMBER.get()
                }));
                seen.push(text(inner.await.unwrap()));
                seen.push(text(NUMBER.get()));
                seen
            })
            .await
    })
}

pub(crate) fn flavours() -> Vec<bool> {
    let is_current = |runtime: &rt::runtime::Runtime| {
        matches!(runtime.handle().runtime_flavor(), RuntimeFlavor::CurrentThread)
    };
    vec![is_current(&multi()), is_current(&current())]
}

pub(crate) fn late_spawns() -> Vec<bool> {
    [multi(), current()]
        .into_iter()
        .map(|runtime| {
            let handle = runtime.handle().clone();
            runtime.shutdown_background();
            let task = handle.spawn(async {});
            let other = current();
            other.block_on(task).unwrap_err().is_cancelled()
        })
        .collect()
}

pub(crate) fn blocking_pool() -> Vec<String> {
    let log = Log::default();
    let runtime = multi();
    let seen = runtime.block_on(async {
        let guard = log.guard("closure");
        let value = rt::task::spawn_blocking(move || {
            let _guard = guard;
            5
        });
        let mut seen = vec![text(value.await.unwrap())];
        let error = rt::task::spawn_blocking(|| panic!("expected: blocking")).await.unwrap_err();
        seen.push(text(message(&*error.into_panic())));
        seen.push(text(rt::spawn(async { rt::task::block_in_place(|| 6) }).await.unwrap()));
        seen
    });
    seen.into_iter().chain(log.events()).collect()
}

/// Where blocking on another future is refused: in the middle of one, on a plain thread.
pub(crate) fn nested_block_on() -> Vec<bool> {
    let (outer, inner) = (current(), multi());
    let nested = catch_unwind(AssertUnwindSafe(|| {
        outer.block_on(async { inner.block_on(async {}) });
    }));
    let through_handle = catch_unwind(AssertUnwindSafe(|| {
        outer.block_on(async { Handle::current().block_on(async {}) });
    }));
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        outer.block_on(async { drop(current()) });
    }));
    vec![nested.is_err(), through_handle.is_err(), dropped.is_err()]
}

pub(crate) fn guards() -> Vec<bool> {
    let (one, other) = (multi(), current());
    let is_current = || matches!(Handle::current().runtime_flavor(), RuntimeFlavor::CurrentThread);
    let mut seen = Vec::new();
    let first = one.enter();
    seen.push(is_current());
    let second = other.enter();
    seen.push(is_current());
    drop(second);
    seen.push(is_current());
    drop(first);
    seen.push(Handle::try_current().is_ok());
    seen
}
