//! tower's layers around services that compute, in our tasks and in axum.

use super::crowd::busy;
use super::http::{body, connect1, request};
use super::{Net, is_ours, start};
use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::routing::get;
use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use preemptive::task::JoinSet;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tower::buffer::Buffer;
use tower::load_shed::error::Overloaded;
use tower::timeout::error::Elapsed;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt, service_fn};

/// Asks once, as a client does: waits until the service is ready, then calls.
async fn ask<S, Q>(service: S, question: Q) -> Result<S::Response, BoxError>
where
    S: Service<Q, Error: Into<BoxError>>,
{
    service.oneshot(question).await.map_err(Into::into)
}

#[test]
fn timeout_gives_up_what_waits_but_not_what_is_computed_in_one_poll() {
    Net::new().run(async {
        let limit = Duration::from_millis(10);
        let never = service_fn(|()| pending::<Result<(), Infallible>>());
        let service = ServiceBuilder::new().timeout(limit).service(never);
        assert!(ask(service, ()).await.unwrap_err().is::<Elapsed>());

        // A poll is stopped for others, not ended: what it computes comes before the look at the clock. The timer that
        // has expired meanwhile is Tokio's, and does not matter any more.
        let computes = service_fn(|number: u32| async move {
            busy(Duration::from_millis(30));
            Ok::<_, Infallible>(number + 1)
        });
        let service = ServiceBuilder::new().timeout(limit).service(computes);
        assert_eq!(ask(service, 6).await.unwrap(), 7);
    });
}

/// How many calls there are at a time, and how many at most.
#[derive(Default)]
struct Level {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Level {
    async fn pass(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        busy(Duration::from_micros(200));
        preemptive::task::yield_now().await;
        busy(Duration::from_micros(200));
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn concurrency_limit_is_kept_and_everybody_served() {
    const LIMIT: usize = 3;
    const CALLS: usize = 200;
    Net::new().run(async {
        let level = Arc::new(Level::default());
        let inner = {
            let level = level.clone();
            service_fn(move |number: usize| {
                let level = level.clone();
                async move {
                    level.pass().await;
                    Ok::<_, Infallible>(number * 2)
                }
            })
        };
        let service = ServiceBuilder::new()
            .concurrency_limit(LIMIT)
            .service(inner);
        let mut calls = JoinSet::new();
        for number in 0..CALLS {
            let service = service.clone();
            calls.spawn(async move { ask(service, number).await.unwrap() });
        }
        let sum = calls.join_all().await.into_iter().sum::<usize>();
        assert_eq!(sum, CALLS * (CALLS - 1));
        let most = level.most.load(Ordering::SeqCst);
        assert!((1..=LIMIT).contains(&most), "{most} at a time");
    });
}

#[test]
fn load_shed_turns_away_whom_there_is_no_room_for() {
    const LIMIT: usize = 4;
    const CALLS: usize = 50;
    Net::new().run(async {
        let gate = Arc::new(Semaphore::new(0));
        let inner = {
            let gate = gate.clone();
            service_fn(move |()| {
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok::<_, Infallible>(())
                }
            })
        };
        let service = ServiceBuilder::new()
            .load_shed()
            .concurrency_limit(LIMIT)
            .service(inner);
        let shed = Arc::new(AtomicUsize::new(0));
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let (service, shed) = (service.clone(), shed.clone());
            calls.spawn(async move {
                let answer = ask(service, ()).await;
                if let Err(error) = &answer {
                    assert!(error.is::<Overloaded>(), "{error:?}");
                    shed.fetch_add(1, Ordering::SeqCst);
                }
                answer.is_ok()
            });
        }
        // Nobody leaves before all others have been turned away.
        while shed.load(Ordering::SeqCst) < CALLS - LIMIT {
            preemptive::time::sleep(Duration::from_millis(1)).await;
        }
        gate.add_permits(LIMIT);
        let served = calls.join_all().await.into_iter().filter(|ok| *ok);
        assert_eq!(served.count(), LIMIT);
    });
}

#[test]
fn rate_limit_waits_for_its_next_period() {
    Net::new().run(async {
        let start = Instant::now();
        let period = Duration::from_millis(20);
        let echo = service_fn(|number: usize| async move { Ok::<_, Infallible>(number) });
        let mut service = ServiceBuilder::new().rate_limit(5, period).service(echo);
        for number in 0..25 {
            let service = service.ready().await.unwrap();
            assert_eq!(service.call(number).await.unwrap(), number);
        }
        assert!(start.elapsed() >= period * 4);
    });
}

/// A service that must not be called by two at once, and says by whom it is called.
struct Counter(u32);

impl Service<u32> for Counter {
    type Response = (u32, u32, bool);
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, number: u32) -> Self::Future {
        let count = self.0 + 1;
        busy(Duration::from_micros(200));
        self.0 = count;
        std::future::ready(Ok((number, count, is_ours())))
    }
}

