//! The figures as a plain table.

use crate::cell::Row;
use preemptive_benches::Machine;

pub(crate) fn head() {
    let Machine {
        cpu,
        cores,
        kernel,
        compiler,
        commit,
    } = Machine::here();
    println!("{cpu}, {cores} cores, Linux {kernel}, {compiler}, commit {commit}");
    println!("microseconds; work of hogs in units per second\n");
    println!(
        "{:<15} {:<6} {:>5} | {:>9} {:>9} {:>9} {:>9} {:>7} | {:>9} {:>9} {:>9} | {:>9} | {:>9} {:>9}",
        "",
        "",
        "",
        "late p50",
        "p99",
        "p99.9",
        "max",
        "n",
        "trip p50",
        "p99",
        "trips/s",
        "hogs/s",
        "lock p50",
        "p99"
    );
}

pub(crate) fn line(row: &Row) {
    let late = &row.sleeper;
    let trips = row.pingpong.as_ref();
    let wait = row.lock_wait.as_ref();
    println!(
        "{:<15} {:<6} {:>5} | {:>9} {:>9} {:>9} {:>9} {:>7} | {:>9} {:>9} {:>9} | {:>9} | {:>9} {:>9}",
        row.runtime.name(),
        row.kind.name(),
        row.hogs,
        if row.starved {
            "starved".to_owned()
        } else {
            number(late.p50_us)
        },
        number(late.p99_us),
        number(late.p999_us),
        number(late.max_us),
        late.n,
        number(trips.and_then(|trips| trips.times.p50_us)),
        number(trips.and_then(|trips| trips.times.p99_us)),
        number(trips.map(|trips| trips.round_trips_per_s)),
        number(row.hog_per_s),
        number(wait.and_then(|wait| wait.p50_us)),
        number(wait.and_then(|wait| wait.p99_us)),
    );
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
}
