//! The redis client against a real server, in preemptive tasks, among hogs.
//!
//! The client spawns what reads and writes a connection on Tokio, unless it is made from a socket: then it returns that
//! as a future, and our tasks poll it as well.

#[path = "../support/crowd.rs"]
mod crowd;
mod server;
#[path = "../support/net.rs"]
mod support;

use crowd::busy;
use futures::StreamExt;
use preemptive::task::JoinSet;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{AsyncCommands, Commands, Pipeline, RedisConnectionInfo, Value, pipe};
use server::{Server, patient};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::Net;
use tokio::net::{TcpStream, UnixStream};

/// Four connections: over TCP and Unix sockets, driven by Tokio and by our own tasks.
async fn connections(server: &Server) -> [MultiplexedConnection; 4] {
    let config = patient();
    let tcp = server.over_tcp();
    let tcp = tcp.get_multiplexed_async_connection_with_config(&config);
    let unix = server.over_unix();
    let unix = unix.get_multiplexed_async_connection_with_config(&config);
    let info = RedisConnectionInfo::default();
    let socket = TcpStream::connect(("127.0.0.1", server.port))
        .await
        .unwrap();
    let (our_tcp, driver) = MultiplexedConnection::new_with_config(&info, socket, patient())
        .await
        .unwrap();
    drop(preemptive::spawn(driver));
    let socket = UnixStream::connect(server.socket()).await.unwrap();
    let (our_unix, driver) = MultiplexedConnection::new_with_config(&info, socket, patient())
        .await
        .unwrap();
    drop(preemptive::spawn(driver));
    [tcp.await.unwrap(), unix.await.unwrap(), our_tcp, our_unix]
}

#[test]
fn thousands_of_commands_from_many_tasks_share_connections() {
    const TASKS: usize = 40;
    const EACH: usize = 60;
    let server = Server::start();
    let net = Net::new();
    let server = net.run(async move {
        let connections = connections(&server).await;
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let mut connection = connections[task % connections.len()].clone();
            tasks.spawn(async move {
                for turn in 0..EACH {
                    let key = format!("{task}:{turn}");
                    let value = "v".repeat(turn * turn);
                    let () = connection.set(&key, &value).await.unwrap();
                    busy(Duration::from_micros(50));
                    let heard: String = connection.get(&key).await.unwrap();
                    assert!(heard == value, "{key}");
                    let count: usize = connection.incr("count", 1).await.unwrap();
                    assert!(count <= TASKS * EACH);
                }
                let nothing: Option<String> = connection.get("nobody's").await.unwrap();
                assert_eq!(nothing, None);
            });
        }
        assert_eq!(tasks.join_all().await.len(), TASKS);
        for mut connection in connections {
            let count: usize = connection.get("count").await.unwrap();
            assert_eq!(count, TASKS * EACH);
            let error = connection.incr::<_, _, usize>("0:1", 1).await.unwrap_err();
            assert!(error.to_string().contains("not an integer"), "{error}");
        }
        server
    });
    drop(server);
}

/// Moves something from one account to another.
fn transfer(from: usize, to: usize, amount: i64) -> Pipeline {
    let mut pipeline = pipe();
    pipeline
        .atomic()
        .decr(format!("account:{from}"), amount)
        .ignore()
        .incr(format!("account:{to}"), amount)
        .ignore();
    pipeline
}

#[test]
fn pipelines_are_in_order_and_transactions_whole() {
    const ACCOUNTS: usize = 5;
    const TRANSFERS: usize = 100;
    let server = Server::start();
    Net::new().run(async move {
        let [mut first, second, ..] = connections(&server).await;
        let mut pipeline = pipe();
        for number in 0..1_000 {
            pipeline.set(number, number * 3).ignore().get(number);
        }
        let numbers: Vec<u32> = pipeline.query_async(&mut first).await.unwrap();
        assert!(numbers.into_iter().eq((0..1_000).map(|number| number * 3)));

        let mut tasks = JoinSet::new();
        for task in 0..8 {
            let mut connection = if task % 2 == 0 { &first } else { &second }.clone();
            tasks.spawn(async move {
                for turn in 0..TRANSFERS {
                    let (from, to) = ((task + turn) % ACCOUNTS, (task * 3 + turn * 2) % ACCOUNTS);
                    let transfer = transfer(from, to, turn as i64);
                    let () = transfer.query_async(&mut connection).await.unwrap();
                }
            });
        }
        // Whenever one looks, the sum is what it was.
        let mut looks = 0;
        while !tasks.is_empty() {
            let mut all = pipe();
            all.atomic();
            for account in 0..ACCOUNTS {
                all.get(format!("account:{account}"));
            }
            let balances: Vec<Option<i64>> = all.query_async(&mut first).await.unwrap();
            assert_eq!(balances.into_iter().flatten().sum::<i64>(), 0);
            looks += 1;
            while let Some(ended) = tasks.try_join_next() {
                ended.unwrap();
            }
        }
        assert!(looks > 0);
    });
}

