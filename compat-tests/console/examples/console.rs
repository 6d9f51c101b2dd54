//! Something to look at with tokio-console, for as many seconds as the first argument says (60):
//!
//! ```sh
//! RUSTFLAGS="--cfg console_without_tokio_unstable" cargo run -p console-tests --example console
//! tokio-console
//! ```

#[cfg(not(console_without_tokio_unstable))]
fn main() {
    eprintln!("build it with RUSTFLAGS=\"--cfg console_without_tokio_unstable\"");
}

#[cfg(console_without_tokio_unstable)]
fn main() -> std::io::Result<()> {
    use preemptive::task::{Builder, yield_now};
    use preemptive::time::sleep;
    use std::time::{Duration, Instant};

    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(60));
    console_subscriber::init();
    let runtime = preemptive::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()?;
    runtime.block_on(async {
        // Two that never give way, on one processor: each is busy half of the time.
        for name in ["hog", "other hog"] {
            Builder::new().name(name).spawn(async move {
                let end = Instant::now() + time;
                while Instant::now() < end {
                    std::hint::spin_loop();
                }
            })?;
        }
        // One that is woken ten times a second, beside them.
        Builder::new().name("sleeper").spawn(async {
            loop {
                sleep(Duration::from_millis(100)).await;
            }
        })?;
        // One that waits in the middle of its only poll.
        let (sender, receiver) = preemptive::sync::channel::<()>(1);
        Builder::new()
            .name("parked")
            .spawn(async move { receiver.blocking_recv() })?;
        // One that wakes itself, a thousand times.
        Builder::new().name("yields").spawn(async {
            for _ in 0..1000 {
                yield_now().await;
            }
        })?;
        Builder::new()
            .name("reads")
            .spawn_blocking(move || std::thread::sleep(time))?;
        sleep(time).await;
        drop(sender);
        std::io::Result::Ok(())
    })
}