/// A hundred calls from ten tasks; whether our tasks did them.
async fn call_buffered<F>(buffer: Buffer<u32, F>) -> bool
where
    F: Future<Output = Result<(u32, u32, bool), Infallible>> + Send + 'static,
{
    let mut callers = JoinSet::new();
    for caller in 0..10 {
        let mut buffer = buffer.clone();
        callers.spawn(async move {
            let mut calls = Vec::new();
            for turn in 0..10 {
                let number = caller * 10 + turn;
                let ready = buffer.ready().await.unwrap();
                let (echo, count, is_ours) = ready.call(number).await.unwrap();
                assert_eq!(echo, number);
                calls.push((count, is_ours));
            }
            calls
        });
    }
    let mut calls = callers.join_all().await.concat();
    calls.sort();
    assert!(calls.iter().map(|call| call.0).eq(1..=100));
    assert!(calls.iter().all(|call| call.1 == calls[0].1));
    calls[0].1
}

/// `Buffer::new`, and with it `ServiceBuilder::buffer`, spawns its worker on Tokio: calls of the service behind it then
/// run there, and are not preempted. `Buffer::pair` leaves it to the caller where the worker runs.
#[test]
fn buffer_shares_a_service_and_its_worker_runs_where_it_was_spawned() {
    Net::new().run(async {
        let (buffer, worker) = Buffer::pair(Counter(0), 4);
        let worker = preemptive::spawn(worker);
        assert!(call_buffered(buffer).await, "in our tasks");
        // It ends with the last who could call.
        worker.await.unwrap();

        assert!(!call_buffered(Buffer::new(Counter(0), 4)).await, "on Tokio");
        let service = ServiceBuilder::new().buffer(4).service(Counter(0));
        assert_eq!(ask(service, 6).await.unwrap(), (6, 1, false));
    });
}

#[test]
fn layers_protect_an_axum_application() {
    const LIMIT: usize = 2;
    Net::new().run(async {
        let gate = Arc::new(Semaphore::new(0));
        let enter = {
            let gate = gate.clone();
            || async move { gate.acquire().await.map(|_| "entered").unwrap() }
        };
        let failed = |error: BoxError| async move {
            match error {
                error if error.is::<Overloaded>() => StatusCode::TOO_MANY_REQUESTS,
                error if error.is::<Elapsed>() => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            }
        };
        let guarded = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(failed))
            .load_shed()
            .concurrency_limit(LIMIT);
        let limited = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(failed))
            .timeout(Duration::from_millis(20));
        let app = Router::new()
            .route("/enter", get(enter).layer(guarded))
            .route("/never", get(pending::<()>).layer(limited))
            .route("/health", get(|| async { "ok" }));
        let address = start(app).await;
        let status = |path: &'static str| async move {
            let mut sender = connect1(address).await;
            let answer = sender.send_request(request(Method::GET, path, "")).await;
            let answer = answer.unwrap();
            let status = answer.status();
            answer.into_body().collect().await.unwrap();
            status
        };
        assert_eq!(status("/never").await, StatusCode::GATEWAY_TIMEOUT);
        // Those that are inside are answered at the end, all others at once.
        let mut inside = JoinSet::new();
        for _ in 0..20 {
            inside.spawn(status("/enter"));
        }
        for _ in LIMIT..20 {
            let turned_away = inside.join_next().await.unwrap().unwrap();
            assert_eq!(turned_away, StatusCode::TOO_MANY_REQUESTS);
        }
        let mut sender = connect1(address).await;
        let answer = sender.send_request(request(Method::GET, "/health", ""));
        assert_eq!(body(answer.await).await, "ok");
        gate.add_permits(LIMIT);
        assert_eq!(inside.join_all().await, [StatusCode::OK; LIMIT]);
    });
}
