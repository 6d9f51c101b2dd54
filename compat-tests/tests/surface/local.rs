// Bodies of `contract_surface`: `rt` is the runtime's crate.

use super::super::support::Log;
use compat_tests::{message, text};
use rt::task::{LocalSet, spawn_local, yield_now};
use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// In which order local tasks are polled first, and that all yield before any goes on. (Those that have yielded go on in
/// their order here, and in reverse on Tokio 1.54.)
pub(crate) fn first_polls() -> Vec<u32> {
    let order = Rc::new(RefCell::new(Vec::new()));
    LocalSet::new().block_on(&current(), async {
        let tasks: Vec<_> = (0..5)
            .map(|number| {
                let order = order.clone();
                spawn_local(async move {
                    order.borrow_mut().push(number);
                    yield_now().await;
                    order.borrow_mut().push(number + 10);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let mut order = order.take();
    order[5..].sort();
    order
}

pub(crate) fn run_until_leaves_the_rest() -> Vec<u32> {
    let runtime = multi();
    let set = LocalSet::new();
    let count = Rc::new(Cell::new(0));
    let inside = count.clone();
    set.spawn_local(async move {
        loop {
            inside.set(inside.get() + 1);
            yield_now().await;
        }
    });
    let mut seen = vec![count.get()];
    set.block_on(&runtime, async {});
    seen.push(count.get());
    set.block_on(&runtime, yield_now());
    seen.push(count.get().min(1));
    seen
}

pub(crate) fn awaiting_runs_all() -> Vec<u32> {
    let set = LocalSet::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    let inside = order.clone();
    set.spawn_local(async move {
        let deeper = inside.clone();
        spawn_local(async move {
            yield_now().await;
            deeper.borrow_mut().push(2);
        });
        inside.borrow_mut().push(1);
    });
    current().block_on(set);
    order.take()
}

pub(crate) fn dropping() -> Vec<String> {
    let runtime = current();
    let log = Log::default();
    let set = LocalSet::new();
    let mut handles = Vec::new();
    for name in ["one", "two", "three"] {
        let guard = log.guard(name);
        handles.push(set.spawn_local(async move {
            let _guard = guard;
            pending::<()>().await;
        }));
    }
    set.block_on(&runtime, async {
        for _ in 0..3 {
            yield_now().await;
        }
    });
    // One that was never polled.
    let guard = log.guard("new");
    handles.push(set.spawn_local(async move {
        let _guard = guard;
    }));
    drop(set);
    let mut events = log.events();
    for handle in handles {
        events.push(text(runtime.block_on(handle).unwrap_err().is_cancelled()));
    }
    events
}

pub(crate) fn panics() -> Vec<String> {
    LocalSet::new().block_on(&current(), async {
        let error = spawn_local(async { panic!("expected: local") }).await.unwrap_err();
        let mut seen = vec![text(error.is_panic()), text(message(&*error.into_panic()))];
        seen.push(text(spawn_local(async { Rc::new(1) }).await.unwrap()));
        seen
    })
}

pub(crate) fn aborting() -> Vec<bool> {
    let set = LocalSet::new();
    let task = set.spawn_local(async {
        let _not_send = Rc::new(());
        pending::<()>().await;
    });
    let abort = task.abort_handle();
    set.block_on(&multi(), async move {
        yield_now().await;
        std::thread::spawn(move || abort.abort()).join().unwrap();
        let error = task.await.unwrap_err();
        vec![error.is_cancelled(), error.is_panic()]
    })
}

pub(crate) fn nesting() -> Vec<u32> {
    let outer = LocalSet::new();
    let inner = LocalSet::new();
    let order = Rc::new(RefCell::new(Vec::new()));
    let inside = order.clone();
    outer.block_on(&current(), async {
        let deeper = inside.clone();
        inner
            .run_until(async move { spawn_local(async move { deeper.borrow_mut().push(1) }).await })
            .await
            .unwrap();
        spawn_local(async move { inside.borrow_mut().push(2) }).await.unwrap();
        let _guard = inner.enter();
    });
    order.take()
}

pub(crate) fn outside() -> Vec<String> {
    let runtime = current();
    let panics = |f: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        text(message(&*payload))
    };
    // In a task that is `Send` as well: it is not the set's.
    let set = LocalSet::new();
    let in_task = set.block_on(&runtime, async {
        rt::spawn(async { drop(spawn_local(async {})) }).await.unwrap_err().into_panic()
    });
    vec![
        panics(&|| drop(spawn_local(async {}))),
        panics(&|| runtime.block_on(async { drop(spawn_local(async {})) })),
        text(message(&*in_task)),
    ]
}

pub(crate) fn local_runtime() -> Vec<String> {
    let runtime = rt::runtime::LocalRuntime::new().unwrap();
    let log = Log::default();
    let guard = log.guard("local");
    let task = runtime.spawn_local(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let mut seen = runtime.block_on(async {
        let in_task = rt::spawn(async {
            spawn_local(async { Rc::new(3) });
            4
        });
        vec![
            text(spawn_local(async { Rc::new(1) }).await.unwrap()),
            text(rt::spawn(async { 2 }).await.unwrap()),
            text(in_task.await.unwrap()),
        ]
    });
    drop(runtime);
    seen.extend(log.events());
    seen.push(text(task.is_finished()));
    seen
}
