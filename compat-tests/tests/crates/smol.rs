//! smol: its reactor, its pool of threads, its executor and its locks; futures-lite through it.

use crate::crowd::{Crowd, LONG, busy};
use crate::directory::Directory;
use crate::together::together;
use smol::future::{self, FutureExt};
use smol::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use smol::stream::StreamExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WORK: Duration = Duration::from_micros(150);

#[test]
fn sockets_echo_on_smols_own_reactor() {
    Crowd::new().run(async {
        let listener = async_net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serves = preemptive::spawn(async move {
            let mut incoming = listener.incoming();
            while let Some(Ok(mut socket)) = incoming.next().await {
                drop(preemptive::spawn(async move {
                    let mut buffer = [0; 256];
                    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
                        busy(Duration::from_micros(50));
                        socket.write_all(&buffer[..count]).await.unwrap();
                    }
                }));
            }
        });
        together(6, |client| async move {
            let mut socket = smol::net::TcpStream::connect(address).await.unwrap();
            for turn in 0..40_u8 {
                let said = [client as u8, turn, client as u8 ^ turn];
                socket.write_all(&said).await.unwrap();
                let mut heard = [0; 3];
                socket.read_exact(&mut heard).await.unwrap();
                assert_eq!(said, heard);
            }
        })
        .await;
        serves.abort();
        assert!(serves.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn its_timers_wake_our_tasks() {
    Crowd::new().run(async {
        together(8, |number| async move {
            let wanted = Duration::from_micros(200 * number as u64);
            for _ in 0..10 {
                let start = Instant::now();
                let due = smol::Timer::after(wanted).await;
                assert!(start.elapsed() >= wanted && due >= start + wanted);
                busy(WORK);
            }
            let mut ticks = smol::Timer::interval(Duration::from_millis(1));
            for _ in 0..5 {
                ticks.next().await.unwrap();
            }
            // Whichever is first; the other is dropped where it is.
            let limit = async {
                smol::Timer::after(LONG).await;
                None
            };
            let work = async {
                future::yield_now().await;
                busy(WORK);
                Some(number)
            };
            assert_eq!(work.or(limit).await, Some(number));
        })
        .await;
    });
}

#[test]
fn files_and_blocking_calls_go_through_its_pool() {
    let directory = Directory::new("smol");
    let path = directory.path();
    Crowd::new().run(async move {
        together(4, |number| {
            let path = path.join(number.to_string());
            async move {
                let mut file = smol::fs::File::create(&path).await.unwrap();
                for line in 0..200 {
                    file.write_all(format!("{line}\n").as_bytes())
                        .await
                        .unwrap();
                }
                file.flush().await.unwrap();
                let file = smol::fs::File::open(&path).await.unwrap();
                let mut lines = smol::io::BufReader::new(file).lines();
                let mut sum = 0;
                while let Some(line) = lines.next().await {
                    sum += line.unwrap().parse::<usize>().unwrap();
                }
                assert_eq!(sum, 19_900);
                let blocks = smol::unblock(move || {
                    std::thread::sleep(WORK);
                    number * 2
                });
                assert_eq!(blocks.await, number * 2);
                let mut command = smol::process::Command::new("sh");
                command.args(["-c", &format!("exit {number}")]);
                assert_eq!(command.status().await.unwrap().code(), Some(number as i32));
            }
        })
        .await;
    });
}

#[test]
fn its_executors_are_driven_by_our_tasks() {
    Crowd::new().run(async {
        let executor = Arc::new(smol::Executor::new());
        let drivers: Vec<_> = (0..3)
            .map(|_| {
                let executor = executor.clone();
                // Each preempted in the middle of the other's tasks.
                preemptive::spawn(async move { executor.run(future::pending::<()>()).await })
            })
            .collect();
        let sums = together(5, |number| {
            let executor = executor.clone();
            async move {
                let mut sum = 0;
                for part in 0..20 {
                    let task = executor.spawn(async move {
                        busy(Duration::from_micros(60));
                        smol::Timer::after(Duration::from_micros(50)).await;
                        part * number
                    });
                    sum += task.await;
                }
                // On a thread of smol's.
                sum + smol::spawn(async move { number }).await
            }
        })
        .await;
        assert_eq!(sums, [0, 191, 382, 573, 764]);
        for driver in drivers {
            driver.abort();
            assert!(driver.await.unwrap_err().is_cancelled());
        }
    });
}

/// smol's `block_on` drives the reactor on the thread that calls it: here, in polls that are preempted with that lock held.
#[test]
fn its_block_on_drives_the_reactor_in_the_middle_of_our_polls() {
    Crowd::new().run(async {
        together(5, |number| async move {
            for turn in 0..8_u64 {
                let (sender, receiver) = smol::channel::bounded(1);
                drop(preemptive::spawn(async move {
                    smol::Timer::after(Duration::from_micros(100 * turn)).await;
                    busy(Duration::from_micros(60));
                    sender.send(number).await.unwrap();
                }));
                let answer = smol::block_on(async {
                    busy(WORK);
                    smol::Timer::after(Duration::from_micros(300)).await;
                    receiver.recv().await.unwrap()
                });
                assert_eq!(answer, number);
                assert_eq!(future::block_on(async { turn }), turn);
            }
        })
        .await;
    });
}

#[test]
fn code_that_knows_no_runtime_runs_on_ours() {
    Crowd::new().run(async {
        let lock = Arc::new(smol::lock::Mutex::new(0));
        let barrier = Arc::new(smol::lock::Barrier::new(5));
        let leaders = together(5, |number| {
            let (lock, barrier) = (lock.clone(), barrier.clone());
            async move {
                let mut led = 0;
                for turn in 1..=10 {
                    let mut sum = lock.lock().await;
                    busy(WORK);
                    *sum += 1;
                    drop(sum);
                    led += usize::from(barrier.wait().await.is_leader());
                    assert!((5 * turn..5 * (turn + 1)).contains(&*lock.lock().await));
                }
                let (left, right) = future::zip(
                    async {
                        future::yield_now().await;
                        busy(WORK);
                        number
                    },
                    smol::stream::iter(0..10)
                        .map(|value| value * number)
                        .fold(0, |a, b| a + b),
                )
                .await;
                assert_eq!((left, right), (number, 45 * number));
                assert!(future::poll_once(future::pending::<()>()).await.is_none());
                let unwound = async {
                    future::yield_now().await;
                    std::panic::resume_unwind(Box::new("expected"));
                };
                assert!(unwound.catch_unwind().await.is_err());
                led
            }
        })
        .await;
        assert_eq!(leaders.iter().sum::<usize>(), 10);
    });
}
