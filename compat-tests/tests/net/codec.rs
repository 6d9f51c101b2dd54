//! tokio-util's codecs over sockets and pipes, which are stopped in the middle of frames.

use super::crowd::busy;
use super::{ANY, Net, noise};
use futures::{SinkExt, StreamExt, TryStreamExt, stream};
use preemptive::task::JoinSet;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{
    BytesCodec, Decoder, Encoder, Framed, FramedRead, FramedWrite, LengthDelimitedCodec,
    LinesCodec, LinesCodecError,
};
use tokio_util::io::{ReaderStream, StreamReader};
use tokio_util::udp::UdpFramed;

#[test]
fn lines_come_whole_over_tcp() {
    const CLIENTS: usize = 8;
    const EACH: usize = 100;
    Net::new().run(async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(preemptive::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                drop(preemptive::spawn(async move {
                    let (mut sink, mut lines) = Framed::new(socket, LinesCodec::new()).split();
                    while let Some(line) = lines.next().await {
                        let line = line.unwrap();
                        busy(Duration::from_micros(100));
                        sink.send(line.to_uppercase()).await.unwrap();
                    }
                }));
            }
        }));
        let line = |client: usize, number: usize| {
            format!("line {number} of {client}: {}", "é".repeat(number % 50))
        };
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let socket = TcpStream::connect(address).await.unwrap();
                let (mut sink, lines) = Framed::new(socket, LinesCodec::new()).split();
                let speaker = preemptive::spawn(async move {
                    for number in 0..EACH {
                        // Many lines per flush, and now and then one.
                        sink.feed(line(client, number)).await.unwrap();
                        if number % 17 == 0 {
                            sink.flush().await.unwrap();
                        }
                    }
                    sink.flush().await.unwrap();
                    sink
                });
                let heard: Vec<_> = lines.take(EACH).try_collect().await.unwrap();
                let expected = (0..EACH).map(|number| line(client, number).to_uppercase());
                assert!(heard.iter().eq(expected.collect::<Vec<_>>().iter()));
                drop(speaker.await.unwrap());
            });
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS);
    });
}

#[test]
fn frames_with_lengths_come_whole_through_a_narrow_pipe() {
    const FRAMES: usize = 400;
    Net::new().run(async {
        // Narrower than most frames: each is written and read in pieces.
        let (near, far) = duplex(61);
        let codec = || {
            LengthDelimitedCodec::builder()
                .length_field_length(3)
                .new_codec()
        };
        let writer = preemptive::spawn(async move {
            let mut sink = FramedWrite::new(near, codec());
            for number in 0..FRAMES {
                let frame = noise(number as u64, number);
                sink.send(Bytes::from(frame)).await.unwrap();
            }
            SinkExt::<Bytes>::close(&mut sink).await.unwrap();
        });
        let mut frames = FramedRead::new(far, codec());
        for number in 0..FRAMES {
            let frame = frames.next().await.unwrap().unwrap();
            assert!(frame == noise(number as u64, number), "frame {number}");
        }
        assert!(frames.next().await.is_none());
        writer.await.unwrap();
    });
}

#[test]
fn what_no_codec_can_read_is_an_error() {
    Net::new().run(async {
        let (mut near, far) = duplex(1 << 10);
        let mut lines = FramedRead::new(far, LinesCodec::new_with_max_length(10));
        near.write_all(b"short\nmuch too long\nend").await.unwrap();
        drop(near);
        assert_eq!(lines.next().await.unwrap().unwrap(), "short");
        let error = lines.next().await.unwrap().unwrap_err();
        assert!(matches!(error, LinesCodecError::MaxLineLengthExceeded));

        let (mut near, far) = duplex(1 << 10);
        let codec = LengthDelimitedCodec::builder()
            .max_frame_length(10)
            .new_codec();
        let mut frames = FramedRead::new(far, codec);
        near.write_all(&[0, 0, 0, 11]).await.unwrap();
        let error = frames.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);

        // A frame that the end has cut off.
        let (mut near, far) = duplex(1 << 10);
        let mut frames = FramedRead::new(far, LengthDelimitedCodec::new());
        near.write_all(&[0, 0, 0, 9, 1, 2, 3]).await.unwrap();
        drop(near);
        assert!(frames.next().await.unwrap().is_err());
    });
}

