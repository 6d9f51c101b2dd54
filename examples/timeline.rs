//! A small mix of everything, recorded: tasks that compute for long, tasks that sleep, a lock, a call that blocks, and a poll
//! that waits for a channel. Open the file in <https://ui.perfetto.dev> or `chrome://tracing`.
//!
//! ```text
//! cargo run --release --example timeline -- /tmp/timeline.json
//! ```

use preemptive::runtime::{Builder, Handle};
use preemptive::sync::channel;
use preemptive::task::{Builder as Task, JoinHandle};
use preemptive::time::sleep;
use std::future::Future;
use std::hint::black_box;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

#[track_caller]
fn spawn(name: &str, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let task = Task::new().name(name).spawn_on(future, &Handle::current());
    task.expect("no stack size was asked for")
}

/// Computes, without ever awaiting.
fn compute(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        black_box((0..1000_u64).fold(0, |a, b| a ^ black_box(b)));
    }
}

/// Waits for a moment, then works for a moment, a few times.
async fn sleeper() {
    for _ in 0..20 {
        sleep(Duration::from_millis(3)).await;
        compute(Duration::from_micros(300));
    }
}

async fn mix() -> io::Result<()> {
    let mut tasks = Vec::new();
    for number in 0..3 {
        tasks.push(spawn(&format!("hog {number}"), async {
            compute(Duration::from_millis(60));
        }));
    }
    for number in 0..2 {
        tasks.push(spawn(&format!("sleeper {number}"), sleeper()));
    }
    // It holds the lock while it computes, and is preempted there; the other's poll waits for it in the kernel.
    let lock = Arc::new(Mutex::new(0));
    for number in 0..2 {
        let lock = Arc::clone(&lock);
        tasks.push(spawn(&format!("locker {number}"), async move {
            for _ in 0..3 {
                sleep(Duration::from_millis(2)).await;
                let mut guard = lock.lock().expect("nobody panics");
                compute(Duration::from_millis(4));
                *guard += 1;
            }
        }));
    }
    // This one's thread is blocked; its processor goes to another.
    tasks.push(spawn("blocking call", async {
        thread::sleep(Duration::from_millis(25));
    }));
    // This one's poll is parked: no thread waits.
    let (sender, receiver) = channel(1);
    tasks.push(spawn("parked", async move {
        while receiver.blocking_recv().is_some() {
            compute(Duration::from_micros(200));
        }
    }));
    tasks.push(spawn("sender", async move {
        for number in 0..5 {
            sleep(Duration::from_millis(8)).await;
            if sender.send(number).await.is_err() {
                break;
            }
        }
    }));
    for task in tasks {
        task.await?;
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "timeline.json".to_owned());
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .name("mix")
        .record_timeline(&path)
        .build()?;
    runtime.block_on(mix())?;
    // Finishes the file.
    drop(runtime);
    println!("{path}: open it in https://ui.perfetto.dev or chrome://tracing");
    Ok(())
}