#[test]
fn subscribers_hear_everything_in_order() {
    const SUBSCRIBERS: usize = 5;
    const MESSAGES: usize = 300;
    let server = Server::start();
    Net::new().run(async move {
        let client = server.over_tcp();
        let mut subscribers = JoinSet::new();
        for subscriber in 0..SUBSCRIBERS {
            let mut messages = client.get_async_pubsub().await.unwrap();
            if subscriber % 2 == 0 {
                messages.subscribe(&["news:a", "news:b"]).await.unwrap();
            } else {
                messages.psubscribe("news:*").await.unwrap();
            }
            subscribers.spawn(async move {
                let mut next = [0; 2];
                let mut messages = messages.into_on_message();
                while next != [MESSAGES; 2] {
                    let message = messages.next().await.unwrap();
                    assert_eq!(message.from_pattern(), subscriber % 2 == 1);
                    busy(Duration::from_micros(50));
                    let which = usize::from(message.get_channel_name() == "news:b");
                    let number: usize = message.get_payload().unwrap();
                    assert_eq!(number, next[which]);
                    next[which] += 1;
                }
            });
        }
        let [first, second, ..] = connections(&server).await;
        let mut publishers = JoinSet::new();
        for (channel, mut connection) in [("news:a", first), ("news:b", second)] {
            publishers.spawn(async move {
                for number in 0..MESSAGES {
                    let heard: usize = connection.publish(channel, number).await.unwrap();
                    assert_eq!(heard, SUBSCRIBERS);
                }
            });
        }
        assert_eq!(publishers.join_all().await.len(), 2);
        assert_eq!(subscribers.join_all().await.len(), SUBSCRIBERS);
    });
}

#[test]
fn blocking_pops_give_each_item_to_one() {
    const WORKERS: usize = 6;
    const ITEMS: usize = 400;
    let server = Server::start();
    Net::new().run(async move {
        let client = server.over_unix();
        let mut workers = JoinSet::new();
        for worker in 0..WORKERS {
            // Who blocks needs a connection of his own.
            let config = patient();
            let connection = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connection.await.unwrap();
            workers.spawn(async move {
                let mut items = Vec::new();
                loop {
                    let popped: Option<(String, i64)> = match worker % 2 {
                        0 => connection.blpop("queue", 0.0).await.unwrap(),
                        _ => connection.brpop("queue", 0.0).await.unwrap(),
                    };
                    let (queue, item) = popped.unwrap();
                    assert_eq!(queue, "queue");
                    if item < 0 {
                        return items;
                    }
                    busy(Duration::from_micros(100));
                    items.push(item);
                }
            });
        }
        let [mut producer, ..] = connections(&server).await;
        for item in 0..ITEMS {
            let _: usize = producer.rpush("queue", item).await.unwrap();
        }
        // The end for each, once all has been taken.
        while producer.llen::<_, usize>("queue").await.unwrap() > 0 {
            preemptive::time::sleep(Duration::from_millis(1)).await;
        }
        let _: usize = producer.rpush("queue", &[-1; WORKERS]).await.unwrap();
        let items = workers.join_all().await.concat();
        assert_eq!(items.len(), ITEMS);
        let items: BTreeSet<_> = items.into_iter().collect();
        assert!(items.into_iter().eq(0..ITEMS as i64));

        // Nothing comes: the server says so, or the client's limit of time.
        let nothing: Option<(String, i64)> = producer.blpop("queue", 0.02).await.unwrap();
        assert_eq!(nothing, None);
        let config = patient().set_response_timeout(Some(Duration::from_millis(20)));
        let hasty = client.get_multiplexed_async_connection_with_config(&config);
        let error = hasty.await.unwrap().blpop::<_, Value>("queue", 0.0).await;
        assert!(error.unwrap_err().is_timeout());
    });
}

#[test]
fn a_manager_connects_again() {
    let server = Server::start();
    Net::new().run(async move {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let client = server.over_tcp();
        let mut managed = ConnectionManager::new_with_config(client, config)
            .await
            .unwrap();
        let [mut other, ..] = connections(&server).await;
        for round in 0..5 {
            let () = managed.set("round", round).await.unwrap();
            let mut kill = redis::cmd("CLIENT");
            // All but the one that says it.
            let kill = kill.arg("KILL").arg("TYPE").arg("normal");
            let killed: usize = kill.query_async(&mut other).await.unwrap();
            assert!(killed >= 1);
            // It notices by a command that fails, or before.
            let heard = loop {
                match managed.get::<_, u32>("round").await {
                    Ok(heard) => break heard,
                    Err(error) => assert!(error.is_io_error(), "{error}"),
                }
            };
            assert_eq!(heard, round);
        }
    });
}

/// The client without async blocks in the kernel: in a task it costs a worker, and holds up nobody.
#[test]
fn the_blocking_client_works_in_tasks() {
    const TASKS: usize = 6;
    const EACH: usize = 80;
    let server = Server::start();
    Net::new().run(async move {
        let server = Arc::new(server);
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let server = server.clone();
            let work = move || {
                let mut connection = server.over_unix().get_connection().unwrap();
                for turn in 0..EACH {
                    let key = format!("{task}:{turn}");
                    let () = connection.set(&key, turn).unwrap();
                    assert_eq!(connection.get::<_, usize>(&key).unwrap(), turn);
                    let _: usize = connection.incr("count", 1).unwrap();
                }
                // All others must have come here for it to go on.
                let _: usize = connection.rpush("arrived", task).unwrap();
                while connection.llen::<_, usize>("arrived").unwrap() < TASKS {
                    std::thread::sleep(Duration::from_millis(1));
                }
                connection.get::<_, usize>("count").unwrap()
            };
            if task % 2 == 0 {
                tasks.spawn(async move { work() });
            } else {
                tasks.spawn(async move { preemptive::task::spawn_blocking(work).await.unwrap() });
            }
        }
        assert_eq!(tasks.join_all().await, [TASKS * EACH; TASKS]);
    });
}
