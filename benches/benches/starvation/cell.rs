//! One measurement: in a process of its own, so that nothing is left of a runtime that has starved.

use crate::options::{Cell, PingPong};
use preemptive_benches::child::{self, Outcome};
use preemptive_benches::stage::Stage;
use preemptive_benches::{Contender, Kind, Percentiles, cast};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a process may take beside what it was asked for.
const PATIENCE: Duration = Duration::from_secs(40);

/// The figures of a cell, as they are printed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) runtime: Contender,
    pub(crate) kind: Kind,
    pub(crate) hogs: usize,
    pub(crate) workers: usize,
    pub(crate) secs: f64,
    pub(crate) starved: bool,
    pub(crate) sleeper: Percentiles,
    pub(crate) pingpong: Option<Conversation>,
    /// How long the sleeper then waited for the hogs' lock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) lock_wait: Option<Percentiles>,
    pub(crate) hog_per_s: Option<f64>,
    pub(crate) preemptions: Option<u64>,
    pub(crate) signals: Option<u64>,
}

/// The figures of the ping-pong.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Conversation {
    pub(crate) mode: PingPong,
    #[serde(flatten)]
    pub(crate) times: Percentiles,
    pub(crate) round_trips_per_s: f64,
}

impl Row {
    /// Of a process that did not even end.
    fn hung(cell: &Cell) -> Row {
        Row {
            runtime: cell.runtime,
            kind: cell.kind,
            hogs: cell.hogs,
            workers: cell.workers,
            secs: cell.secs,
            starved: true,
            sleeper: Percentiles::default(),
            pingpong: None,
            lock_wait: None,
            hog_per_s: None,
            preemptions: None,
            signals: None,
        }
    }
}

/// Measures in a child. None where a contender cannot do that; `go` is the rival's program, if there is one.
pub(crate) fn measure_in_child(cell: &Cell, go: Option<&Path>) -> io::Result<Option<Row>> {
    let mut command = if cell.runtime.is_go() {
        let Some(go) = go.filter(|_| !matches!(cell.kind, Kind::Ffi | Kind::Tls)) else {
            return Ok(None);
        };
        Command::new(go)
    } else {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--cell");
        command
    };
    command.args(cell.arguments());
    let row = match child::run(&mut command, PATIENCE + Duration::from_secs_f64(cell.secs))? {
        Outcome::Output(line) => serde_json::from_str(&line)?,
        Outcome::Hung => {
            eprintln!("killed, it did not end: {}", cell.arguments().join(" "));
            Row::hung(cell)
        }
        Outcome::Failed => {
            let what = format!("a cell failed: {}", cell.arguments().join(" "));
            return Err(io::Error::other(what));
        }
    };
    Ok(Some(row))
}

/// Measures in this process, which is good for nothing afterwards.
pub(crate) fn measure_here(cell: &Cell) -> Row {
    let paced = match cell.pingpong {
        PingPong::Paced => Some(true),
        PingPong::BackToBack => Some(false),
        PingPong::Off => None,
    };
    let stage = Stage::new(cell.kind, cell.hogs);
    let cast = cast(cell.runtime, cell.workers, cell.hogs);
    cast.start_others(&stage, paced);
    stage.await_others(if paced.is_some() { 3 } else { 1 });
    for index in 0..cell.hogs {
        cast.start_hog(&stage, index);
    }
    stage.await_hogs(cell.workers);

    let done = || stage.units().iter().sum::<u64>();
    let (units, trips, counters) = (done(), stage.round_trips(), cast.counters());
    let begin = Instant::now();
    stage.measure(Duration::from_secs_f64(cell.secs));
    // Hogs may keep this thread from its core as well.
    let secs = begin.elapsed().as_secs_f64();
    let (units, trips) = (done() - units, stage.round_trips() - trips);
    let difference = counters
        .zip(cast.counters())
        .map(|(before, after)| (after.0 - before.0, after.1 - before.1));
    stage.stop();
    // Its threads go with the process.
    std::mem::forget(cast);

    let pingpong = paced.map(|_| Conversation {
        mode: cell.pingpong,
        times: stage.trips.percentiles(),
        round_trips_per_s: (trips as f64 / secs).round(),
    });
    Row {
        starved: stage.starved(),
        sleeper: if stage.starved() {
            Percentiles::default()
        } else {
            stage.lateness.percentiles()
        },
        pingpong,
        lock_wait: (cell.kind == Kind::Lock).then(|| stage.lock_waits.percentiles()),
        hog_per_s: (cell.hogs > 0).then(|| (units as f64 / secs * 10.0).round() / 10.0),
        preemptions: difference.map(|(preemptions, _)| preemptions),
        signals: difference.map(|(_, signals)| signals),
        ..Row::hung(cell)
    }
}
