//! tokio-stream: the adapters that go by time, and the wrappers of channels, sockets and others.

use super::crowd::busy;
use super::{ANY, Directory, Net};
use preemptive::task::JoinSet;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, duplex};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::interval;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{
    BroadcastStream, IntervalStream, LinesStream, ReadDirStream, ReceiverStream, SignalStream,
    SplitStream, TcpListenerStream, UnboundedReceiverStream, UnixListenerStream, WatchStream,
};
use tokio_stream::{Stream, StreamExt, StreamMap, StreamNotifyClose, iter, pending};

#[test]
fn throttle_and_intervals_keep_their_distance() {
    Net::new().run(async {
        let (start, distance) = (Instant::now(), Duration::from_millis(5));
        let mut items = std::pin::pin!(iter(0..10).throttle(distance));
        for number in 0..10 {
            assert_eq!(items.next().await, Some(number));
            assert!(start.elapsed() >= distance * number);
            busy(Duration::from_millis(1));
        }
        assert!(items.next().await.is_none());

        let start = Instant::now();
        let ticks = IntervalStream::new(interval(distance)).take(10);
        let ticks: Vec<_> = ticks.collect().await;
        assert!(start.elapsed() >= distance * 9);
        assert!(ticks.is_sorted());
    });
}

/// Items, then silence, then more items: each time when the receiver says so.
fn in_two_parts() -> (mpsc::Sender<u32>, impl Stream<Item = u32>) {
    let (sender, receiver) = mpsc::channel(16);
    for number in 0..6 {
        sender.try_send(number).unwrap();
    }
    (sender, ReceiverStream::new(receiver))
}

#[test]
fn silence_is_noticed_and_then_over() {
    let limit = Duration::from_millis(10);
    Net::new().run(async move {
        let (sender, items) = in_two_parts();
        let mut items = std::pin::pin!(items.timeout(limit));
        for number in 0..6 {
            assert_eq!(items.next().await.unwrap(), Ok(number));
        }
        // Once, until something comes.
        assert!(items.next().await.unwrap().is_err());
        sender.try_send(6).unwrap();
        assert_eq!(items.next().await.unwrap(), Ok(6));
        drop(sender);
        assert!(items.next().await.is_none());

        let (sender, items) = in_two_parts();
        let mut items = std::pin::pin!(items.timeout_repeating(interval(limit)));
        let (mut heard, mut silences) = (Vec::new(), 0);
        while silences < 5 {
            match items.next().await.unwrap() {
                Ok(number) => heard.push(number),
                Err(_) => silences += 1,
            }
        }
        assert_eq!(heard, [0, 1, 2, 3, 4, 5]);
        drop(sender);
        while let Some(item) = items.next().await {
            assert!(item.is_err());
        }
    });
}

#[test]
fn chunks_end_with_their_size_or_their_time() {
    Net::new().run(async {
        let (sender, items) = in_two_parts();
        let limit = Duration::from_millis(20);
        let mut chunks = std::pin::pin!(items.chunks_timeout(4, limit));
        assert_eq!(chunks.next().await.unwrap(), [0, 1, 2, 3]);
        // What is there when nothing more comes.
        assert_eq!(chunks.next().await.unwrap(), [4, 5]);
        for number in 6..30 {
            sender.send(number).await.unwrap();
            if number % 8 == 0 {
                busy(Duration::from_millis(1));
            }
            if number % 4 == 1 {
                let chunk = chunks.next().await.unwrap();
                assert_eq!(chunk, [number - 3, number - 2, number - 1, number]);
            }
        }
        drop(sender);
        assert!(chunks.next().await.is_none());
    });
}

/// Computes after some of the numbers.
fn pause(number: u32) {
    if number.is_multiple_of(8) {
        busy(Duration::from_micros(200));
    }
}

