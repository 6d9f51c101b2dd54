//! How equal are the shares of equal hogs, and what is left of hogs under a flood of short tasks?
//!
//! `cargo bench -p preemptive-benches --bench fairness [-- --help]`; `benches/README.md` says what each figure is.

use preemptive_benches::child::{self, Outcome};
use preemptive_benches::flood::Flood;
use preemptive_benches::stage::Stage;
use preemptive_benches::{Contender, Kind, Machine, cast};
use serde::{Deserialize, Serialize};
use std::process::{Command, ExitCode};
use std::time::Duration;

const HELP: &str = "\
usage: cargo bench -p preemptive-benches --bench fairness -- [options]

  --case C        shares, flood (default: both)
  --runtime R     preemptive, tokio-yield, threads, go, go-yield (default: all there are)
  --hogs N        equal hogs (default: 64)
  --workers W     worker threads, or cores for threads (default: 2)
  --secs S        how long to measure each (default: 10)
  --json          one JSON object per line instead of a table
";

/// The runtimes that let every hog run at all.
const CONTENDERS: [Contender; 5] = [
    Contender::Preemptive,
    Contender::TokioYield,
    Contender::Threads,
    Contender::Go,
    Contender::GoYield,
];

/// What hogs get beside a flood is looked at in windows of this length.
const WINDOW: Duration = Duration::from_millis(100);

/// A line of output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "case", rename_all = "lowercase")]
enum Row {
    /// The least and the most that one of the hogs got, over the mean.
    Shares {
        runtime: Contender,
        hogs: usize,
        workers: usize,
        secs: f64,
        min: f64,
        mean: f64,
        max: f64,
    },
    /// Which part of all work was the hogs', window by window.
    Flood {
        runtime: Contender,
        hogs: usize,
        workers: usize,
        secs: f64,
        windows: usize,
        min: f64,
        p5: f64,
        median: f64,
    },
}

#[derive(Clone, Debug)]
struct Options {
    case: Option<String>,
    runtime: Option<Contender>,
    hogs: usize,
    workers: usize,
    secs: f64,
    json: bool,
    /// This process is to measure one case on one runtime.
    cell: bool,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) if text == HELP => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(text) => {
            eprintln!("fairness: {text}");
            return ExitCode::from(2);
        }
    };
    if options.cell {
        let runtime = options.runtime.expect("the parent says which");
        let row = match options.case.as_deref() {
            Some("flood") => flood(runtime, &options),
            _ => shares(runtime, &options),
        };
        println!("{}", serde_json::to_string(&row).expect("a row"));
        // SAFETY: the call does not come back; what is left of the runtimes goes with the process.
        unsafe { libc::_exit(0) }
    }
    if !options.json {
        let here = Machine::here();
        println!(
            "{}, {} cores, Linux {}, {}, commit {}\n",
            here.cpu, here.cores, here.kernel, here.compiler, here.commit
        );
    }
    for case in ["shares", "flood"] {
        if options.case.as_deref().is_none_or(|only| only == case) {
            all_runtimes(case, &options);
        }
    }
    ExitCode::SUCCESS
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        case: None,
        runtime: None,
        hogs: 64,
        workers: 2,
        secs: 10.0,
        json: false,
        cell: false,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let bad = |text: &str| format!("{text} is no value for this; see --help");
        match argument.as_str() {
            "--help" | "-h" => return Err(HELP.to_owned()),
            // Cargo's.
            "--bench" => {}
            "--json" => options.json = true,
            "--cell" => options.cell = true,
            "--case" => {
                let case = value()?;
                if !["shares", "flood"].contains(&case.as_str()) {
                    return Err(bad(&case));
                }
                options.case = Some(case);
            }
            "--runtime" => {
                let name = value()?;
                let found = CONTENDERS.into_iter().find(|one| one.name() == name);
                options.runtime = Some(found.ok_or_else(|| bad(&name))?);
            }
            "--hogs" => options.hogs = value()?.parse().map_err(|_| bad("that"))?,
            "--workers" => options.workers = value()?.parse().map_err(|_| bad("that"))?,
            "--secs" => options.secs = value()?.parse().map_err(|_| bad("that"))?,
            _ => return Err(format!("unknown argument {argument}; see --help")),
        }
    }
    if options.hogs == 0 || options.workers == 0 || !(0.3..=3600.0).contains(&options.secs) {
        return Err("at least one hog, one worker, and 0.3 to 3600 seconds".to_owned());
    }
    Ok(options)
}

