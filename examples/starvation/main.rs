//! Six kinds of bad neighbour, and a task that only wants to tick.
//!
//! For each kind a fresh runtime runs 8 tasks that never await on 2 workers, beside a *ticker*: a task that
//! sleeps for a millisecond, over and over, and notes how late it wakes. A cooperative executor would not let
//! it run at all. The exit status is 0 if the ticker was on time beside every kind, 1 if one starved it.
//!
//! `cargo run --release --example starvation -- --help`

mod machine;
mod neighbour;
mod options;
mod table;
mod ticker;

use neighbour::Neighbour;
use options::{Answer, Options};
use preemptive::runtime::{Builder, Runtime};
use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use table::Table;
use ticker::{Tick, Ticks};

/// Where threads wait for a core for more than this part of their time, a verdict mentions it.
const BUSY: f64 = 0.2;

/// How often a line of the table is drawn again.
const REDRAW: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(answer) => return answer.print(),
    };
    let table = Table::begin(&options);
    let mut rows = Vec::new();
    for &kind in &options.kinds {
        match measure(kind, &options, &table) {
            Ok(row) => rows.push(row),
            Err(error) => return Answer::Mistake(error.to_string()).print(),
        }
    }
    let verdicts: Vec<_> = rows.iter().map(|row| row.verdict(&options)).collect();
    table.end(&rows, &verdicts);
    if verdicts.iter().all(Result::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Lets the ticker tick beside one kind of neighbour, and shows the figures as they come.
fn measure(kind: Neighbour, options: &Options, table: &Table) -> io::Result<Row> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(options.workers)
        .time_slice(options.slice)
        .build()?;
    let stop = Arc::new(AtomicBool::new(false));
    let lock = Arc::new(Mutex::new(0));
    let (sender, ticks) = mpsc::channel();

    let hogs: Vec<_> = (0..options.hogs)
        .map(|_| {
            let (stop, lock) = (Arc::clone(&stop), Arc::clone(&lock));
            runtime.spawn(async move { kind.misbehave(&stop, &lock) })
        })
        .collect();
    // Only one kind of neighbour fights over the lock.
    let contended = (kind == Neighbour::Lock).then_some(lock);
    let ticker = runtime.spawn(ticker::tick(Arc::clone(&stop), contended, sender));

    let mut row = Row::new(kind);
    let start = Instant::now();
    while row.elapsed < options.duration {
        std::thread::sleep(REDRAW.min(options.duration - row.elapsed));
        row.elapsed = start.elapsed();
        row.update(&ticks, &runtime);
        table.draw(&row);
    }
    row.waited = machine::share_of_waiting();
    stop.store(true, Ordering::Relaxed);
    let tasks = hogs.into_iter().chain([ticker]);
    row.panics = tasks
        .filter_map(|task| runtime.block_on(task).err())
        .count();
    table.keep(&row);
    Ok(row)
}

/// What is known about one kind of neighbour.
#[derive(Debug)]
struct Row {
    kind: Neighbour,
    elapsed: Duration,
    ticks: Ticks,
    /// Polls that were interrupted in the middle.
    preemptions: u64,
    /// Processors that were taken from a task that had blocked its thread.
    hand_overs: u64,
    /// Tasks that ended by a panic.
    panics: usize,
    /// For which part of the time the threads waited for a core: other programs' doing.
    waited: f64,
}

impl Row {
    fn new(kind: Neighbour) -> Row {
        Row {
            kind,
            elapsed: Duration::ZERO,
            ticks: Ticks::default(),
            preemptions: 0,
            hand_overs: 0,
            panics: 0,
            waited: 0.0,
        }
    }

    fn update(&mut self, ticks: &mpsc::Receiver<Tick>, runtime: &Runtime) {
        self.ticks.extend(ticks.try_iter());
        let metrics = runtime.metrics();
        self.preemptions = metrics.preemptions();
        self.hand_overs = metrics.hand_overs();
    }

    /// Did the ticker tick? The text says why, or why not.
    fn verdict(&self, options: &Options) -> Result<String, String> {
        let lateness = self.ticks.lateness();
        let bar = options.bar();
        // As many as there are if every tick is as late as it may be, less half for a machine that has
        // other things to do. What the ticker waits for the lock is the lock's doing.
        let waited = self.ticks.total_lock_wait();
        let expected = self.elapsed.saturating_sub(waited).as_secs_f64()
            / (ticker::PERIOD + bar).as_secs_f64()
            / 2.0;
        let [p99, bar_text] = [lateness.p99, bar].map(table::milliseconds);
        let mut why = if self.panics > 0 {
            format!("{} tasks panicked", self.panics)
        } else if (lateness.count as f64) < expected {
            format!(
                "{} ticks, it should be {expected:.0} or more",
                lateness.count
            )
        } else if lateness.p99 > bar {
            format!("1 tick in 100 is {p99} late or more, the bar is {bar_text}")
        } else {
            return Ok(format!(
                "99 ticks in 100 are at most {p99} late, the bar is {bar_text}"
            ));
        };
        if self.waited > BUSY {
            let percent = self.waited * 100.0;
            why += &format!("; but for {percent:.0} % of their time its threads waited for a core");
        }
        Err(why)
    }
}
