//! hyper's servers and clients on our tasks and timers, beside tasks that never await. The connections are pipes in
//! memory, so no reactor takes part.

// For its allocator.
use compat_tests as _;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::rt::Timer as _;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use preemptive::hyper::{Executor, Timer};
use preemptive::runtime::{Builder, Runtime};
use preemptive::task::JoinSet;
use preemptive::time::timeout;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

const LONG: Duration = Duration::from_secs(60);

/// Tells hogs to stop when it is dropped, in a test that fails as well.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future beside hogs.
fn beside_hogs<F: Future<Output = ()>>(future: F) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .time_slice(Duration::from_micros(50))
        .build()
        .unwrap();
    let stop = Stop(Arc::default());
    for _ in 0..3 {
        let stop = stop.0.clone();
        drop(runtime.spawn(async move { while !stop.load(Ordering::Relaxed) {} }));
    }
    let limited = async { timeout(LONG, future).await };
    runtime.block_on(limited).expect("done within a minute");
}

/// Answers with what it was sent, after some computing.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(300) {}
    Ok(Response::new(Full::new(body)))
}

fn request(number: usize) -> Request<Full<Bytes>> {
    let body = Bytes::from(format!("request {number}"));
    Request::post("http://in.memory/")
        .body(Full::new(body))
        .unwrap()
}

async fn check(number: usize, response: Response<Incoming>) {
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("request {number}"));
}

#[test]
fn http1_requests_are_answered() {
    beside_hogs(async {
        let (ours, theirs) = duplex(1 << 10);
        let server = hyper::server::conn::http1::Builder::new()
            .timer(Timer::new())
            .serve_connection(TokioIo::new(theirs), service_fn(echo));
        let server = preemptive::spawn(server);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(ours))
            .await
            .unwrap();
        let connection = preemptive::spawn(connection);
        for number in 0..50 {
            sender.ready().await.unwrap();
            check(number, sender.send_request(request(number)).await.unwrap()).await;
        }
        drop(sender);
        connection.await.unwrap().unwrap();
        server.await.unwrap().unwrap();
    });
}

#[test]
fn http2_requests_are_answered_side_by_side() {
    beside_hogs(async {
        let (ours, theirs) = duplex(1 << 10);
        // hyper spawns the streams' tasks itself.
        let server = hyper::server::conn::http2::Builder::new(Executor::new())
            .timer(Timer::new())
            .keep_alive_interval(Duration::from_millis(20))
            .keep_alive_timeout(LONG)
            .serve_connection(TokioIo::new(theirs), service_fn(echo));
        let server = preemptive::spawn(server);
        let (sender, connection) = hyper::client::conn::http2::Builder::new(Executor::new())
            .timer(Timer::new())
            .handshake(TokioIo::new(ours))
            .await
            .unwrap();
        let connection = preemptive::spawn(connection);
        let mut requests = JoinSet::new();
        for number in 0..50 {
            let mut sender = sender.clone();
            requests.spawn(async move {
                sender.ready().await.unwrap();
                check(number, sender.send_request(request(number)).await.unwrap()).await;
            });
        }
        assert_eq!(requests.join_all().await.len(), 50);
        drop(sender);
        connection.await.unwrap().unwrap();
        // One of its pings may find the pipe closed.
        drop(server.await.unwrap());
    });
}

#[test]
fn a_server_gives_up_on_a_client_that_sends_nothing() {
    beside_hogs(async {
        let (mut silent, theirs): (DuplexStream, _) = duplex(1 << 10);
        let server = hyper::server::conn::http1::Builder::new()
            .timer(Timer::new())
            .header_read_timeout(Duration::from_millis(20))
            .serve_connection(TokioIo::new(theirs), service_fn(echo));
        assert!(server.await.unwrap_err().is_timeout());
        // It has closed the connection.
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.unwrap();
    });
}

#[test]
fn sleeps_are_moved_in_place() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let timer = Timer::new();
        let start = timer.now();
        let mut sleep = timer.sleep(LONG);
        timer.reset(&mut sleep, start + Duration::from_millis(5));
        (&mut sleep).await;
        assert!(start.elapsed() >= Duration::from_millis(5));
        timer.reset(&mut sleep, start + Duration::from_millis(10));
        sleep.await;
        assert!(start.elapsed() >= Duration::from_millis(10));
        timer.sleep_until(start).await;
    });
    // A handle executes from anywhere.
    let (sender, receiver) = std::sync::mpsc::channel();
    hyper::rt::Executor::execute(runtime.handle(), async move { sender.send(()) });
    receiver.recv_timeout(LONG).unwrap();
}