#[test]
fn channels_are_streams_that_lose_nothing() {
    const NUMBERS: u32 = 1_000;
    Net::new().run(async {
        let (bounded, receiver) = mpsc::channel(4);
        let bounded_items = ReceiverStream::new(receiver);
        drop(preemptive::spawn(async move {
            for number in 0..NUMBERS {
                bounded.send(number).await.unwrap();
                pause(number);
            }
        }));
        let (unbounded, receiver) = mpsc::unbounded_channel();
        let unbounded_items = UnboundedReceiverStream::new(receiver);
        drop(preemptive::spawn(async move {
            for number in 0..NUMBERS {
                unbounded.send(number).unwrap();
                pause(number);
            }
        }));
        // Merged, both in their order; then told apart by keys, with the end of each.
        let (mut next, mut total) = ([0, NUMBERS], 0);
        let second = unbounded_items.map(|number| number + NUMBERS);
        let mut merged = bounded_items.merge(second);
        while let Some(number) = merged.next().await {
            let which = usize::from(number >= NUMBERS);
            assert_eq!(next[which], number);
            next[which] += 1;
            total += 1;
        }
        assert_eq!(total, 2 * NUMBERS);

        let mut map = StreamMap::new();
        for key in 0..10_u32 {
            let (sender, receiver) = mpsc::channel(2);
            drop(preemptive::spawn(async move {
                for number in 0..key * 10 {
                    sender.send(number).await.unwrap();
                    pause(number);
                }
            }));
            map.insert(key, StreamNotifyClose::new(ReceiverStream::new(receiver)));
        }
        let mut next = [0; 10];
        let mut closed = BTreeSet::new();
        while let Some((key, item)) = map.next().await {
            match item {
                Some(number) => {
                    assert_eq!(next[key as usize], number);
                    next[key as usize] += 1;
                }
                None => assert!(closed.insert(key)),
            }
        }
        assert!(
            next.iter()
                .eq((0..10).map(|key| key * 10).collect::<Vec<_>>().iter())
        );
        assert_eq!(closed.len(), 10);
    });
}

#[test]
fn broadcasts_reach_all_and_watchers_see_the_last() {
    const NUMBERS: u32 = 500;
    Net::new().run(async {
        let (sender, _) = broadcast::channel(NUMBERS as usize);
        let mut listeners = JoinSet::new();
        for _ in 0..8 {
            let items = BroadcastStream::new(sender.subscribe());
            listeners.spawn(async move {
                let items: Result<Vec<_>, _> = items.collect().await;
                items.unwrap().into_iter().eq(0..NUMBERS)
            });
        }
        for number in 0..NUMBERS {
            sender.send(number).unwrap();
            pause(number);
        }
        drop(sender);
        assert_eq!(listeners.join_all().await, [true; 8]);

        // Who is too slow is told how much it has missed.
        let (sender, receiver) = broadcast::channel(4);
        let mut items = BroadcastStream::new(receiver);
        for number in 0..10 {
            sender.send(number).unwrap();
        }
        let missed = BroadcastStreamRecvError::Lagged(6);
        assert_eq!(items.next().await, Some(Err(missed)));
        assert_eq!(items.next().await, Some(Ok(6)));

        let (sender, receiver) = watch::channel(0);
        let mut watchers = JoinSet::new();
        for _ in 0..8 {
            let items = WatchStream::new(receiver.clone());
            watchers.spawn(async move {
                // Some may be missed, but never the last, and none comes twice.
                let seen: Vec<_> = items.collect().await;
                assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
                *seen.last().unwrap()
            });
        }
        drop(receiver);
        for number in 1..=NUMBERS {
            sender.send(number).unwrap();
            if number % 50 == 0 {
                preemptive::task::yield_now().await;
            }
        }
        drop(sender);
        assert_eq!(watchers.join_all().await, [NUMBERS; 8]);
    });
}

