//! What a benchmark is asked on the command line: `--name value`, and nothing that is not known.

use std::fmt::Display;
use std::str::FromStr;

/// The arguments that are not yet asked for.
#[derive(Debug)]
pub struct Arguments(Vec<String>);

impl Arguments {
    /// Those of this process. Cargo's own `--bench` is dropped.
    pub fn of_this_process() -> Arguments {
        Arguments(
            std::env::args()
                .skip(1)
                .filter(|argument| argument != "--bench")
                .collect(),
        )
    }

    /// Whether `--name` is there.
    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|argument| argument == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    /// The value after `--name`. A bad one ends the process.
    pub fn value<T: FromStr>(&mut self, name: &str, default: T) -> T {
        let Some(at) = self.0.iter().position(|argument| argument == name) else {
            return default;
        };
        let value = self.0.drain(at..(at + 2).min(self.0.len())).nth(1);
        let Some(value) = value else {
            refuse(format!("{name} needs a value"));
        };
        value
            .parse()
            .unwrap_or_else(|_| refuse(format!("{name} cannot be {value}")))
    }

    /// The value after `--name`, one of `allowed`, or all of them: what `all`, the default, stands for.
    pub fn choice(&mut self, name: &str, allowed: &[&'static str]) -> Vec<&'static str> {
        let value = self.value(name, "all".to_owned());
        if value == "all" {
            return allowed.to_vec();
        }
        let found = allowed.iter().find(|one| **one == value);
        let Some(found) = found else {
            refuse(format!(
                "{name} cannot be {value}: all, or one of {}",
                allowed.join(", ")
            ));
        };
        vec![found]
    }

    /// Refuses what nobody asked for.
    pub fn finish(self) {
        if let Some(unknown) = self.0.first() {
            refuse(format!("what is {unknown}?"));
        }
    }
}

fn refuse(message: impl Display) -> ! {
    eprintln!("{message}");
    std::process::exit(2);
}
