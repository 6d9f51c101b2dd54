//! Other programs, with a limit to their patience.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What became of a program.
#[derive(Debug)]
pub enum Outcome {
    /// It ended well, and this is what it wrote.
    Output(String),
    /// It took longer than it may, and was killed.
    Hung,
    /// It failed, and has said why.
    Failed,
}

/// Runs a program whose output fits in a pipe.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(Outcome::Hung);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut output)?;
    }
    Ok(if status.success() {
        Outcome::Output(output)
    } else {
        Outcome::Failed
    })
}

/// Builds a program of `rivals/` in a folder. None if there is no Go here.
pub fn build_go(source: &str, folder: &str) -> Option<PathBuf> {
    let program = Path::new(folder).join(source.trim_end_matches(".go"));
    let built = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/rivals"))
        .status();
    match built {
        Ok(status) if status.success() => Some(program),
        Ok(_) => panic!("{source} does not build"),
        Err(_) => None,
    }
}

/// Which Go that is.
pub fn go_version() -> Option<String> {
    let output = Command::new("go").arg("version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2).map(str::to_owned)
}
