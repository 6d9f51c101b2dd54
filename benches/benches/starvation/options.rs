//! The command line.

use preemptive_benches::{Contender, Kind};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;

pub(crate) const HELP: &str = "\
usage: cargo bench -p preemptive-benches --bench starvation -- [options]

How late does a task wake that sleeps for 1 ms, beside hogs that never await?

  --runtime R,..   preemptive, tokio, tokio-yield, tokio-blocking, threads, go, go-yield (default: all there are)
  --kind K,..      spin, alloc, lock, sleep, ffi, tls (default: spin)
  --hogs N,..      how many hogs (default: 16)
  --workers W      worker threads, or cores for threads (default: 2)
  --secs S         how long to measure each (default: 3)
  --pingpong P     paced (1 ms), back-to-back, off (default: paced)
  --json           one JSON object per line instead of a table
  --report FILE    measure the whole matrix and write a page
  --svg FILE       with --report, or alone: write the main figure
  --from FILE      do not measure: take the rows from a file that --json wrote
";

/// How the two tasks talk that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PingPong {
    Paced,
    BackToBack,
    Off,
}

impl PingPong {
    const ALL: [PingPong; 3] = [PingPong::Paced, PingPong::BackToBack, PingPong::Off];

    pub(crate) fn name(self) -> &'static str {
        match self {
            PingPong::Paced => "paced",
            PingPong::BackToBack => "back-to-back",
            PingPong::Off => "off",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) runtime: Contender,
    pub(crate) kind: Kind,
    pub(crate) hogs: usize,
    pub(crate) workers: usize,
    pub(crate) secs: f64,
    pub(crate) pingpong: PingPong,
}

impl Cell {
    /// The command line that asks for this one.
    pub(crate) fn arguments(&self) -> [String; 12] {
        [
            "--runtime",
            self.runtime.name(),
            "--kind",
            self.kind.name(),
            "--hogs",
            &self.hogs.to_string(),
            "--workers",
            &self.workers.to_string(),
            "--secs",
            &self.secs.to_string(),
            "--pingpong",
            self.pingpong.name(),
        ]
        .map(str::to_owned)
    }
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) runtimes: Vec<Contender>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) hogs: Vec<usize>,
    pub(crate) workers: usize,
    pub(crate) secs: f64,
    pub(crate) pingpong: PingPong,
    pub(crate) json: bool,
    /// This process is to measure one cell, and to end.
    pub(crate) cell: bool,
    pub(crate) report: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) from: Option<PathBuf>,
}

impl Options {
    /// `Err` is what to print instead.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            runtimes: Contender::ALL.to_vec(),
            kinds: vec![Kind::Spin],
            hogs: vec![16],
            workers: 2,
            secs: 3.0,
            pingpong: PingPong::Paced,
            json: false,
            cell: false,
            report: None,
            svg: None,
            from: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let missing = || format!("{argument} needs a value; see --help");
                arguments.next().ok_or_else(missing)
            };
            match argument.as_str() {
                "--help" | "-h" => return Err(HELP.to_owned()),
                // Cargo's.
                "--bench" => {}
                "--runtime" => {
                    options.runtimes = choose(&value()?, &Contender::ALL, Contender::name)?;
                }
                "--kind" => options.kinds = choose(&value()?, &Kind::ALL, Kind::name)?,
                "--pingpong" => {
                    let chosen = choose(&value()?, &PingPong::ALL, PingPong::name)?;
                    options.pingpong = chosen[0];
                }
                "--hogs" => {
                    options.hogs = value()?.split(',').map(number).collect::<Result<_, _>>()?;
                }
                "--workers" => options.workers = number(&value()?)?,
                "--secs" => options.secs = number(&value()?)?,
                "--json" => options.json = true,
                "--cell" => options.cell = true,
                "--report" => options.report = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                "--from" => options.from = Some(value()?.into()),
                _ => return Err(format!("unknown argument {argument}; see --help")),
            }
        }
        if options.workers == 0 || !(0.1..=3600.0).contains(&options.secs) {
            return Err("at least one worker, and 0.1 to 3600 seconds".to_owned());
        }
        Ok(options)
    }

    fn cell(&self, runtime: Contender, kind: Kind, hogs: usize, pingpong: PingPong) -> Cell {
        Cell {
            runtime,
            kind,
            hogs,
            workers: self.workers,
            secs: self.secs,
            pingpong,
        }
    }

    /// The first cell that was asked for.
    pub(crate) fn first_cell(&self) -> Cell {
        self.cell(self.runtimes[0], self.kinds[0], self.hogs[0], self.pingpong)
    }

    /// What is to be measured, runtimes in turn.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &kind in &self.kinds {
            for &hogs in &self.hogs {
                for &runtime in &self.runtimes {
                    cells.push(self.cell(runtime, kind, hogs, self.pingpong));
                }
            }
        }
        cells
    }

    /// What the page shows: every kind, numbers of hogs from none to a thousand, and a ping-pong without pauses.
    pub(crate) fn matrix(&self) -> Vec<Cell> {
        let mut situations: Vec<_> = Kind::ALL
            .map(|kind| (kind, 16, PingPong::Paced))
            .into_iter()
            .collect();
        situations.extend([0, 2, 64, 1000].map(|hogs| (Kind::Spin, hogs, PingPong::Paced)));
        situations.push((Kind::Spin, 16, PingPong::BackToBack));
        let mut cells = Vec::new();
        for (kind, hogs, pingpong) in situations {
            for &runtime in &self.runtimes {
                cells.push(self.cell(runtime, kind, hogs, pingpong));
            }
        }
        cells
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}

/// Names with commas in between, or `all`.
fn choose<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>, String> {
    if text == "all" {
        return Ok(all.to_vec());
    }
    text.split(',')
        .map(|wanted| {
            let found = all.iter().copied().find(|&one| name(one) == wanted);
            found.ok_or_else(|| format!("there is no {wanted}; see --help"))
        })
        .collect()
}
