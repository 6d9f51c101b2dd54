//! The command line.

use crate::neighbour::Neighbour;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) kinds: Vec<Neighbour>,
    /// Per kind.
    pub(crate) duration: Duration,
    pub(crate) slice: Duration,
    pub(crate) workers: usize,
    pub(crate) hogs: usize,
}

/// What is printed instead of measuring.
#[derive(Debug)]
pub(crate) enum Answer {
    Help,
    Mistake(String),
}

impl Answer {
    pub(crate) fn print(self) -> ExitCode {
        match self {
            Answer::Help => {
                help();
                ExitCode::SUCCESS
            }
            Answer::Mistake(what) => {
                eprintln!("starvation: {what}; see --help");
                ExitCode::from(2)
            }
        }
    }
}

fn help() {
    println!(
        "usage: starvation [options] [kind ...]\n\n\
         Runs tasks that never await beside one that sleeps 1 ms at a time, and shows how late that one wakes.\n\n\
         \x20 --secs N       seconds per kind (default 3)\n\
         \x20 --slice N      time slice in milliseconds (default 10)\n\
         \x20 --workers N    worker threads (default 2)\n\
         \x20 --hogs N       tasks that never await (default 8)\n\
         \x20 --help         this\n\n\
         kinds (default: all):"
    );
    for kind in Neighbour::ALL {
        println!("  {:8} {}", kind.name(), kind.describe());
    }
    println!(
        "\nThe exit status is 1 if one starves: p99 lateness over one slice + 1 ms, or too few ticks."
    );
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, Answer> {
        let mut options = Options {
            kinds: Vec::new(),
            duration: Duration::from_secs(3),
            slice: Duration::from_millis(10),
            workers: 2,
            hogs: 8,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let missing = || Answer::Mistake(format!("{argument} needs a value"));
                arguments.next().ok_or_else(missing)
            };
            match argument.as_str() {
                "--help" | "-h" => return Err(Answer::Help),
                "--secs" => options.duration = seconds(&value()?, 1.0)?,
                "--slice" => options.slice = seconds(&value()?, 1e-3)?,
                "--workers" => options.workers = count(&value()?)?,
                "--hogs" => options.hogs = count(&value()?)?,
                name => match Neighbour::ALL.into_iter().find(|kind| kind.name() == name) {
                    Some(kind) => options.kinds.push(kind),
                    None => return Err(Answer::Mistake(format!("unknown argument {name}"))),
                },
            }
        }
        if options.kinds.is_empty() {
            options.kinds = Neighbour::ALL.to_vec();
        }
        Ok(options)
    }

    /// So late may one tick in a hundred be.
    pub(crate) fn bar(&self) -> Duration {
        self.slice + Duration::from_millis(1)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, Answer> {
    let mistake = || Answer::Mistake(format!("{text} is not a number of this kind"));
    text.parse().map_err(|_| mistake())
}

fn count(text: &str) -> Result<usize, Answer> {
    match number(text)? {
        0 => Err(Answer::Mistake("0 is too few".to_owned())),
        count => Ok(count),
    }
}

fn seconds(text: &str, unit: f64) -> Result<Duration, Answer> {
    let seconds: f64 = number::<f64>(text)? * unit;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(Answer::Mistake(format!("{text} is out of range"))),
    }
}