/// Numbers with a check sum, and much computing in the middle of each.
struct Checked;

impl Encoder<u64> for Checked {
    type Error = io::Error;

    fn encode(&mut self, number: u64, buffer: &mut BytesMut) -> io::Result<()> {
        buffer.put_u64(number);
        busy(Duration::from_micros(150));
        buffer.put_u64(!number);
        Ok(())
    }
}

impl Decoder for Checked {
    type Item = u64;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<u64>> {
        if buffer.len() < 16 {
            return Ok(None);
        }
        let number = buffer.get_u64();
        busy(Duration::from_micros(150));
        match buffer.get_u64() {
            check if check == !number => Ok(Some(number)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[test]
fn codecs_that_compute_are_stopped_and_go_on() {
    const NUMBERS: u64 = 300;
    Net::new().run(async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = preemptive::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            // All that comes goes back, as fast as both ends can.
            let (sink, numbers) = Framed::new(socket, Checked).split();
            numbers.map_ok(|number| number * 3).forward(sink).await
        });
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut sink, numbers) = Framed::new(socket, Checked).split();
        let speaker = preemptive::spawn(async move {
            let mut said = stream::iter((0..NUMBERS).map(Ok));
            sink.send_all(&mut said).await.unwrap();
            sink.close().await.unwrap();
        });
        let heard: Vec<_> = numbers.try_collect().await.unwrap();
        assert!(heard.into_iter().eq((0..NUMBERS).map(|number| number * 3)));
        speaker.await.unwrap();
        server.await.unwrap().unwrap();
    });
}

#[test]
fn readers_are_streams_and_streams_are_readers() {
    Net::new().run(async {
        let said = noise(3, 200 << 10);
        let (mut near, far) = duplex(4 << 10);
        let writer = preemptive::spawn({
            let said = said.clone();
            async move { near.write_all(&said).await.unwrap() }
        });
        // Bytes, to a stream, to a reader, to a stream, to bytes.
        let pieces = ReaderStream::new(far).inspect_ok(|_| busy(Duration::from_micros(50)));
        let reader = StreamReader::new(pieces);
        let mut frames = FramedRead::new(reader, BytesCodec::new());
        let mut heard = Vec::new();
        while let Some(bytes) = frames.next().await {
            heard.extend_from_slice(&bytes.unwrap());
        }
        assert!(heard == said);
        writer.await.unwrap();

        let pieces = said.chunks(1_000).map(Bytes::copy_from_slice);
        let pieces: Vec<io::Result<_>> = pieces.map(Ok).collect();
        let mut reader = StreamReader::new(stream::iter(pieces));
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        assert!(heard == said);
    });
}

#[test]
fn datagrams_have_codecs_too() {
    Net::new().run(async {
        let server = UdpSocket::bind(ANY).await.unwrap();
        let address = server.local_addr().unwrap();
        drop(preemptive::spawn(async move {
            let (mut sink, mut frames) = UdpFramed::new(server, BytesCodec::new()).split();
            while let Some(frame) = frames.next().await {
                let (bytes, from) = frame.unwrap();
                busy(Duration::from_micros(100));
                sink.send((bytes.freeze(), from)).await.unwrap();
            }
        }));
        let socket = UdpSocket::bind(ANY).await.unwrap();
        let mut frames = UdpFramed::new(socket, BytesCodec::new());
        for number in 0..100 {
            let said = Bytes::from(noise(number, 1 + number as usize * 3));
            frames.send((said.clone(), address)).await.unwrap();
            let (heard, from) = frames.next().await.unwrap().unwrap();
            assert!(heard == said);
            assert_eq!(from, address);
        }
    });
}
