//! How late does a task wake beside hogs that never await? This runtime, its rivals, and what a person can do by hand.
//!
//! `cargo bench -p preemptive-benches --bench starvation [-- --help]`; `benches/README.md` says what each figure is.

mod cell;
mod figures;
mod options;
mod page;
mod plot;
mod table;

use cell::Row;
use options::Options;
use preemptive_benches::{Contender, child};
use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) if text == options::HELP => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(text) => {
            eprintln!("starvation: {text}");
            return ExitCode::from(2);
        }
    };
    if options.cell {
        one_cell(&options);
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starvation: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A child's part.
fn one_cell(options: &Options) -> ! {
    // A hog that panicked would leave the others more time.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::abort();
    }));
    let row = cell::measure_here(&options.first_cell());
    println!("{}", to_line(&row));
    io::stdout().flush().expect("the parent listens");
    // SAFETY: the call does not come back; what else this process would do when it ends concerns nobody.
    unsafe { libc::_exit(0) }
}

fn to_line(row: &Row) -> String {
    serde_json::to_string(row).expect("a row can be written")
}

fn run(options: &Options) -> io::Result<()> {
    let rows = match &options.from {
        Some(file) => std::fs::read_to_string(file)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?,
        None => measure(options)?,
    };
    if let Some(file) = &options.report {
        std::fs::write(file, page::html(&rows))?;
    }
    if let Some(file) = &options.svg {
        std::fs::write(file, page::main_figure(&rows))?;
    }
    Ok(())
}

fn measure(options: &Options) -> io::Result<Vec<Row>> {
    let cells = if options.report.is_some() {
        options.matrix()
    } else {
        options.cells()
    };
    let go = if options.runtimes.iter().any(|runtime| runtime.is_go()) {
        child::build_go("starvation.go", env!("CARGO_TARGET_TMPDIR"))
    } else {
        None
    };
    if !options.json {
        table::head();
    }
    let mut rows = Vec::new();
    for cell in &cells {
        let Some(row) = cell::measure_in_child(cell, go.as_deref())? else {
            continue;
        };
        if options.json {
            println!("{}", to_line(&row));
        } else {
            table::line(&row);
        }
        rows.push(row);
    }
    if go.is_none() && options.runtimes == [Contender::Go] {
        return Err(io::Error::other("there is no go on the PATH"));
    }
    Ok(rows)
}
