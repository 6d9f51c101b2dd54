//! A health check answers while handlers of the same server compute without end.

use super::http::{body, connect1, connect2, request};
use super::{Net, start};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use hyper::Method;
use preemptive::task::JoinSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// More than there are workers.
const HANDLERS: usize = 5;
const CHECKS: usize = 400;

/// When handlers may come to an end.
#[derive(Clone, Default)]
struct Switch {
    stop: Arc<AtomicBool>,
    /// How many are at it.
    at_it: Arc<AtomicUsize>,
}

impl Switch {
    /// A handler that computes, in one poll, until it is told to stop.
    fn hog(&self) -> String {
        self.at_it.fetch_add(1, Ordering::Relaxed);
        let mut state = 1_u64;
        while !self.stop.load(Ordering::Relaxed) {
            state = state.wrapping_mul(6_364_136_223_846_793_005) | 1;
        }
        self.at_it.fetch_sub(1, Ordering::Relaxed);
        (state % 2).to_string()
    }
}

fn application(switch: Switch) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route(
            "/hog",
            get(|State(switch): State<Switch>| async move { switch.hog() }),
        )
        .with_state(switch)
}

/// How long a health check takes, over both protocols.
#[derive(Debug)]
struct Times {
    median: Duration,
    /// The 99th percentile.
    p99: Duration,
}

async fn check_health(address: SocketAddr) -> Times {
    let mut first = connect1(address).await;
    let mut second = connect2(address).await;
    let mut times = Vec::new();
    for number in 0..CHECKS {
        let question = request(Method::GET, "/health", "");
        let start = Instant::now();
        let answer = if number % 2 == 0 {
            first.ready().await.unwrap();
            body(first.send_request(question).await).await
        } else {
            second.ready().await.unwrap();
            body(second.send_request(question).await).await
        };
        times.push(start.elapsed());
        assert_eq!(answer, "ok");
        preemptive::time::sleep(Duration::from_millis(1)).await;
    }
    times.sort();
    Times {
        median: times[CHECKS / 2],
        p99: times[CHECKS * 99 / 100],
    }
}

/// Without preemption, no check would ever be answered: as many handlers as there are workers, and more, compute until
/// all checks have been. The limits allow for other tests, and whatever else the machine does.
#[test]
fn a_health_check_is_answered_beside_handlers_that_never_end() {
    let alone = Net::without_hogs().run(async {
        let address = start(application(Switch::default())).await;
        check_health(address).await
    });
    let beside = Net::new().run(async {
        let switch = Switch::default();
        let address = start(application(switch.clone())).await;
        let mut hogs = JoinSet::new();
        for _ in 0..HANDLERS {
            let mut sender = connect1(address).await;
            hogs.spawn(async move {
                body(sender.send_request(request(Method::GET, "/hog", "")).await).await
            });
        }
        while switch.at_it.load(Ordering::Relaxed) < HANDLERS {
            preemptive::time::sleep(Duration::from_millis(1)).await;
        }
        let beside = check_health(address).await;
        assert_eq!(switch.at_it.load(Ordering::Relaxed), HANDLERS);
        switch.stop.store(true, Ordering::Relaxed);
        assert_eq!(hogs.join_all().await, ["1"; HANDLERS]);
        beside
    });
    println!("health checks alone {alone:?}, beside hogs {beside:?}");
    let limit = |alone: Duration, least| (alone * 50).max(Duration::from_millis(least));
    assert!(
        beside.median < limit(alone.median, 250),
        "{beside:?} {alone:?}"
    );
    assert!(beside.p99 < limit(alone.p99, 1_000), "{beside:?} {alone:?}");
}
