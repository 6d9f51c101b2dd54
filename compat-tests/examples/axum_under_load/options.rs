//! What the command line says.

use std::time::Duration;

pub(crate) const HELP: &str = "\
A health check beside handlers that compute, on preemptive tasks and on Tokio.

  --secs S          how long each is measured without load, and with it, in a round (default 3)
  --rounds N        so often, in turns (default 3)
  --workers W       worker threads of the server (default 2)
  --connections C   clients that ask for computing requests (default 8)
  --work-ms M       how long such a request computes (default 20)
  --json            one JSON object per runtime, times in µs
";

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) time: Duration,
    pub(crate) rounds: u32,
    pub(crate) workers: usize,
    pub(crate) connections: usize,
    pub(crate) work: Duration,
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            time: Duration::from_secs(3),
            rounds: 3,
            workers: 2,
            connections: 8,
            work: Duration::from_millis(20),
            json: false,
        };
        while let Some(word) = words.next() {
            if word == "--json" {
                options.json = true;
                continue;
            }
            if word == "--help" || word == "-h" {
                return Err(HELP.to_owned());
            }
            let mut number = || {
                let text = words.next().ok_or(format!("`{word}` needs a number"))?;
                match text.parse::<u32>() {
                    Ok(number) if number > 0 => Ok(number),
                    _ => Err(format!("`{word} {text}`: use a whole number of 1 or more")),
                }
            };
            match word.as_str() {
                "--secs" => options.time = Duration::from_secs(number()?.into()),
                "--rounds" => options.rounds = number()?,
                "--workers" => options.workers = number()? as usize,
                "--connections" => options.connections = number()? as usize,
                "--work-ms" => options.work = Duration::from_millis(number()?.into()),
                _ => return Err(format!("unknown option `{word}`: see --help")),
            }
        }
        Ok(options)
    }
}
