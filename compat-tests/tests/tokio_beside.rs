//! Our tasks use Tokio's channels and locks, and its reactor through a handle entered once per identity.

// For its allocator.
use compat_tests as _;
use preemptive::runtime::{Builder, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

/// Two workers, the shortest slices, and hogs beside: whatever Tokio's types do, they do it preempted.
struct Crowd {
    runtime: Runtime,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    fn new(builder: &mut Builder) -> Crowd {
        let runtime = builder
            .worker_threads(2)
            .time_slice(Duration::from_micros(50))
            .build()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..4 {
            let stop = stop.clone();
            drop(runtime.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box(&stop);
                }
            }));
        }
        Crowd { runtime, stop }
    }

    /// Runs a task to its end, within a minute, and sees to it that preemptions did happen.
    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let task = self.runtime.spawn(future);
        let limited = async { preemptive::time::timeout(Duration::from_secs(60), task).await };
        let output = self.runtime.block_on(limited);
        let output = output.expect("done within a minute").unwrap();
        assert!(self.runtime.metrics().preemptions() > 0);
        output
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn channels_carry_everything_in_order() {
    Crowd::new(&mut Builder::new_multi_thread()).run(async {
        const SENDERS: usize = 4;
        const EACH: usize = 500;
        let (sender, mut receiver) = mpsc::channel(4);
        for sender_number in 0..SENDERS {
            let sender = sender.clone();
            drop(preemptive::spawn(async move {
                for number in 0..EACH {
                    sender.send((sender_number, number)).await.unwrap();
                }
            }));
        }
        drop(sender);
        let mut next = [0; SENDERS];
        while let Some((sender, number)) = receiver.recv().await {
            assert_eq!(next[sender], number);
            next[sender] += 1;
        }
        assert_eq!(next, [EACH; SENDERS]);
    });
}

#[test]
fn a_mutex_excludes_across_awaits_and_preemptions() {
    Crowd::new(&mut Builder::new_multi_thread()).run(async {
        let mutex = Arc::new(Mutex::new((0_u64, 0_u64)));
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let mutex = mutex.clone();
                preemptive::spawn(async move {
                    for turn in 0..100 {
                        let mut both = mutex.lock().await;
                        both.0 += 1;
                        for number in 0..2_000 {
                            std::hint::black_box(number);
                        }
                        if turn % 10 == 0 {
                            preemptive::task::yield_now().await;
                        }
                        both.1 += 1;
                        assert_eq!(both.0, both.1);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*mutex.lock().await, (800, 800));
    });
}

#[test]
fn notifications_and_answers_arrive() {
    Crowd::new(&mut Builder::new_multi_thread()).run(async {
        let (questions, mut asked) = mpsc::unbounded_channel::<(u32, oneshot::Sender<u32>)>();
        let done = Arc::new(Notify::new());
        let all_done = done.clone();
        drop(preemptive::spawn(async move {
            while let Some((number, answer)) = asked.recv().await {
                answer.send(number * 2).unwrap();
            }
            all_done.notify_one();
        }));
        for number in 0..500 {
            let (answer, answered) = oneshot::channel();
            questions.send((number, answer)).unwrap();
            assert_eq!(answered.await.unwrap(), number * 2);
        }
        drop(questions);
        done.notified().await;
    });
}

#[test]
fn tokios_sockets_and_timers_serve_our_tasks() {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let handle: &'static tokio::runtime::Handle = Box::leak(Box::new(tokio.handle().clone()));
    // The guard would leave when it is dropped; an identity stays inside for its whole life.
    let enter = move || std::mem::forget(handle.enter());
    let crowd = Crowd::new(Builder::new_multi_thread().on_thread_start(enter));
    crowd.run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(preemptive::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                drop(preemptive::spawn(async move {
                    let mut buffer = [0; 256];
                    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
                        socket.write_all(&buffer[..count]).await.unwrap();
                    }
                }));
            }
        }));
        let clients: Vec<_> = (0..8_u8)
            .map(|client| {
                preemptive::spawn(async move {
                    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
                    for turn in 0..50_u8 {
                        let said = [client, turn, client ^ turn];
                        socket.write_all(&said).await.unwrap();
                        let mut heard = [0; 3];
                        socket.read_exact(&mut heard).await.unwrap();
                        assert_eq!(said, heard);
                        if turn % 10 == 0 {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        // Tokio's own tasks, joined by ours.
        let task = tokio::spawn(async { 6 });
        assert_eq!(task.await.unwrap(), 6);
    });
    // Tasks that hold sockets go before the reactor does.
    drop(crowd);
    drop(tokio);
}
