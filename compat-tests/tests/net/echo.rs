//! TCP, UDP and Unix sockets: nothing is lost, doubled or out of order, whenever a poll is stopped.

use super::crowd::busy;
use super::{ANY, Directory, EMPTY, Net, digest, noise};
use preemptive::task::JoinSet;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf, copy_bidirectional,
};
use tokio::net::{
    TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream, tcp, unix,
};

/// Sends back what it reads until the end, and then a digest of it all, which only a peer that has closed one half
/// can read. It computes while it has something in hand.
async fn echo(mut socket: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<usize> {
    let mut buffer = vec![0; 4096];
    let mut all = EMPTY;
    let mut total = 0;
    loop {
        let count = read_and_compute(&mut socket, &mut buffer).await?;
        if count == 0 {
            break;
        }
        all = digest(all, &buffer[..count]);
        total += count;
        socket.write_all(&buffer[..count]).await?;
    }
    socket.write_u64(all).await?;
    socket.shutdown().await?;
    Ok(total)
}

/// Reads; then hogs for more than a slice before the same poll is over.
async fn read_and_compute(
    socket: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
) -> io::Result<usize> {
    poll_fn(|context| {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut *socket).poll_read(context, &mut buffer))?;
        busy(Duration::from_micros(150));
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// Sends noise in pieces while it reads it back, closes its half, and reads the digest and the end.
async fn check_echo<R, W>(seed: u64, mut reader: R, mut writer: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let said = noise(seed, 48 << 10);
    let expected = digest(EMPTY, &said);
    let speaker = preemptive::spawn({
        let said = said.clone();
        async move {
            let mut rest = &said[..];
            while !rest.is_empty() {
                let size = rest.len().min(1 + rest.len() % 5_000);
                writer.write_all(&rest[..size]).await.unwrap();
                rest = &rest[size..];
            }
            writer.shutdown().await.unwrap();
            // Held, so that only one half is closed.
            writer
        }
    });
    let mut heard = vec![0; said.len()];
    reader.read_exact(&mut heard).await.unwrap();
    assert!(heard == said, "an echo is what was said");
    let writer = speaker.await.unwrap();
    assert_eq!(reader.read_u64().await.unwrap(), expected);
    assert_eq!(reader.read(&mut heard).await.unwrap(), 0, "the end");
    drop(writer);
}

#[test]
fn tcp_echoes_every_byte_and_then_closes_by_halves() {
    const CLIENTS: usize = 16;
    Net::new().run(async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = preemptive::spawn(async move {
            let mut connections = JoinSet::new();
            for _ in 0..CLIENTS {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(echo(socket));
            }
            let totals = connections.join_all().await;
            totals.into_iter().map(Result::unwrap).sum::<usize>()
        });
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let socket = TcpStream::connect(address).await.unwrap();
                let (reader, writer): (tcp::OwnedReadHalf, tcp::OwnedWriteHalf) =
                    socket.into_split();
                check_echo(client as u64, reader, writer).await;
            });
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS);
        assert_eq!(server.await.unwrap(), CLIENTS * (48 << 10));
    });
}

#[test]
fn hundreds_of_connections_are_open_at_once() {
    const CLIENTS: usize = 256;
    Net::new().run(async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        // The server answers nobody before all of them are there.
        let server = preemptive::spawn(async move {
            let mut sockets = Vec::new();
            while sockets.len() < CLIENTS {
                sockets.push(listener.accept().await.unwrap().0);
            }
            let mut answers = JoinSet::new();
            for mut socket in sockets {
                answers.spawn(async move {
                    let mut answered = 0;
                    // A peer that has finished ends the loop.
                    while let Ok(number) = socket.read_u32().await {
                        socket.write_u32(number * 2).await.unwrap();
                        answered += 1;
                    }
                    answered
                });
            }
            answers.join_all().await.into_iter().sum::<u32>()
        });
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS as u32 {
            clients.spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.set_nodelay(true).unwrap();
                for turn in 0..5 {
                    let number = client * 100 + turn;
                    socket.write_u32(number).await.unwrap();
                    assert_eq!(socket.read_u32().await.unwrap(), number * 2);
                }
            });
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS);
        assert_eq!(server.await.unwrap(), 5 * CLIENTS as u32);
    });
}

