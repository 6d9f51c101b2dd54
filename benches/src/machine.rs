//! What a figure was measured on: a number without it says nothing.

use std::process::Command;

/// Processor, kernel, compiler and commit.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub kernel: String,
    pub compiler: &'static str,
    pub commit: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Machine {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        let cpu = model.map_or("unknown", |model| {
            model.trim_start_matches([' ', '\t', ':'])
        });
        Machine {
            cpu: cpu.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: first_line(Command::new("uname").arg("-r")),
            compiler: env!("BENCH_COMPILER"),
            commit: first_line(Command::new("git").args(["describe", "--always", "--dirty"])),
        }
    }
}

fn first_line(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}