fn all_runtimes(case: &str, options: &Options) {
    if !options.json {
        match case {
            "shares" => println!(
                "{} equal hogs, {} workers: what one gets, over the mean\n{:<12} {:>6} {:>6}",
                options.hogs, options.workers, "", "min", "max"
            ),
            _ => println!(
                "\n{} hogs under a flood of short tasks, {} workers: the hogs' part of the work in 100 ms\n\
                 {:<12} {:>6} {:>6} {:>6} {:>8}",
                options.hogs, options.workers, "", "min", "p5", "median", "windows"
            ),
        }
    }
    for contender in CONTENDERS {
        if options.runtime.is_none_or(|only| only == contender)
            && let Some(row) = in_child(case, contender, options)
        {
            print(&row, options.json);
        }
    }
}

/// Measures in a process of its own, so that nothing is left of the runtime before. None if that runtime cannot.
fn in_child(case: &str, contender: Contender, options: &Options) -> Option<Row> {
    let mut command = if contender.is_go() {
        if case == "flood" {
            return None;
        }
        let go = child::build_go("starvation.go", env!("CARGO_TARGET_TMPDIR"))?;
        let mut command = Command::new(go);
        command.arg("--fairness");
        command
    } else {
        let mut command = Command::new(std::env::current_exe().expect("the program has a path"));
        command.args(["--cell", "--case", case]);
        command
    };
    let numbers = [options.hogs.to_string(), options.workers.to_string()];
    let [hogs, workers] = &numbers;
    let secs = options.secs.to_string();
    command.args(["--runtime", contender.name(), "--hogs", hogs]);
    command.args(["--workers", workers, "--secs", &secs]);
    let limit = Duration::from_secs_f64(options.secs + 40.0);
    match child::run(&mut command, limit).expect("a program can be run") {
        Outcome::Output(line) => Some(serde_json::from_str(&line).expect("a row")),
        Outcome::Hung => panic!("{} did not end", contender.name()),
        Outcome::Failed => panic!("{} failed", contender.name()),
    }
}

fn print(row: &Row, json: bool) {
    if json {
        println!("{}", serde_json::to_string(row).expect("a row"));
        return;
    }
    match row {
        Row::Shares {
            runtime, min, max, ..
        } => println!("{:<12} {min:>6.2} {max:>6.2}", runtime.name()),
        Row::Flood {
            runtime,
            windows,
            min,
            p5,
            median,
            ..
        } => println!(
            "{:<12} {min:>6.2} {p5:>6.2} {median:>6.2} {windows:>8}",
            runtime.name()
        ),
    }
}

fn shares(contender: Contender, options: &Options) -> Row {
    let &Options {
        hogs,
        workers,
        secs,
        ..
    } = options;
    let stage = Stage::new(Kind::Spin, hogs);
    let cast = cast(contender, workers, hogs);
    (0..hogs).for_each(|index| cast.start_hog(&stage, index));
    stage.await_hogs(workers);
    let before = stage.units();
    stage.measure(Duration::from_secs_f64(secs));
    let after = stage.units();
    std::mem::forget(cast);
    let done: Vec<f64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) as f64)
        .collect();
    let mean = done.iter().sum::<f64>() / hogs as f64;
    Row::Shares {
        runtime: contender,
        hogs,
        workers,
        secs,
        min: round(done.iter().copied().fold(f64::INFINITY, f64::min) / mean),
        mean: 1.0,
        max: round(done.iter().copied().fold(0.0, f64::max) / mean),
    }
}

fn flood(contender: Contender, options: &Options) -> Row {
    let &Options {
        hogs,
        workers,
        secs,
        ..
    } = options;
    let stage = Stage::new(Kind::Spin, hogs);
    let cast = cast(contender, workers, hogs);
    (0..hogs).for_each(|index| cast.start_hog(&stage, index));
    stage.await_hogs(workers);
    let flood = Flood::new(&stage);
    for _ in 0..4 * workers {
        cast.start_flood(&flood);
    }
    // What is measured is the flood, not its beginning.
    std::thread::sleep(2 * WINDOW);

    let now = || (stage.units().iter().sum::<u64>(), flood.units());
    let windows = (secs / WINDOW.as_secs_f64()).round().max(1.0) as usize;
    let mut shares = Vec::with_capacity(windows);
    let mut before = now();
    for _ in 0..windows {
        std::thread::sleep(WINDOW);
        let after = now();
        let hogs = (after.0 - before.0) as f64;
        let others = (after.1 - before.1) as f64;
        // A machine that stood still for that long has given no shares.
        if hogs + others > 0.0 {
            shares.push(hogs / (hogs + others));
        }
        before = after;
    }
    std::mem::forget(cast);
    shares.sort_by(f64::total_cmp);
    let at = |part: f64| round(shares[((shares.len() - 1) as f64 * part) as usize]);
    Row::Flood {
        runtime: contender,
        hogs,
        workers,
        secs,
        windows: shares.len(),
        min: at(0.0),
        p5: at(0.05),
        median: at(0.5),
    }
}

fn round(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}
