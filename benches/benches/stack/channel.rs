//! Channels: nanoseconds per message, beside rivals, all on this crate's runtime with two workers.
//!
//! Figures are called `channel/WAY/LOAD/CASE/WHOSE`. WAY: `async` (awaiting), or `blocking` in tasks. LOAD: `calm`, or
//! `hogs` (eight tasks that compute and never await). CASE: one producer and one consumer with room for so many values,
//! or four of each with room for 64.

use preemptive::runtime::{Builder, Runtime};
use preemptive_benches::{Report, Samples};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Samples of each figure.
const SAMPLES: usize = 7;
/// How long one should take.
const SAMPLE: Duration = Duration::from_millis(80);
/// So many tasks that never await.
const HOGS: usize = 8;

/// A kind of channel.
trait Channel: 'static {
    const NAME: &'static str;
    /// May there be several receivers?
    const SHARED: bool = true;
    /// The least room.
    const LEAST: usize;
    type Sender: Clone + Send + 'static;
    type Receiver: Send + 'static;
    fn make(capacity: usize) -> (Self::Sender, Self::Receiver);
    fn clone(receiver: &Self::Receiver) -> Self::Receiver;
    fn send(sender: &Self::Sender, value: u64) -> impl Future<Output = ()> + Send;
    fn recv(receiver: &mut Self::Receiver) -> impl Future<Output = Option<u64>> + Send;
    fn blocking_send(sender: &Self::Sender, value: u64);
    fn blocking_recv(receiver: &mut Self::Receiver) -> Option<u64>;
}

macro_rules! channel {
    ($kind:ident, $name:literal, $least:literal, $sender:ty, $receiver:ty, $make:expr,
     $send:ident, $recv:ident, $blocking_send:ident, $blocking_recv:ident) => {
        struct $kind;

        impl Channel for $kind {
            const NAME: &'static str = $name;
            const LEAST: usize = $least;
            type Sender = $sender;
            type Receiver = $receiver;

            fn make(capacity: usize) -> (Self::Sender, Self::Receiver) {
                $make(capacity)
            }

            fn clone(receiver: &Self::Receiver) -> Self::Receiver {
                receiver.clone()
            }

            async fn send(sender: &Self::Sender, value: u64) {
                sender.$send(value).await.expect("it is open");
            }

            async fn recv(receiver: &mut Self::Receiver) -> Option<u64> {
                receiver.$recv().await.into_option()
            }

            fn blocking_send(sender: &Self::Sender, value: u64) {
                sender.$blocking_send(value).expect("it is open");
            }

            fn blocking_recv(receiver: &mut Self::Receiver) -> Option<u64> {
                receiver.$blocking_recv().into_option()
            }
        }
    };
}

/// Channels say in two ways that they are closed.
trait IntoOption {
    fn into_option(self) -> Option<u64>;
}

impl IntoOption for Option<u64> {
    fn into_option(self) -> Option<u64> {
        self
    }
}

impl<E> IntoOption for Result<u64, E> {
    fn into_option(self) -> Option<u64> {
        self.ok()
    }
}

channel!(
    Preemptive,
    "preemptive",
    0,
    preemptive::sync::channel::Sender<u64>,
    preemptive::sync::channel::Receiver<u64>,
    preemptive::sync::channel,
    send,
    recv,
    blocking_send,
    blocking_recv
);
channel!(
    AsyncChannel,
    "async-channel",
    1,
    async_channel::Sender<u64>,
    async_channel::Receiver<u64>,
    async_channel::bounded,
    send,
    recv,
    send_blocking,
    recv_blocking
);
channel!(
    Flume,
    "flume",
    0,
    flume::Sender<u64>,
    flume::Receiver<u64>,
    flume::bounded,
    send_async,
    recv_async,
    send,
    recv
);

struct Tokio;

impl Channel for Tokio {
    const NAME: &'static str = "tokio";
    const SHARED: bool = false;
    const LEAST: usize = 1;
    type Sender = tokio::sync::mpsc::Sender<u64>;
    type Receiver = tokio::sync::mpsc::Receiver<u64>;

    fn make(capacity: usize) -> (Self::Sender, Self::Receiver) {
        tokio::sync::mpsc::channel(capacity)
    }

