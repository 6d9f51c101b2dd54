// Bodies of `contract_surface`: `rt` is the runtime's crate.

use super::super::support::{Log, PanicsInDrop};
use compat_tests::{message, text};
use rt::task::JoinSet;
use std::future::pending;
use tokio::sync::oneshot;

/// Tasks that end when they are told to, in a given order; the joiner waits for each.
pub(crate) fn completion_order() -> Vec<usize> {
    multi().block_on(async {
        let mut set = JoinSet::new();
        let mut gates: Vec<_> = (0..6)
            .map(|number| {
                let (gate, open) = oneshot::channel::<()>();
                set.spawn(async move {
                    let _ = open.await;
                    number
                });
                Some(gate)
            })
            .collect();
        let mut order = Vec::new();
        for number in [3, 1, 5, 0, 2, 4] {
            drop(gates[number].take());
            order.push(set.join_next().await.expect("one is left").unwrap());
        }
        assert!(set.join_next().await.is_none());
        order
    })
}

pub(crate) fn ends() -> Vec<String> {
    multi().block_on(async {
        let mut set = JoinSet::new();
        let mut seen = vec![text((set.len(), set.is_empty()))];
        set.spawn(async { 1 });
        seen.push(text(set.join_next().await.map(Result::unwrap)));
        set.spawn(async { panic!("expected: in a set") });
        let error = set.join_next().await.expect("one").unwrap_err();
        seen.push(text((error.is_panic(), error.is_cancelled())));
        seen.push(text(message(&*error.into_panic())));
        let abort = set.spawn(pending());
        abort.abort();
        let error = set.join_next().await.expect("one").unwrap_err();
        seen.push(text((error.is_panic(), error.is_cancelled(), abort.is_finished())));
        set.spawn_blocking(|| 2);
        seen.push(text(set.join_next().await.map(Result::unwrap)));
        seen.push(text((set.len(), set.join_next().await.is_none())));
        seen
    })
}

pub(crate) fn ids() -> Vec<bool> {
    multi().block_on(async {
        let mut set = JoinSet::new();
        let good = set.spawn(async { rt::task::id() });
        let (id, inside) = set.join_next_with_id().await.expect("one").unwrap();
        let mut same = vec![good.id() == id, inside == id];
        let bad = set.spawn(async { panic!("expected") });
        let error = set.join_next_with_id().await.expect("one").unwrap_err();
        same.push(bad.id() == error.id());
        same.push(good.id() == bad.id());
        same
    })
}

pub(crate) fn dropping() -> Vec<String> {
    let runtime = multi();
    let log = Log::default();
    runtime.block_on(async {
        let mut set = JoinSet::new();
        let (started, starts) = oneshot::channel();
        let guard = log.guard("running");
        let abort = set.spawn(async move {
            let _guard = guard;
            started.send(()).unwrap();
            pending::<()>().await;
        });
        starts.await.unwrap();
        drop(set);
        while !abort.is_finished() {
            rt::task::yield_now().await;
        }
    });
    log.events()
}

pub(crate) fn detaching() -> usize {
    multi().block_on(async {
        let mut set = JoinSet::new();
        let (gate, open) = oneshot::channel::<()>();
        let (done, ends) = oneshot::channel();
        set.spawn(async move {
            let _ = open.await;
            done.send(()).unwrap();
        });
        set.detach_all();
        let left = set.len();
        drop(set);
        drop(gate);
        ends.await.expect("it goes on");
        left
    })
}

pub(crate) fn shutting_down() -> Vec<String> {
    multi().block_on(async {
        let log = Log::default();
        let mut set = JoinSet::new();
        for name in ["one", "two"] {
            let guard = log.guard(name);
            set.spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
        }
        // A panic in a destructor is nobody's business here.
        set.spawn(async {
            let _panics = PanicsInDrop;
            pending::<()>().await;
        });
        rt::task::yield_now().await;
        set.shutdown().await;
        let mut events = log.events();
        events.sort();
        events.push(text(set.len()));
        events
    })
}

pub(crate) fn trying() -> Vec<String> {
    current().block_on(async {
        let mut set = JoinSet::new();
        let mut seen = vec![text(set.try_join_next().is_none())];
        let (gate, open) = oneshot::channel::<()>();
        set.spawn(async move {
            let _ = open.await;
            7
        });
        seen.push(text(set.try_join_next().is_none()));
        drop(gate);
        let joined = loop {
            match set.try_join_next() {
                Some(joined) => break joined,
                None => rt::task::yield_now().await,
            }
        };
        seen.push(text(joined.unwrap()));
        seen.push(text(set.is_empty()));
        seen
    })
}

pub(crate) fn joining_all() -> Vec<String> {
    let runtime = multi();
    let mut seen = runtime.block_on(async {
        let set: JoinSet<u32> = (0..4).map(|number| async move { number * number }).collect();
        let mut all = set.join_all().await;
        all.sort();
        vec![text(all)]
    });
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async { panic!("expected: of a task") });
            set.join_all().await;
        });
    }));
    let payload = panics.unwrap_err();
    seen.push(text(message(&*payload)));
    seen
}
