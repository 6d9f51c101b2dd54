//! The crate thread_local: a value per thread, which is one per identity, and one for the length of a poll.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use thread_local::ThreadLocal;

const WORK: Duration = Duration::from_micros(200);

/// Which task, in which of its polls.
type Owner = Cell<Option<(usize, usize)>>;

#[test]
fn a_poll_sees_one_value_and_nobody_else_changes_it() {
    const TASKS: usize = 8;
    const TURNS: usize = 20;
    Crowd::new().run(async {
        let counts: Arc<ThreadLocal<Cell<usize>>> = Arc::default();
        let owner: Arc<ThreadLocal<Owner>> = Arc::default();
        let places = together(TASKS, |task| {
            let (counts, owner) = (counts.clone(), owner.clone());
            async move {
                let mut places = HashSet::new();
                for turn in 0..TURNS {
                    let count = counts.get_or_default();
                    let mine = owner.get_or_default();
                    assert_eq!(mine.replace(Some((task, turn))), None);
                    // No atomic: reading and writing are far apart, and nobody comes in between.
                    let before = count.get();
                    busy(WORK);
                    assert!(std::ptr::eq(counts.get().unwrap(), count));
                    count.set(before + 1);
                    assert_eq!(mine.take(), Some((task, turn)));
                    places.insert(std::ptr::from_ref(count) as usize);
                    preemptive::task::yield_now().await;
                }
                places
            }
        })
        .await;
        let mut counts = Arc::into_inner(counts).unwrap();
        let places: HashSet<usize> = places.into_iter().flatten().collect();
        assert_eq!(counts.iter_mut().count(), places.len());
        assert_eq!(
            counts.iter_mut().map(|count| count.get()).sum::<usize>(),
            TASKS * TURNS
        );
        // Polls were in the middle at the same time, so there were several.
        assert!(places.len() > 1);
    });
}

#[test]
fn borrows_last_across_preemptions() {
    Crowd::new().run(async {
        let buffers: Arc<ThreadLocal<RefCell<String>>> = Arc::default();
        together(8, |task| {
            let buffers = buffers.clone();
            async move {
                for turn in 0..20 {
                    {
                        // A buffer to be used again, as in a logger. A second borrow would panic.
                        let mut buffer = buffers.get_or_default().borrow_mut();
                        buffer.clear();
                        for _ in 0..10 {
                            *buffer += &format!("{task}/{turn} ");
                            busy(Duration::from_micros(20));
                        }
                        assert_eq!(*buffer, format!("{task}/{turn} ").repeat(10));
                    }
                    preemptive::task::yield_now().await;
                }
            }
        })
        .await;
    });
}