    fn clone(_: &Self::Receiver) -> Self::Receiver {
        unreachable!("there is one receiver")
    }

    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("it is open");
    }

    async fn recv(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await
    }

    fn blocking_send(sender: &Self::Sender, value: u64) {
        sender.blocking_send(value).expect("it is open");
    }

    fn blocking_recv(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.blocking_recv()
    }
}

/// Who talks to whom.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    capacity: usize,
    pairs: usize,
}

const CASES: [Case; 4] = [
    Case {
        name: "rendezvous",
        capacity: 0,
        pairs: 1,
    },
    Case {
        name: "room_1",
        capacity: 1,
        pairs: 1,
    },
    Case {
        name: "room_64",
        capacity: 64,
        pairs: 1,
    },
    Case {
        name: "4_to_4",
        capacity: 64,
        pairs: 4,
    },
];

/// Sends so many messages; how long it took.
fn exchange<C: Channel>(
    runtime: &Runtime,
    case: Case,
    blocking: bool,
    messages: usize,
) -> Duration {
    let (sender, receiver) = C::make(case.capacity);
    let each = messages / case.pairs;
    let mut receivers = Vec::new();
    for _ in 1..case.pairs {
        receivers.push(C::clone(&receiver));
    }
    receivers.push(receiver);
    let start = Instant::now();
    let mut tasks = Vec::new();
    for mut receiver in receivers {
        tasks.push(runtime.spawn(async move {
            if blocking {
                while C::blocking_recv(&mut receiver).is_some() {}
            } else {
                while C::recv(&mut receiver).await.is_some() {}
            }
        }));
        let sender = sender.clone();
        tasks.push(runtime.spawn(async move {
            for value in 0..each as u64 {
                if blocking {
                    C::blocking_send(&sender, value);
                } else {
                    C::send(&sender, value).await;
                }
            }
        }));
    }
    drop(sender);
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("it does not panic");
        }
    });
    start.elapsed()
}

type Sampler<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Takes one sample after another, in nanoseconds per message.
fn sampler<'a, C: Channel>(
    runtime: &'a Runtime,
    case: Case,
    blocking: bool,
) -> Option<(&'static str, Sampler<'a>)> {
    if case.capacity < C::LEAST || (case.pairs > 1 && !C::SHARED) {
        return None;
    }
    // So many that a sample takes its time, and that what it takes to begin does not count.
    let mut messages = 1_000;
    loop {
        let took = exchange::<C>(runtime, case, blocking, messages);
        if took * 2 > SAMPLE {
            break;
        }
        let more = SAMPLE.as_secs_f64() / took.as_secs_f64().max(1e-6);
        messages = (messages as f64 * more.clamp(2.0, 20.0)) as usize;
    }
    let sample = move || {
        let took = exchange::<C>(runtime, case, blocking, messages);
        took.as_nanos() as f64 / messages as f64
    };
    Some((C::NAME, Box::new(sample)))
}

/// Tasks that never await, until it is dropped.
struct Hogs(Arc<AtomicBool>);

impl Hogs {
    fn start(runtime: &Runtime) -> Hogs {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..HOGS {
            let stop = stop.clone();
            drop(runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        Hogs(stop)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Prints all figures whose names are wanted.
pub(crate) fn figures(report: &Report, wants: impl Fn(&str) -> bool) {
    for load in ["calm", "hogs"] {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .expect("a runtime");
        let _hogs = (load == "hogs").then(|| Hogs::start(&runtime));
        for (way, blocking) in [("async", false), ("blocking", true)] {
            for case in CASES {
                let name = format!("channel/{way}/{load}/{}", case.name);
                if !wants(&name) {
                    continue;
                }
                let mut rivals: Vec<_> = [
                    sampler::<Preemptive>(&runtime, case, blocking),
                    sampler::<Tokio>(&runtime, case, blocking),
                    sampler::<AsyncChannel>(&runtime, case, blocking),
                    sampler::<Flume>(&runtime, case, blocking),
                ]
                .into_iter()
                .flatten()
                .map(|(rival, sample)| (rival, sample, Samples::new()))
                .collect();
                for _ in 0..SAMPLES {
                    for (_, sample, samples) in &mut rivals {
                        samples.push(sample());
                    }
                }
                for (rival, _, samples) in &rivals {
                    report.figure(&format!("{name}/{rival}"), "ns", samples);
                }
            }
        }
    }
}
