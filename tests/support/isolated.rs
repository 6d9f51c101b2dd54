//! Runs the body of a test in a process of its own.
//!
//! Signal handlers, limits, user ids and forks concern a whole process; a test that changes them calls
//! [`run`] with its own name and leaves the other tests of its file alone.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Set, to the test's name, in the process that runs the body.
const VARIABLE: &str = "PREEMPTIVE_ISOLATED_TEST";

/// How long a body may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `body` in a child process, if this is not that child already.
///
/// `name` is the full name of the calling test, as the test harness prints it.
///
/// # Panics
///
/// When the child fails, runs no test, or is not done after a minute; the child's output is printed.
#[track_caller]
pub(crate) fn run(name: &str, body: impl FnOnce()) {
    run_with(name, &[], DEADLINE, body);
}

/// Like [`run`], with environment variables for the child and with a deadline.
#[track_caller]
pub(crate) fn run_with(
    name: &str,
    environment: &[(&str, &str)],
    deadline: Duration,
    body: impl FnOnce(),
) {
    if std::env::var(VARIABLE).is_ok_and(|value| value == name) {
        body();
        return;
    }
    let (status, stdout, stderr) = run_child(name, environment, deadline);
    let verdict = match status {
        None => format!("was not done after {deadline:?}"),
        Some(status) if !status.success() => describe(status),
        Some(_) if !stdout.contains("1 passed") => "ran no test of that name".to_owned(),
        Some(_) => {
            // What a body says about itself (a skipped part, a seed) belongs into the parent's output.
            print!("{stdout}");
            eprint!("{stderr}");
            return;
        }
    };
    panic!("the child for {name} {verdict}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---");
}

/// How a child process has ended.
#[derive(Debug)]
pub(crate) struct End {
    /// The signal that killed it.
    pub(crate) signal: Option<i32>,
    /// What it passed to `exit`.
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    /// How long it took.
    pub(crate) after: Duration,
}

/// Runs a `body` that is to end its process in a child, and tells how it did. Never returns in the child.
#[track_caller]
pub(crate) fn end_of(name: &str, body: impl FnOnce()) -> End {
    if std::env::var(VARIABLE).is_ok_and(|value| value == name) {
        let none = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: no core file is wanted; the limit is valid for reads.
        unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
        body();
        eprintln!("the body has returned");
        std::process::exit(77);
    }
    let start = Instant::now();
    let (status, stdout, stderr) = run_child(name, &[], DEADLINE);
    let Some(status) = status else {
        panic!("the child for {name} was not done after {DEADLINE:?}\n{stdout}\n{stderr}")
    };
    End {
        signal: status.signal(),
        code: status.code(),
        stderr,
        after: start.elapsed(),
    }
}

/// Its end, unless it was not done in time, and what it wrote.
fn run_child(
    name: &str,
    environment: &[(&str, &str)],
    deadline: Duration,
) -> (Option<ExitStatus>, String, String) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut child = Command::new(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, name)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let stdout = collect(child.stdout.take().expect("it is piped"));
    let stderr = collect(child.stderr.take().expect("it is piped"));
    let status = wait(&mut child, deadline);
    (status, stdout.finish(), stderr.finish())
}

/// True in the process that runs a body.
pub(crate) fn is_child() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

fn describe(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("was killed by signal {signal}"),
        None => format!("failed: {status}"),
    }
}

/// Waits for the child's end, or kills it at the deadline.
fn wait(child: &mut Child, deadline: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            return Some(status);
        }
        if start.elapsed() >= deadline {
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// What a thread reads from one of the child's pipes.
struct Collected {
    text: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    thread: thread::JoinHandle<()>,
}

fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let text = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = text.clone();
    let thread = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let mut text = sink.lock().expect("nobody panics with it");
            text.extend_from_slice(&buffer[..count]);
        }
    });
    Collected { text, thread }
}

impl Collected {
    /// What was read. A grandchild may hold the pipe open for ever, so this waits a second at most.
    fn finish(self) -> String {
        let start = Instant::now();
        while !self.thread.is_finished() && start.elapsed() < Duration::from_secs(1) {
            thread::sleep(Duration::from_millis(1));
        }
        let text = self.text.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&text).into_owned()
    }
}