#[test]
fn udp_brings_datagrams_to_whom_they_are_for() {
    const CLIENTS: u32 = 8;
    const EACH: u32 = 60;
    Net::new().run(async {
        let server = Arc::new(UdpSocket::bind(ANY).await.unwrap());
        let address = server.local_addr().unwrap();
        let (sender, mut receiver) = tokio::sync::mpsc::channel::<(Vec<u8>, SocketAddr)>(4);
        let answering = server.clone();
        drop(preemptive::spawn(async move {
            while let Some((datagram, from)) = receiver.recv().await {
                busy(Duration::from_micros(50));
                answering.send_to(&datagram, from).await.unwrap();
            }
        }));
        drop(preemptive::spawn(async move {
            let mut buffer = [0; 2048];
            loop {
                // By readiness, as those do who batch. It may be reported where there is nothing.
                server.ready(Interest::READABLE).await.unwrap();
                match server.try_recv_from(&mut buffer) {
                    Ok((count, from)) => {
                        sender.send((buffer[..count].to_vec(), from)).await.unwrap()
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
            }
        }));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let socket = UdpSocket::bind(ANY).await.unwrap();
                socket.connect(address).await.unwrap();
                let mut heard = vec![0; 2048];
                for turn in 0..EACH {
                    let said = noise((client * EACH + turn).into(), turn as usize * 20);
                    // One is under way at a time: the kernel drops none.
                    assert_eq!(socket.send(&said).await.unwrap(), said.len());
                    let count = socket.recv(&mut heard).await.unwrap();
                    assert!(heard[..count] == said, "client {client}, turn {turn}");
                }
            });
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS as usize);
    });
}

#[test]
fn unix_sockets_serve_behind_a_proxy_that_speaks_tcp() {
    const CLIENTS: usize = 8;
    let directory = Directory::new();
    let path = directory.join("socket");
    Net::new().run(async move {
        let backend = UnixListener::bind(&path).unwrap();
        drop(preemptive::spawn(async move {
            loop {
                let (socket, _) = backend.accept().await.unwrap();
                let process = socket.peer_cred().unwrap().pid().unwrap();
                assert_eq!(process, std::process::id() as i32);
                drop(preemptive::spawn(echo(socket)));
            }
        }));
        let proxy = TcpListener::bind(ANY).await.unwrap();
        let address = proxy.local_addr().unwrap();
        let carried = preemptive::spawn(async move {
            let mut connections = JoinSet::new();
            for _ in 0..CLIENTS {
                let (mut near, _) = proxy.accept().await.unwrap();
                let path = path.clone();
                connections.spawn(async move {
                    let mut far = UnixStream::connect(path).await.unwrap();
                    copy_bidirectional(&mut near, &mut far).await.unwrap()
                });
            }
            connections.join_all().await
        });
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let socket = TcpStream::connect(address).await.unwrap();
                let (reader, writer) = tokio::io::split(socket);
                check_echo(100 + client as u64, reader, writer).await;
            });
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS);
        // There, and back with the digest.
        let each = (48 << 10, (48 << 10) + 8);
        assert_eq!(carried.await.unwrap(), [each; CLIENTS]);
    });
    drop(directory);
}

#[test]
fn unix_pairs_carry_streams_and_datagrams() {
    Net::new().run(async {
        let (near, far) = UnixStream::pair().unwrap();
        let server = preemptive::spawn(echo(far));
        let (reader, writer): (unix::OwnedReadHalf, unix::OwnedWriteHalf) = near.into_split();
        check_echo(7, reader, writer).await;
        assert_eq!(server.await.unwrap().unwrap(), 48 << 10);

        let (near, far) = UnixDatagram::pair().unwrap();
        let sender = preemptive::spawn(async move {
            for number in 0..500_u64 {
                // The queue is short; a full one makes the sender wait.
                let datagram = noise(number, 1 + number as usize);
                assert_eq!(near.send(&datagram).await.unwrap(), datagram.len());
            }
        });
        let mut buffer = [0; 1024];
        for number in 0..500 {
            let count = far.recv(&mut buffer).await.unwrap();
            assert!(buffer[..count] == noise(number, 1 + number as usize));
        }
        sender.await.unwrap();
    });
}

#[test]
fn reads_that_are_given_up_lose_nothing() {
    Net::new().run(async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (go, mut wait) = tokio::sync::mpsc::channel::<()>(1);
        let speaker = preemptive::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            for number in 0..50_u8 {
                wait.recv().await.unwrap();
                socket.write_all(&[number]).await.unwrap();
            }
        });
        let mut socket = TcpStream::connect(address).await.unwrap();
        for number in 0..50_u8 {
            let mut heard = [0];
            // Silence: our timer gives it up, then Tokio's does, then another branch.
            let limit = Duration::from_millis(1);
            let ours = preemptive::time::timeout(limit, socket.read_exact(&mut heard)).await;
            assert!(ours.is_err());
            let theirs = tokio::time::timeout(limit, socket.read_exact(&mut heard)).await;
            assert!(theirs.is_err());
            tokio::select! {
                read = socket.read_exact(&mut heard) => panic!("{read:?}"),
                () = preemptive::task::yield_now() => {}
            }
            go.send(()).await.unwrap();
            assert_eq!(socket.read_exact(&mut heard).await.unwrap(), 1);
            assert_eq!(heard, [number]);
        }
        speaker.await.unwrap();
        assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    });
}
