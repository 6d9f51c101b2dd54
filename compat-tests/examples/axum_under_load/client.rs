//! The clients: plain threads and plain sockets, so that what is measured is the server.

use preemptive::runtime::prefer_latency;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often the health check is asked for.
const EVERY: Duration = Duration::from_millis(2);
/// A server that takes so long has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long answers took, in µs.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<f64>);

impl Latencies {
    pub(crate) fn extend(&mut self, other: Latencies) {
        self.0.extend(other.0);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// So many percent took no longer.
    pub(crate) fn at(&self, percentile: f64) -> f64 {
        let rank = (self.0.len() as f64 * percentile / 100.0).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub(crate) fn json(&self) -> String {
        format!(
            "{{\"n\":{},\"p50_us\":{:.1},\"p90_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\"max_us\":{:.1}}}",
            self.len(),
            self.at(50.0),
            self.at(90.0),
            self.at(99.0),
            self.at(99.9),
            self.at(100.0)
        )
    }
}

/// A connection that is kept.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Connection> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Connection(BufReader::new(socket)))
    }

    /// Sends a request and reads the answer to its end.
    fn get(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        if !line.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!(
                "{path} was answered by `{}`",
                line.trim()
            )));
        }
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }
}

/// Lets this thread run as soon as it is woken: it measures, and shares the cores with the server that is measured, as no real
/// client does. It needs the permission to have a negative nice value (root, `CAP_SYS_NICE`); else a short slice has to do.
fn go_first() -> io::Result<()> {
    prefer_latency()?;
    // SAFETY: plain integers; 0 is the calling thread.
    match unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks for the health check for so long, from a thread of its own. One request at a time: who waits for an answer asks no more.
pub(crate) fn check_health(address: SocketAddr, time: Duration) -> io::Result<Latencies> {
    thread::spawn(move || {
        if let Err(error) = go_first() {
            eprintln!(
                "axum_under_load: the client waits for a core like any thread, which counts as the server's time: {error}"
            );
        }
        check_health_here(address, time)
    })
    .join()
    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn check_health_here(address: SocketAddr, time: Duration) -> io::Result<Latencies> {
    let mut connection = Connection::open(address)?;
    let mut latencies = Vec::new();
    let end = Instant::now() + time;
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(Latencies(latencies));
        }
        let body = connection.get("/health")?;
        latencies.push(start.elapsed().as_secs_f64() * 1e6);
        assert_eq!(body, b"ok");
        thread::sleep(EVERY.saturating_sub(start.elapsed()));
    }
}

/// Clients that ask for work all the time.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    before: u64,
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, connections: usize) -> io::Result<Load> {
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(AtomicU64::new(0));
        let threads = (0..connections)
            .map(|_| {
                let (stop, answers) = (stop.clone(), answers.clone());
                let mut connection = Connection::open(address)?;
                Ok(thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let body = connection.get("/work")?;
                        assert!(!body.is_empty());
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                }))
            })
            .collect::<io::Result<_>>()?;
        Ok(Load {
            stop,
            answers,
            before: 0,
            threads,
        })
    }

    /// From here on answers count.
    pub(crate) fn count(&mut self) {
        self.before = self.answers.load(Ordering::Relaxed);
    }

    /// Ends it. Returns how many answers there were meanwhile.
    pub(crate) fn stop(self) -> io::Result<u64> {
        let answers = self.answers.load(Ordering::Relaxed) - self.before;
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(answers)
    }
}
