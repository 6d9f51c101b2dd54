//! hyper's connections and axum's applications over TCP.

use super::crowd::busy;
use super::{ANY, Net, is_ours, start};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use compat_tests::bridge;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use preemptive::hyper::{Executor, Timer};
use preemptive::task::JoinSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

type Body = Full<Bytes>;

/// A connection of HTTP/1, which takes one request at a time.
pub(super) async fn connect1(address: SocketAddr) -> http1::SendRequest<Body> {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.unwrap();
    drop(preemptive::spawn(connection));
    sender
}

/// A connection of HTTP/2; its clones send side by side.
pub(super) async fn connect2(address: SocketAddr) -> http2::SendRequest<Body> {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = http2::Builder::new(Executor::new())
        .timer(Timer::new())
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    drop(preemptive::spawn(connection));
    sender
}

/// A request that both versions understand.
pub(super) fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("http://localhost{path}"))
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}

/// The body of an answer that is to be good.
pub(super) async fn body(answer: Result<Response<Incoming>, hyper::Error>) -> Bytes {
    let answer = answer.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body().collect().await.unwrap().to_bytes()
}

/// Answers with the method, the path and the body, after some computing.
async fn describe(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    assert!(is_ours());
    let head = format!("{} {} ", request.method(), request.uri().path());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    busy(Duration::from_micros(150));
    let answer = [head.as_bytes(), &body].concat();
    Ok(Response::new(Full::new(answer.into())))
}

#[test]
fn hyper_serves_http1_over_tcp() {
    const CLIENTS: usize = 8;
    const EACH: usize = 60;
    Net::new().run(async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = preemptive::spawn(async move {
            let mut connections = JoinSet::new();
            for _ in 0..CLIENTS {
                let (socket, _) = listener.accept().await.unwrap();
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(Timer::new())
                    .serve_connection(TokioIo::new(socket), service_fn(describe));
                connections.spawn(connection);
            }
            connections.join_all().await
        });
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(async move {
                let mut sender = connect1(address).await;
                for number in 0..EACH {
                    let path = format!("/{client}/{number}");
                    let said = "x".repeat(number * 37);
                    sender.ready().await.unwrap();
                    let answer = sender.send_request(request(Method::PUT, &path, said.clone()));
                    assert_eq!(body(answer.await).await, format!("PUT {path} {said}"));
                }
            });
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS);
        for connection in server.await.unwrap() {
            connection.unwrap();
        }
    });
}

#[test]
fn hyper_serves_http2_over_tcp() {
    const CLIENTS: usize = 3;
    const EACH: usize = 100;
    Net::new().run(async {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(preemptive::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let connection = hyper::server::conn::http2::Builder::new(Executor::new())
                    .timer(Timer::new())
                    .serve_connection(TokioIo::new(socket), service_fn(describe));
                drop(preemptive::spawn(connection));
            }
        }));
        let mut requests = JoinSet::new();
        for client in 0..CLIENTS {
            let sender = connect2(address).await;
            for number in 0..EACH {
                let mut sender = sender.clone();
                requests.spawn(async move {
                    let path = format!("/{client}/{number}");
                    // The longest are larger than a window.
                    let said = "x".repeat(number * 997);
                    sender.ready().await.unwrap();
                    let answer = sender.send_request(request(Method::POST, &path, said.clone()));
                    assert!(body(answer.await).await == format!("POST {path} {said}"));
                });
            }
        }
        assert_eq!(requests.join_all().await.len(), CLIENTS * EACH);
    });
}

/// Counts requests, for an application with some state.
#[derive(Clone, Default)]
struct Served(Arc<AtomicUsize>);

