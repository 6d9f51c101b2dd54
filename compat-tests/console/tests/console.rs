//! What tokio-console shows of tasks, asked for over its own protocol: `console-subscriber` serves, the client library
//! of `tokio-console` asks.
//!
//! Compiled only with `RUSTFLAGS="--cfg console_without_tokio_unstable"`: see Cargo.toml. `ci/test.sh` does it.
#![cfg(console_without_tokio_unstable)]

use console_api::field::{Name, Value};
use console_api::instrument::InstrumentRequest;
use console_api::instrument::instrument_client::InstrumentClient;
use console_api::tasks::{Stats, Task};
use console_subscriber::ConsoleLayer;
use preemptive::runtime::Builder;
use preemptive::task;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Checks rule R1.
#[global_allocator]
static ALLOCATOR: preemptive::testing::StrictAllocator = preemptive::testing::StrictAllocator;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// What the console knows.
#[derive(Debug, Default)]
struct Screen {
    tasks: HashMap<u64, Task>,
    stats: HashMap<u64, Stats>,
}

/// A field of a task, as the console prints it.
fn field(task: &Task, name: &str) -> Option<String> {
    let named = |field: &&console_api::Field| matches!(&field.name, Some(Name::StrName(known)) if known == name);
    let value = task.fields.iter().find(named)?.value.as_ref()?;
    Some(match value {
        Value::DebugVal(text) | Value::StrVal(text) => text.clone(),
        Value::U64Val(number) => number.to_string(),
        Value::I64Val(number) => number.to_string(),
        Value::BoolVal(value) => value.to_string(),
    })
}

impl Screen {
    fn find(&self, name: &str) -> Option<(&Task, &Stats)> {
        let is_named =
            |(_, task): &(&u64, &Task)| field(task, "task.name").as_deref() == Some(name);
        let (id, task) = self.tasks.iter().find(is_named)?;
        Some((task, self.stats.get(id)?))
    }

    #[track_caller]
    fn named(&self, name: &str) -> (&Task, &Stats) {
        self.find(name)
            .unwrap_or_else(|| panic!("no task {name} in {self:#?}"))
    }
}

/// Asks the server until `is_enough`.
async fn watch(address: SocketAddr, is_enough: impl Fn(&Screen) -> bool) -> Screen {
    let start = Instant::now();
    let mut client = loop {
        match InstrumentClient::connect(format!("http://{address}")).await {
            Ok(client) => break client,
            Err(error) => assert!(start.elapsed() < LONG, "no server: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let updates = client.watch_updates(InstrumentRequest {}).await;
    let mut updates = updates.expect("the server answers").into_inner();
    let mut screen = Screen::default();
    while !is_enough(&screen) {
        assert!(start.elapsed() < LONG, "not in a minute: {screen:#?}");
        let update = updates.message().await.expect("the server goes on");
        let Some(tasks) = update.and_then(|update| update.task_update) else {
            continue;
        };
        assert_eq!(tasks.dropped_events, 0);
        let new = tasks.new_tasks.into_iter();
        screen
            .tasks
            .extend(new.map(|task| (task.id.as_ref().expect("a number").id, task)));
        screen.stats.extend(tasks.stats_update);
    }
    screen
}

fn time(time: Option<&prost_types::Duration>) -> Duration {
    time.map_or(Duration::ZERO, |time| {
        Duration::new(time.seconds as u64, time.nanos as u32)
    })
}

#[test]
fn the_console_sees_tasks_as_they_are() {
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let console = ConsoleLayer::builder()
        .server_addr(address)
        .publish_interval(Duration::from_millis(50))
        .spawn();
    tracing_subscriber::registry().with(console).init();

    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .time_slice(Duration::from_millis(2))
        .build()
        .expect("a runtime");
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let named = |name| task::Builder::new().name(name);
    let hogs = ["hog", "other hog"].map(|name| {
        let stop = stop.clone();
        let hog = async move { while !stop.load(Ordering::Relaxed) {} };
        named(name).spawn_on(hog, runtime.handle()).expect("a task")
    });
    let line = line!() + 2;
    let sleeper = named("sleeper")
        .spawn_on(
            async {
                for _ in 0..10 {
                    preemptive::time::sleep(Duration::from_millis(10)).await;
                }
            },
            runtime.handle(),
        )
        .expect("a task");
    let yields = async {
        for _ in 0..7 {
            task::yield_now().await;
        }
    };
    let yields = named("yields")
        .spawn_on(yields, runtime.handle())
        .expect("a task");
    let never = async { std::future::pending::<()>().await };
    let never = named("never")
        .spawn_on(never, runtime.handle())
        .expect("a task");
    runtime.block_on(async {
        sleeper.await.expect("it ends");
        yields.await.expect("it ends");
        task::spawn_blocking(|| ()).await.expect("it ends");
    });
    std::thread::sleep(Duration::from_millis(1500).saturating_sub(start.elapsed()));
    stop.store(true, Ordering::Relaxed);
    for hog in hogs {
        runtime.block_on(hog).expect("it ends");
    }
    let wall = start.elapsed();

    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime for the client");
    let screen = client.block_on(watch(address, |screen| {
        let has_ended = |name| {
            screen
                .find(name)
                .is_some_and(|(_, stats)| stats.dropped_at.is_some())
        };
        let known = ["hog", "other hog", "sleeper", "yields"];
        known.into_iter().all(has_ended) && screen.find("never").is_some()
    }));

    // Where it was spawned, and what it is.
    let (task, stats) = screen.named("sleeper");
    let location = task.location.as_ref().expect("a location");
    assert_eq!(location.file.as_deref(), Some(file!()));
    assert_eq!(location.line, Some(line));
    assert_eq!(field(task, "kind").as_deref(), Some("task"));
    assert!(field(task, "size.bytes").is_some(), "{task:?}");
    // Each sleep is a wake, but for those that were over when they began; each wake is a poll, and so is the begin.
    assert!((1..=10).contains(&stats.wakes), "{stats:?}");
    assert_eq!(stats.self_wakes, 0, "{stats:?}");
    assert_eq!(stats.waker_clones, stats.waker_drops, "{stats:?}");
    let polls = stats.poll_stats.as_ref().expect("poll statistics");
    assert!(polls.polls > stats.wakes && polls.polls < 40, "{stats:?}");
    assert!(time(polls.busy_time.as_ref()) < wall / 2, "{stats:?}");

    let (_, stats) = screen.named("yields");
    assert_eq!((stats.wakes, stats.self_wakes), (7, 7), "{stats:?}");

    // Two that never gave way had one processor.
    let busy = ["hog", "other hog"].map(|name| {
        let (_, stats) = screen.named(name);
        let polls = stats.poll_stats.as_ref().expect("poll statistics");
        // Each time it goes on counts.
        assert!(polls.polls > 1, "{stats:?}");
        time(polls.busy_time.as_ref())
    });
    assert!(busy[0] + busy[1] < wall * 3 / 2, "{busy:?} of {wall:?}");
    assert!(busy[0] + busy[1] > wall / 8, "{busy:?} of {wall:?}");

    let (_, stats) = screen.named("never");
    assert!(stats.dropped_at.is_none(), "{stats:?}");
    let kinds: Vec<_> = screen
        .tasks
        .values()
        .filter_map(|task| field(task, "kind"))
        .collect();
    for kind in ["block_on", "blocking"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind}: {kinds:?}");
    }
    drop(never);
}
