//! reqwest against axum. Its connections' tasks run on Tokio, for it spawns them there itself; requests, answers and
//! streams are polled by our tasks.

use super::crowd::busy;
use super::{ANY, EMPTY, Net, digest, is_ours, noise, start};
use axum::body::{Body, Bytes};
use axum::extract::RawQuery;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use preemptive::task::JoinSet;
use reqwest::{Client, ClientBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    number: u32,
    items: Vec<String>,
    note: Option<String>,
}

impl Order {
    fn new(number: u32) -> Order {
        Order {
            number,
            items: (0..number % 7).map(|item| format!("item {item}")).collect(),
            note: number
                .is_multiple_of(2)
                .then(|| "π \"quoted\"\n".to_owned()),
        }
    }
}

/// Pieces of a long body.
const PIECES: u64 = 64;
const PIECE: usize = 8 << 10;

fn application() -> Router {
    async fn order(Json(mut order): Json<Order>) -> Json<Order> {
        assert!(is_ours());
        busy(Duration::from_micros(150));
        order.number += 1;
        Json(order)
    }
    async fn down() -> Body {
        let pieces = stream::iter(0..PIECES).then(|number| async move {
            if number % 16 == 0 {
                preemptive::time::sleep(Duration::from_millis(1)).await;
            }
            Ok::<_, Infallible>(Bytes::from(noise(number, PIECE)))
        });
        Body::from_stream(pieces)
    }
    async fn up(mut body: Body) -> String {
        let (mut all, mut total) = (EMPTY, 0);
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            busy(Duration::from_micros(50));
            all = digest(all, &data);
            total += data.len();
        }
        format!("{total} {all}")
    }
    async fn query(RawQuery(query): RawQuery) -> String {
        query.unwrap_or_default()
    }
    Router::new()
        .route("/order", post(order))
        .route("/down", get(down))
        .route("/up", post(up))
        .route("/query", get(query))
        .route("/never", get(pending::<()>))
        .route("/away", get(|| async { Redirect::temporary("/query?a=b") }))
}

/// Whatever proxies the environment names are not for this.
fn client() -> ClientBuilder {
    Client::builder().no_proxy()
}

#[test]
fn json_goes_there_and_back_over_both_protocols() {
    const CLIENTS: u32 = 12;
    const EACH: u32 = 40;
    Net::new().run(async {
        let address = start(application()).await;
        let first = client().build().unwrap();
        let second = client().http2_prior_knowledge().build().unwrap();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            // A client is shared, as it should be: it has a pool of connections.
            let client = if number % 2 == 0 { &first } else { &second }.clone();
            clients.spawn(async move {
                for turn in 0..EACH {
                    let mut order = Order::new(number * EACH + turn);
                    let url = format!("http://{address}/order");
                    let answer = client.post(url).json(&order).send().await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK);
                    order.number += 1;
                    assert_eq!(answer.json::<Order>().await.unwrap(), order);
                }
            });
        }
        assert_eq!(clients.join_all().await.len(), CLIENTS as usize);
    });
}

#[test]
fn bodies_stream_down_and_up() {
    Net::new().run(async {
        let address = start(application()).await;
        let mut transfers = JoinSet::new();
        for number in 0..6 {
            let client = match number % 2 {
                0 => client().build().unwrap(),
                _ => client().http2_prior_knowledge().build().unwrap(),
            };
            transfers.spawn(async move {
                let expected =
                    (0..PIECES).fold(EMPTY, |all, number| digest(all, &noise(number, PIECE)));
                let answer = client.get(format!("http://{address}/down")).send();
                let mut body = answer.await.unwrap().bytes_stream();
                let (mut all, mut total) = (EMPTY, 0);
                while let Some(bytes) = body.try_next().await.unwrap() {
                    busy(Duration::from_micros(50));
                    all = digest(all, &bytes);
                    total += bytes.len();
                }
                assert_eq!((total, all), (PIECES as usize * PIECE, expected));

                let pieces =
                    stream::iter(0..PIECES).map(|number| Ok::<_, Infallible>(noise(number, PIECE)));
                let answer = client
                    .post(format!("http://{address}/up"))
                    .body(reqwest::Body::wrap_stream(pieces))
                    .send();
                let said = answer.await.unwrap().text().await.unwrap();
                assert_eq!(said, format!("{total} {expected}"));
            });
        }
        assert_eq!(transfers.join_all().await.len(), 6);
    });
}

#[test]
fn limits_names_and_redirections_are_kept() {
    Net::new().run(async {
        let address = start(application()).await;
        let client = client().build().unwrap();
        // A time limit of the client's, then one of ours around it.
        let never = || client.get(format!("http://{address}/never"));
        let limit = Duration::from_millis(30);
        let error = never().timeout(limit).send().await.unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        assert!(
            preemptive::time::timeout(limit, never().send())
                .await
                .is_err()
        );

        let answer = client.get(format!("http://{address}/nowhere")).send();
        assert_eq!(answer.await.unwrap().status(), StatusCode::NOT_FOUND);
        let free = TcpListener::bind(ANY).await.unwrap().local_addr().unwrap();
        let error = client.get(format!("http://{free}/")).send().await;
        assert!(error.unwrap_err().is_connect());

        // A name is looked up on a thread for what blocks; a redirection is followed.
        let answer = client
            .get(format!("http://localhost:{}/query", address.port()))
            .query(&[("to", "a b"), ("and", "ü&")])
            .send();
        let text = answer.await.unwrap().text().await.unwrap();
        assert_eq!(text, "to=a+b&and=%C3%BC%26");
        let answer = client.get(format!("http://{address}/away")).send();
        assert_eq!(answer.await.unwrap().text().await.unwrap(), "a=b");
    });
}
