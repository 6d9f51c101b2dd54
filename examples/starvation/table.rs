//! The table: on a terminal its last line is drawn again and again, elsewhere each line is printed once.

use crate::{Options, Row};
use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Table {
    live: bool,
}

impl Table {
    pub(crate) fn begin(options: &Options) -> Table {
        println!(
            "{} bad neighbours on {} workers, time slice {}; a ticker sleeps 1 ms at a time\n",
            options.hogs,
            options.workers,
            milliseconds(options.slice)
        );
        println!(
            "{:8}{:>8}{:>12}{:>12}{:>12}{:>16}{:>14}{:>12}",
            "kind",
            "ticks",
            "p50 late",
            "p99 late",
            "max late",
            "p99 lock wait",
            "preemptions",
            "hand-overs"
        );
        Table {
            live: stdout().is_terminal(),
        }
    }

    /// Shows a line that is not final.
    pub(crate) fn draw(&self, row: &Row) {
        if self.live {
            print!("\r{}\x1b[K", line(row));
            // If nobody can see it, there is nothing to be done about it.
            let _ = stdout().flush();
        }
    }

    /// Shows a line for good.
    pub(crate) fn keep(&self, row: &Row) {
        self.draw(row);
        if self.live {
            println!();
        } else {
            println!("{}", line(row));
        }
    }

    /// The verdicts.
    pub(crate) fn end(&self, rows: &[Row], verdicts: &[Result<String, String>]) {
        println!();
        for (row, verdict) in rows.iter().zip(verdicts) {
            let (word, why) = match verdict {
                Ok(why) => ("ticks", why),
                Err(why) => ("STARVES", why),
            };
            println!("{:8}{word}: {why}", row.kind.name());
        }
    }
}

fn line(row: &Row) -> String {
    let late = row.ticks.lateness();
    let lock_wait = row.ticks.lock_wait();
    format!(
        "{:8}{:>8}{:>12}{:>12}{:>12}{:>16}{:>14}{:>12}",
        row.kind.name(),
        late.count,
        milliseconds(late.p50),
        milliseconds(late.p99),
        milliseconds(late.max),
        lock_wait.map_or("-".to_owned(), |wait| milliseconds(wait.p99)),
        row.preemptions,
        row.hand_overs
    )
}

pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}
