//! gRPC with tonic: the health service, which comes with its messages, and one that is written by hand.
//!
//! tonic's own server spawns a task per connection on Tokio. Its routes are an axum application, which our tasks
//! serve. The client takes an executor.

use super::crowd::busy;
use super::http::{body, connect2, request};
use super::{ANY, Net, is_ours, start};
use axum::Router;
use axum::extract::Request as HttpRequest;
use axum::routing::{get, post};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use hyper::Method;
use preemptive::hyper::Executor;
use preemptive::task::JoinSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::bytes::{Buf, BufMut};
use tonic::client::Grpc as Client;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::server::Grpc as Server;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus as Answer;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::server::health_reporter;
use tower::service_fn;

/// A connection whose tasks are ours.
async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let endpoint = endpoint.executor(Executor::new());
    endpoint.connect().await.unwrap()
}

/// Asks about a service.
fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[test]
fn the_health_service_answers_beside_an_axum_application() {
    const TASKS: usize = 20;
    const EACH: usize = 40;
    Net::new().run(async {
        let (reporter, service) = health_reporter();
        reporter
            .set_service_status("up", ServingStatus::Serving)
            .await;
        reporter
            .set_service_status("down", ServingStatus::NotServing)
            .await;
        let app = Routes::new(service)
            .into_axum_router()
            .route("/plain", get(|| async { "plain" }));
        let address = start(app).await;
        let channel = connect(address).await;
        let mut tasks = JoinSet::new();
        for number in 0..TASKS {
            let mut client = HealthClient::new(channel.clone());
            tasks.spawn(async move {
                for turn in 0..EACH {
                    match (number + turn) % 3 {
                        0 => {
                            let answer = client.check(about("up")).await.unwrap().into_inner();
                            assert_eq!(answer.status(), Answer::Serving);
                        }
                        1 => {
                            let answer = client.check(about("down")).await.unwrap().into_inner();
                            assert_eq!(answer.status(), Answer::NotServing);
                        }
                        _ => {
                            let error = client.check(about("unknown")).await.unwrap_err();
                            assert_eq!(error.code(), Code::NotFound);
                        }
                    }
                }
            });
        }
        assert_eq!(tasks.join_all().await.len(), TASKS);
        // And HTTP at the same address.
        let mut sender = connect2(address).await;
        let answer = sender.send_request(request(Method::GET, "/plain", ""));
        assert_eq!(body(answer.await).await, "plain");
    });
}

#[test]
fn watchers_see_a_service_change() {
    const WATCHERS: usize = 8;
    const CHANGES: usize = 20;
    Net::new().run(async {
        let (reporter, service) = health_reporter();
        reporter
            .set_service_status("it", ServingStatus::NotServing)
            .await;
        let address = start(Routes::new(service).into_axum_router()).await;
        let channel = connect(address).await;
        let mut watchers = Vec::new();
        for _ in 0..WATCHERS {
            let mut client = HealthClient::new(channel.clone());
            let mut watched = client.watch(about("it")).await.unwrap().into_inner();
            let first = watched.message().await.unwrap().unwrap();
            assert_eq!(first.status(), Answer::NotServing);
            watchers.push(watched);
        }
        for change in 0..CHANGES {
            let (said, expected) = match change % 2 {
                0 => (ServingStatus::Serving, Answer::Serving),
                _ => (ServingStatus::NotServing, Answer::NotServing),
            };
            reporter.set_service_status("it", said).await;
            for watched in &mut watchers {
                let heard = watched.message().await.unwrap().unwrap();
                assert_eq!(heard.status(), expected);
            }
        }
        // A service that is not there any more is the end of the stream.
        reporter.clone().clear_service_status("it").await;
        for watched in &mut watchers {
            while watched.message().await.unwrap().is_some() {}
        }
    });
}

/// A codec for plain numbers, that computes.
#[derive(Clone, Copy)]
struct Numbers;

impl Codec for Numbers {
    type Encode = u64;
    type Decode = u64;
    type Encoder = Numbers;
    type Decoder = Numbers;

    fn encoder(&mut self) -> Numbers {
        Numbers
    }

    fn decoder(&mut self) -> Numbers {
        Numbers
    }
}

impl Encoder for Numbers {
    type Item = u64;
    type Error = Status;

    fn encode(&mut self, number: u64, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        busy(Duration::from_micros(100));
        buffer.put_u64(number);
        Ok(())
    }
}

