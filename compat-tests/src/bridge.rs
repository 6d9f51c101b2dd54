//! Tokio's I/O beside a preemptive runtime, and axum on preemptive tasks: what an application needs of glue.
//!
//! Tokio's sockets, timers, files, processes and signals find their runtime in a thread-local. Here every poll has a thread
//! identity of its own, and an identity lasts: so each *enters* a Tokio runtime once, when it is made, and never leaves it.
//! No poll pays for it, and as the thread-local belongs to the identity, a poll that is preempted in the middle of
//! Tokio's code goes on with it. One thread of Tokio's waits for events; the tasks that they wake are polled by us.
//!
//! What is given to `tokio::spawn` runs on that one thread, and is not preemptible. Libraries that spawn for themselves
//! mostly take an executor (hyper, tonic); axum's `serve` does not, hence [`serve`] here.

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use preemptive::hyper::{Executor, Timer};
use preemptive::runtime::{Builder, prefer_latency};
use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpListener;

/// A Tokio runtime with one thread, for its I/O.
///
/// Drop it after the runtimes that use it: what their tasks wait for would never come.
///
/// ```
/// use compat_tests::bridge::Beside;
/// use preemptive::runtime::Builder;
/// use tokio::net::TcpListener;
///
/// let beside = Beside::new()?;
/// let _entered = beside.enter(); // this thread, for what `block_on` polls
/// let runtime = beside.attach(&mut Builder::new_multi_thread()).build()?;
/// let listener = runtime.block_on(async {
///     preemptive::spawn(TcpListener::bind("127.0.0.1:0")).await
/// })??;
/// assert!(listener.local_addr()?.port() > 0);
/// # drop(runtime);
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Beside(tokio::runtime::Runtime);

impl Beside {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// What the system says when it refuses a thread or a file descriptor.
    pub fn new() -> io::Result<Beside> {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tokio-beside")
            .enable_all()
            .build()?;
        // In the thread that waits for events, not in those of its blocking pool. Where it is refused, and after a
        // `block_in_place` of Tokio's there, which has another thread go on, events wait longer for a core.
        drop(tokio.spawn(async { prefer_latency() }));
        Ok(Beside(tokio))
    }

    /// The one line: every identity of the runtime that is built enters this one. Takes the place of another
    /// `on_thread_start`.
    pub fn attach<'a>(&self, builder: &'a mut Builder) -> &'a mut Builder {
        let tokio = self.0.handle().clone();
        builder.on_thread_start(move || std::mem::forget(tokio.enter()))
    }

    /// Enters it on this thread.
    pub fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
        self.0.enter()
    }

    /// For those who want to spawn on it.
    pub fn handle(&self) -> &tokio::runtime::Handle {
        self.0.handle()
    }
}

/// Serves an axum application for ever, each connection, and each stream of HTTP/2, in a preemptive task.
///
/// Call it inside a task that is to serve, of a runtime with a [`Beside`]. Dropping the future ends the
/// listening; connections go on. An `accept` that fails is tried again, as `axum::serve` does it.
///
/// ```no_run
/// use axum::{Router, routing::get};
///
/// #[preemptive::main(beside = "tokio")]
/// async fn main() -> std::io::Result<()> {
///     let app = Router::new().route("/", get(|| async { "hello" }));
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
///     compat_tests::bridge::serve(listener, app).await;
///     Ok(())
/// }
/// ```
pub async fn serve(listener: TcpListener, app: Router) {
    serve_until(listener, app, pending()).await;
}

/// Serves an axum application until `stop` is ready; then accepts no more, and returns when the connections have ended
/// whose requests were under way.
///
/// Dropping the future ends the listening; connections go on.
pub async fn serve_until(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) {
    let mut server = auto::Builder::new(Executor::new());
    server.http1().timer(Timer::new());
    server.http2().timer(Timer::new());
    // Layers are put around handlers now, once. Otherwise each request would get its own: no limit would limit any other.
    let app = app.with_state(());
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    wait_after(&error).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // An answer of two packets would otherwise wait for the peer's acknowledgement.
        let _ = socket.set_nodelay(true);
        let service = TowerToHyperService::new(app.clone());
        let connection = server.serve_connection_with_upgrades(TokioIo::new(socket), service);
        let connection = connections.watch(connection.into_owned());
        drop(preemptive::spawn(async move {
            // A connection that the peer has broken off is the peer's affair.
            let _ = connection.await;
        }));
    }
    drop(listener);
    connections.shutdown().await;
}

/// A connection that was gone before it was accepted is nothing; out of file descriptors, it takes others' ends.
async fn wait_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        preemptive::time::sleep(Duration::from_secs(1)).await;
    }
}
