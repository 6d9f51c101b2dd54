//! Our tasks use Tokio's reactor through a handle entered once per identity.

// For its allocator.
use compat_tests as _;
use preemptive::runtime::{Builder, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