impl Decoder for Numbers {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        busy(Duration::from_micros(100));
        if buffer.remaining() != 8 {
            return Err(Status::data_loss("not a number"));
        }
        Ok(Some(buffer.get_u64()))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<u64, Status>> + Send>>;

/// Squares what comes, as it comes, and ends with an error if it was told so.
async fn squares(request: Request<Streaming<u64>>) -> Result<Response<Answers>, Status> {
    assert!(is_ours());
    let limit = request.metadata().get("limit");
    let limit: u64 = match limit {
        Some(limit) => limit.to_str().unwrap().parse().unwrap(),
        None => return Err(Status::invalid_argument("no limit")),
    };
    let answers = request.into_inner().map(move |number| match number? {
        number if number < limit => Ok(number * number),
        number => Err(Status::out_of_range(number.to_string())),
    });
    Ok(Response::new(answers.boxed()))
}

fn by_hand() -> Router {
    let handler = |request: HttpRequest| async {
        let mut server = Server::new(Numbers);
        server.streaming(service_fn(squares), request).await
    };
    Router::new().route("/numbers.Numbers/Squares", post(handler))
}

/// Calls it, with a limit or without.
async fn call_squares(
    channel: Channel,
    limit: Option<&'static str>,
    numbers: impl Stream<Item = u64> + Send + 'static,
) -> Result<Streaming<u64>, Status> {
    let mut client = Client::new(channel);
    client.ready().await.unwrap();
    let mut request = Request::new(numbers);
    if let Some(limit) = limit {
        request
            .metadata_mut()
            .insert("limit", limit.parse().unwrap());
    }
    let path = PathAndQuery::from_static("/numbers.Numbers/Squares");
    let answer = client.streaming(request, path, Numbers).await?;
    Ok(answer.into_inner())
}

#[test]
fn streams_go_both_ways_at_once() {
    const CALLS: u64 = 6;
    const NUMBERS: u64 = 100;
    Net::new().run(async {
        let channel = connect(start(by_hand()).await).await;
        let mut calls = JoinSet::new();
        for call in 0..CALLS {
            let channel = channel.clone();
            calls.spawn(async move {
                // Each number waits for the answer to the one before: the two streams do go side by side.
                let (sender, receiver) = tokio::sync::mpsc::channel(1);
                sender.send(call).await.unwrap();
                let numbers = tokio_stream::wrappers::ReceiverStream::new(receiver);
                let mut answers = call_squares(channel, Some("1000"), numbers).await.unwrap();
                for number in call..call + NUMBERS {
                    let answer = answers.message().await.unwrap();
                    assert_eq!(answer, Some(number * number));
                    sender.send(number + 1).await.unwrap();
                }
                let last = call + NUMBERS;
                assert_eq!(answers.message().await.unwrap(), Some(last * last));
                drop(sender);
                assert_eq!(answers.message().await.unwrap(), None);
            });
        }
        assert_eq!(calls.join_all().await.len(), CALLS as usize);
    });
}

#[test]
fn errors_and_limits_of_time_arrive() {
    Net::new().run(async {
        let address = start(by_hand()).await;
        let channel = connect(address).await;
        let numbers = || stream::iter(0..20);
        let error = call_squares(channel.clone(), None, numbers()).await;
        assert_eq!(error.unwrap_err().code(), Code::InvalidArgument);
        let answers = call_squares(channel, Some("15"), numbers()).await.unwrap();
        let answers: Vec<_> = answers.collect().await;
        assert_eq!(answers.len(), 16);
        assert_eq!(*answers[14].as_ref().unwrap(), 14 * 14);
        let error = answers[15].as_ref().unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::OutOfRange, "15"));

        // A server that never answers: the client's limit of time.
        let silent = Router::new().fallback(std::future::pending::<()>);
        let address = start(silent).await;
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let limited = endpoint
            .executor(Executor::new())
            .timeout(Duration::from_millis(20));
        let channel = limited.connect().await.unwrap();
        let error = HealthClient::new(channel).check(about("")).await;
        let code = error.unwrap_err().code();
        assert!(
            matches!(code, Code::Cancelled | Code::DeadlineExceeded),
            "{code:?}"
        );
    });
}

/// tonic's own server works, too; what it serves runs on Tokio.
#[test]
fn tonics_own_server_runs_on_tokio() {
    Net::new().run(async {
        let seen = Arc::new(AtomicBool::new(true));
        let (_reporter, service) = health_reporter();
        let intercept = {
            let seen = seen.clone();
            move |request: Request<()>| {
                seen.store(is_ours(), Ordering::Relaxed);
                Ok(request)
            }
        };
        let service = tonic::service::interceptor::InterceptedService::new(service, intercept);
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = tonic::transport::Server::builder().add_service(service);
        let incoming = TcpListenerStream::new(listener);
        let server = preemptive::spawn(server.serve_with_incoming_shutdown(incoming, async {
            stopped.await.unwrap();
        }));
        let channel = connect(address).await;
        let checks = stream::iter(0..50)
            .map(Ok::<_, Status>)
            .try_for_each(async |_| {
                let mut client = HealthClient::new(channel.clone());
                let answer = client.check(about("")).await?.into_inner();
                assert_eq!(answer.status(), Answer::Serving);
                Ok(())
            });
        checks.await.unwrap();
        assert!(!seen.load(Ordering::Relaxed));
        drop(channel);
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
    });
}
