//! dashmap: locks of parking_lot's kind, whose holders are preempted.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn entries_are_changed_by_one_at_a_time() {
    Crowd::new().run(async {
        // Few shards, so that tasks are in each other's way.
        let map: Arc<DashMap<usize, (u64, u64)>> = Arc::new(DashMap::with_shard_amount(2));
        together(8, |number| {
            let map = map.clone();
            async move {
                for turn in 0..60 {
                    let key = (number + turn) % 5;
                    let mut entry = map.entry(key).or_default();
                    entry.0 += 1;
                    // Others wait for this shard, in the kernel, each with a worker.
                    busy(Duration::from_micros(120));
                    entry.1 += 1;
                    assert_eq!(entry.0, entry.1);
                    drop(entry);
                    if let Some(seen) = map.get(&((key + 1) % 5)) {
                        busy(Duration::from_micros(20));
                        assert_eq!(seen.0, seen.1);
                    }
                    if turn % 20 == 0 {
                        preemptive::task::yield_now().await;
                    }
                }
            }
        })
        .await;
        assert_eq!(map.iter().map(|entry| entry.0).sum::<u64>(), 480);
        assert_eq!(map.len(), 5);
    });
}

#[test]
fn what_is_inserted_is_removed_once() {
    Crowd::new().run(async {
        let map = Arc::new(DashMap::with_shard_amount(4));
        let (inserted, removed): (Vec<usize>, Vec<usize>) = together(6, |number| {
            let map = map.clone();
            async move {
                let (mut inserted, mut removed) = (0, 0);
                for turn in 0..300 {
                    let key = (number * 31 + turn * 17) % 97;
                    match map.entry(key) {
                        Entry::Vacant(place) => {
                            place.insert(vec![key; 50]);
                            inserted += 1;
                        }
                        Entry::Occupied(there) if turn % 2 == 0 => {
                            let value = there.remove();
                            assert!(value.iter().all(|entry| *entry == key));
                            removed += 1;
                        }
                        Entry::Occupied(mut there) => there.get_mut().push(key),
                    }
                    if turn % 100 == 99 {
                        // All shards, one after the other.
                        map.retain(|key, value| value.iter().all(|entry| entry == key));
                        busy(Duration::from_micros(120));
                    }
                }
                (inserted, removed)
            }
        })
        .await
        .into_iter()
        .unzip();
        let left = inserted.iter().sum::<usize>() - removed.iter().sum::<usize>();
        assert_eq!(map.len(), left);
        assert!(removed.iter().sum::<usize>() > 0);
        for entry in map.iter() {
            assert!(entry.value().iter().all(|value| value == entry.key()));
        }
    });
}