impl Served {
    fn add(&self) {
        assert!(is_ours());
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many primes are below: something that computes.
fn primes(limit: u32) -> u32 {
    let is_prime = |number: &u32| {
        (2..)
            .take_while(|i| i * i <= *number)
            .all(|i| !number.is_multiple_of(i))
    };
    (2..limit).filter(is_prime).count() as u32
}

fn application(served: Served) -> Router {
    async fn compute(State(served): State<Served>, Path(limit): Path<u32>) -> String {
        served.add();
        primes(limit).to_string()
    }
    async fn sum(State(served): State<Served>, Json(numbers): Json<Vec<u64>>) -> Json<u64> {
        served.add();
        Json(numbers.iter().sum())
    }
    async fn health(State(served): State<Served>) -> &'static str {
        served.add();
        "ok"
    }
    Router::new()
        .route("/health", get(health))
        .route("/primes/{limit}", get(compute))
        .route("/sum", post(sum))
        .with_state(served)
}

/// One of three kinds of requests, and the answer to it.
fn question(number: usize) -> (Request<Body>, String) {
    let number = number as u64;
    match number % 3 {
        0 => (request(Method::GET, "/health", ""), "ok".to_owned()),
        1 => {
            let limit = number % 300;
            let path = format!("/primes/{limit}");
            let answer = primes(limit as u32).to_string();
            (request(Method::GET, &path, ""), answer)
        }
        _ => {
            let numbers = format!("[{number},1,{number}]");
            let answer = (2 * number + 1).to_string();
            (request(Method::POST, "/sum", numbers), answer)
        }
    }
}

#[test]
fn axum_answers_ten_thousand_requests() {
    const HTTP1: usize = 8;
    const HTTP2: usize = 2;
    const STREAMS: usize = 8;
    const EACH: usize = 1_000;
    Net::new().run(async {
        let served = Served::default();
        let address = start(application(served.clone())).await;
        let mut clients = JoinSet::new();
        for client in 0..HTTP1 {
            clients.spawn(async move {
                let mut sender = connect1(address).await;
                for number in 0..EACH {
                    let (question, expected) = question(client * EACH + number);
                    sender.ready().await.unwrap();
                    assert_eq!(body(sender.send_request(question).await).await, expected);
                }
                EACH
            });
        }
        for _ in 0..HTTP2 {
            let sender = connect2(address).await;
            for stream in 0..STREAMS {
                let mut sender = sender.clone();
                clients.spawn(async move {
                    for number in 0..EACH / STREAMS {
                        let (question, expected) = question(stream * 31 + number);
                        sender.ready().await.unwrap();
                        assert_eq!(body(sender.send_request(question).await).await, expected);
                    }
                    EACH / STREAMS
                });
            }
        }
        let answered = clients.join_all().await.into_iter().sum::<usize>();
        assert_eq!(answered, 10_000);
        assert_eq!(served.0.load(Ordering::Relaxed), 10_000);
    });
}

#[test]
fn a_server_that_stops_ends_what_is_under_way() {
    Net::new().run(async {
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (begun, go_on) = (begun.clone(), go_on.clone());
            move || async move {
                begun.notify_one();
                go_on.notified().await;
                busy(Duration::from_millis(5));
                "done"
            }
        };
        let app = Router::new().route("/slow", get(handler));
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = preemptive::spawn(bridge::serve_until(listener, app, async {
            stopped.await.unwrap();
        }));
        let mut idle = TcpStream::connect(address).await.unwrap();
        let mut sender = connect1(address).await;
        let answer = preemptive::spawn(sender.send_request(request(Method::GET, "/slow", "")));
        begun.notified().await;
        stop.send(()).unwrap();
        // It listens no more, and has closed the connection that has asked nothing.
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0);
        assert!(TcpStream::connect(address).await.is_err());
        assert!(!server.is_finished());
        go_on.notify_one();
        assert_eq!(body(answer.await.unwrap()).await, "done");
        server.await.unwrap();
    });
}

/// `axum::serve` itself works as well. It spawns on Tokio: its handlers run there, and are not preempted.
#[test]
fn axums_own_server_runs_on_tokio() {
    Net::new().run(async {
        let app = Router::new().route("/where", get(|| async { is_ours().to_string() }));
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(preemptive::spawn(async {
            axum::serve(listener, app).await.unwrap()
        }));
        let mut sender = connect1(address).await;
        for _ in 0..50 {
            sender.ready().await.unwrap();
            let answer = sender.send_request(request(Method::GET, "/where", ""));
            assert_eq!(body(answer.await).await, "false");
        }
    });
}
