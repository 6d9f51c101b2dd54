//! One axum application, once on Tokio and once on preemptive tasks: how long does its health check take while other
//! requests compute?
//!
//! ```sh
//! cargo run --release -p compat-tests --example axum_under_load [-- --help]
//! ```
//!
//! `GET /health` answers at once. `GET /work` computes for some 20 ms, in the handler, without an `await`. A client asks for
//! the first every 2 ms, on a connection of its own, and measures from its write to the last byte of the answer; others ask for the second
//! all the time. Both runtimes have the same workers, run the same application and the same load, in turns, in rounds. Ends
//! with 1 if a percentile of ours beside the load is more than three times what it is without.

mod client;
mod options;
mod server;

use client::Latencies;
use options::Options;
use server::Flavour;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

/// How much slower than without load ours may be.
const BOUND: f64 = 3.0;
/// The percentiles that the bound is for. Beyond them it is the machine's own pauses that one sees.
const BOUNDED: [f64; 3] = [50.0, 90.0, 99.0];

/// What was measured of one runtime.
struct Measured {
    flavour: Flavour,
    idle: Latencies,
    loaded: Latencies,
    /// Computing requests that were answered.
    work: u64,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) if text == options::HELP => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(text) => {
            eprintln!("axum_under_load: {text}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("axum_under_load: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> io::Result<bool> {
    server::calibrate(options.work);
    let mut measured = [Flavour::Preemptive, Flavour::Tokio].map(|flavour| Measured {
        flavour,
        idle: Latencies::default(),
        loaded: Latencies::default(),
        work: 0,
    });
    for _ in 0..options.rounds {
        for one in &mut measured {
            one.round(options)?;
        }
    }
    match options.json {
        true => measured.iter().for_each(|one| one.print_json(options)),
        false => print_table(&measured, options),
    }
    Ok(measured[0].stays_within())
}

impl Measured {
    /// One server: a while without load, a while with it.
    fn round(&mut self, options: &Options) -> io::Result<()> {
        let server = server::start(self.flavour, options.workers)?;
        let warm_up = Duration::from_millis(200);
        client::check_health(server.address, warm_up)?;
        self.idle
            .extend(client::check_health(server.address, options.time)?);
        let mut load = client::Load::start(server.address, options.connections)?;
        std::thread::sleep(warm_up);
        load.count();
        self.loaded
            .extend(client::check_health(server.address, options.time)?);
        self.work += load.stop()?;
        server.stop()
    }

    fn ratio(&self, percentile: f64) -> f64 {
        self.loaded.at(percentile) / self.idle.at(percentile)
    }

    fn stays_within(&self) -> bool {
        BOUNDED.iter().all(|&p| self.ratio(p) <= BOUND)
    }

    fn work_per_second(&self, options: &Options) -> f64 {
        self.work as f64 / (options.time.as_secs_f64() * f64::from(options.rounds))
    }

    fn print_json(&self, options: &Options) {
        println!(
            "{{\"runtime\":\"{}\",\"workers\":{},\"connections\":{},\"idle\":{},\"loaded\":{},\
             \"work_per_s\":{:.1}}}",
            self.flavour.name(),
            options.workers,
            options.connections,
            self.idle.json(),
            self.loaded.json(),
            self.work_per_second(options),
        );
    }
}

fn print_table(measured: &[Measured; 2], options: &Options) {
    println!(
        "Health check, µs. {} workers; load: {} connections that ask for {:.0} ms of computing each.\n",
        options.workers,
        options.connections,
        options.work.as_secs_f64() * 1e3
    );
    let [ours, tokio] = measured;
    println!(
        "{:<8} {:>12} {:>12} {:>8}   {:>12} {:>12} {:>8}",
        "", "preemptive", "under load", "times", "Tokio", "under load", "times"
    );
    for percentile in [50.0, 90.0, 99.0, 99.9, 100.0] {
        let name = match percentile {
            100.0 => "max".to_owned(),
            p => format!("p{p}"),
        };
        println!(
            "{name:<8} {:>12.0} {:>12.0} {:>8.1}   {:>12.0} {:>12.0} {:>8.1}",
            ours.idle.at(percentile),
            ours.loaded.at(percentile),
            ours.ratio(percentile),
            tokio.idle.at(percentile),
            tokio.loaded.at(percentile),
            tokio.ratio(percentile),
        );
    }
    println!(
        "{:<8} {:>12} {:>12} {:>8}   {:>12} {:>12}",
        "n",
        ours.idle.len(),
        ours.loaded.len(),
        "",
        tokio.idle.len(),
        tokio.loaded.len()
    );
    println!(
        "{:<8} {:>12} {:>12.1} {:>8}   {:>12} {:>12.1}\n",
        "work/s",
        "",
        ours.work_per_second(options),
        "",
        "",
        tokio.work_per_second(options)
    );
    let verdict = match ours.stays_within() {
        true => "stays within",
        false => "does NOT stay within",
    };
    println!(
        "preemptive {verdict} {BOUND} times of its unloaded p50, p90 and p99; Tokio's p99 is {:.0} times of its own.",
        tokio.ratio(99.0)
    );
}