#[test]
fn listeners_and_lines_are_streams() {
    const CLIENTS: usize = 12;
    let directory = Directory::new();
    let path = directory.join("socket");
    Net::new().run(async move {
        let tcp = TcpListener::bind(ANY).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let path = path.clone();
            clients.spawn(async move {
                let text = format!("one\ntwo of {client}\n\nfour");
                let mut answer = String::new();
                if client % 2 == 0 {
                    let mut socket = TcpStream::connect(address).await.unwrap();
                    socket.write_all(text.as_bytes()).await.unwrap();
                    socket.shutdown().await.unwrap();
                    socket.read_to_string(&mut answer).await.unwrap();
                } else {
                    let mut socket = UnixStream::connect(path).await.unwrap();
                    socket.write_all(text.as_bytes()).await.unwrap();
                    socket.shutdown().await.unwrap();
                    socket.read_to_string(&mut answer).await.unwrap();
                }
                assert_eq!(answer, format!("four||two of {client}|one|"));
            });
        }
        // Answers with the lines from last to first.
        let reversed = |lines: Vec<String>| lines.into_iter().rev().map(|line| line + "|");
        let mut sockets = TcpListenerStream::new(tcp).take(CLIENTS / 2);
        while let Some(socket) = sockets.next().await {
            let mut socket = BufReader::new(socket.unwrap());
            let lines = LinesStream::new((&mut socket).lines()).collect::<Result<Vec<_>, _>>();
            let answer = reversed(lines.await.unwrap()).collect::<String>();
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        let mut sockets = UnixListenerStream::new(unix).take(CLIENTS / 2);
        while let Some(socket) = sockets.next().await {
            let mut socket = BufReader::new(socket.unwrap());
            let lines = SplitStream::new((&mut socket).split(b'\n')).collect::<Result<Vec<_>, _>>();
            let lines = lines.await.unwrap().into_iter();
            let lines = lines.map(|line| String::from_utf8(line).unwrap()).collect();
            let answer = reversed(lines).collect::<String>();
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS);
    });
    drop(directory);
}

#[test]
fn directories_and_signals_are_streams() {
    let directory = Directory::new();
    for number in 0..100 {
        let mut file = std::fs::File::create(directory.join(format!("{number}"))).unwrap();
        writeln!(file, "{number}").unwrap();
    }
    let path = directory.join(".");
    Net::new().run(async move {
        let entries = ReadDirStream::new(tokio::fs::read_dir(path).await.unwrap());
        let entries: Result<Vec<_>, _> = entries.collect().await;
        let mut numbers = BTreeSet::new();
        for entry in entries.unwrap() {
            let text = tokio::fs::read_to_string(entry.path()).await.unwrap();
            assert_eq!(text.trim(), entry.file_name().to_str().unwrap());
            numbers.insert(text.trim().parse::<u32>().unwrap());
        }
        assert!(numbers.into_iter().eq(0..100));

        // Not the signal that preempts.
        let mut signals = SignalStream::new(signal(SignalKind::user_defined2()).unwrap());
        for _ in 0..20 {
            // One at a time, or they become one.
            let mut shell = tokio::process::Command::new("sh");
            let kill = shell.args(["-c", "kill -USR2 $PPID"]);
            assert!(kill.status().await.unwrap().success());
            assert_eq!(signals.next().await, Some(()));
        }
    });
    drop(directory);
}

#[test]
fn folding_adapters_poll_streams_that_compute() {
    Net::new().run(async {
        let slow = |numbers: std::ops::Range<u32>| {
            iter(numbers).then(|number| async move {
                busy(Duration::from_micros(100));
                if number % 5 == 0 {
                    preemptive::task::yield_now().await;
                }
                number
            })
        };
        let sum = slow(0..100)
            .filter(|number| number % 2 == 0)
            .fold(0, |sum, number| sum + number);
        assert_eq!(sum.await, 2_450);
        let mut firsts = std::pin::pin!(slow(0..100).skip_while(|number| *number < 90).take(3));
        let mut heard = Vec::new();
        while let Some(number) = firsts.next().await {
            heard.push(number);
        }
        assert_eq!(heard, [90, 91, 92]);
        let chained: Vec<_> = slow(0..3)
            .chain(slow(7..9))
            .map(|number| number * 2)
            .collect()
            .await;
        assert_eq!(chained, [0, 2, 4, 14, 16]);
        let mut numbers = std::pin::pin!(slow(0..40));
        assert!(!numbers.all(|number| number < 30).await);
        let mut nothing = std::pin::pin!(pending::<()>().timeout(Duration::from_millis(2)));
        assert!(nothing.next().await.unwrap().is_err());

        // A pipe that ends while somebody peeks.
        let (mut near, far) = duplex(8);
        let mut lines = LinesStream::new(BufReader::new(far).lines()).peekable();
        let writer = preemptive::spawn(async move { near.write_all(b"first\nlast").await });
        assert_eq!(lines.peek().await.unwrap().as_ref().unwrap(), "first");
        assert_eq!(lines.next().await.unwrap().unwrap(), "first");
        assert_eq!(lines.next().await.unwrap().unwrap(), "last");
        assert!(lines.next().await.is_none());
        writer.await.unwrap().unwrap();
    });
}
