//! What the compiler says about each wrong use, and which tokens it points at; and that right uses
//! compile without a warning, and run.
//!
//! The crates under test are written to a scratch folder and given to Cargo. The `preemptive` crate
//! they see is a stub, so these tests are about the macros alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "ui/wrong_checked.rs"]
mod wrong_checked;

/// A name, a program with its wrong tokens between `«` and `»`, and the message.
///
/// In the scratch folder each is a binary; `MAIN` is for those that have no `main` of their own.
type Wrong = (&'static str, &'static str, &'static str);

/// Of `main` and `test`.
const WRONG: &[Wrong] = &[
    (
        "not_async",
        "#[preemptive::main]\npub «fn» main() {}",
        "`#[preemptive::main]` needs an `async fn`: write `async` here",
    ),
    (
        "test_not_async",
        "#[preemptive::test]\n«fn» adds() {}\nMAIN",
        "`#[preemptive::test]` needs an `async fn`: write `async` here",
    ),
    (
        "main_with_arguments",
        "#[preemptive::main]\nasync fn main«(name: String, n: u32)» { drop(name) }",
        "the main function cannot take arguments: see `std::env::args`",
    ),
    (
        "main_generic",
        "#[preemptive::main]\nasync fn main«<T: Fn() -> u32, const N: usize>»() {}",
        "the main function cannot be generic: nothing chooses its parameters",
    ),
    (
        "test_with_arguments",
        "#[preemptive::test]\nasync fn adds«(one: u32)» {}\nMAIN",
        "the test function cannot take arguments: make them variables in its body",
    ),
    (
        "test_generic",
        "#[preemptive::test]\nasync fn adds«<T>»() {}\nMAIN",
        "the test function cannot be generic: nothing chooses its parameters",
    ),
    (
        "second_test",
        "#[preemptive::test]\n#[ignore]\n«#[test]»\nasync fn adds() {}\nMAIN",
        "`#[preemptive::test]` makes this a test already: remove the second `#[test]`",
    ),
    (
        "second_test_long",
        "#[preemptive::test]\n«#[::core::prelude::v1::test]»\nasync fn adds() {}\nMAIN",
        "`#[preemptive::test]` makes this a test already: remove the second `#[test]`",
    ),
    (
        "on_a_struct",
        "#[preemptive::main]\n/// A comment.\npub(crate) «struct» Main;\nMAIN",
        "`#[preemptive::main]` needs an `async fn`, and this is no function",
    ),
    (
        "on_a_const",
        "#[preemptive::test]\n«const» MAX: u32 = 3;\nMAIN",
        "`#[preemptive::test]` needs an `async fn`, and this is no function",
    ),
    (
        "no_body",
        "trait T { #[preemptive::main]\nasync fn run()«;» }\nMAIN",
        "`#[preemptive::main]` needs an `async fn` with a body",
    ),
    (
        "unknown",
        "#[preemptive::main(«workers» = 2)]\nasync fn main() {}",
        "unknown argument `workers`: the known ones are `worker_threads`, `time_slice`, `flavor`, \
         `start_paused`, `beside` and `crate`",
    ),
    (
        "test_unknown",
        "#[preemptive::test(worker_threads = 2, «paused» = true)]\nasync fn t() {}\nMAIN",
        "unknown argument `paused`: the known ones are `worker_threads`, `time_slice`, `flavor`, \
         `start_paused`, `beside` and `crate`",
    ),
    (
        "no_name",
        "#[preemptive::main(«\"multi_thread\"»)]\nasync fn main() {}",
        "expected `name = value`: the names are `worker_threads`, `time_slice`, `flavor`, \
         `start_paused`, `beside` and `crate`",
    ),
    (
        "duplicate",
        "#[preemptive::main(worker_threads = 2, «worker_threads» = 2)]\nasync fn main() {}",
        "duplicate argument `worker_threads`: keep one of them",
    ),
    (
        "no_value",
        "#[preemptive::main(«worker_threads», time_slice = \"1ms\")]\nasync fn main() {}",
        "`worker_threads` needs a value: write an integer of 1 or more, as in `worker_threads = 4`",
    ),
    (
        "no_value_after_equals",
        "#[preemptive::main(«time_slice =»)]\nasync fn main() {}",
        "`time_slice` needs a value: write a string of a whole number and a unit, as in \
         `time_slice = \"1ms\"`",
    ),
    (
        "in_parentheses",
        "#[preemptive::main(worker_threads«(4)»)]\nasync fn main() {}",
        "expected `=` after `worker_threads`: write an integer of 1 or more, as in \
         `worker_threads = 4`",
    ),
    (
        "two_commas",
        "#[preemptive::main(worker_threads = 4, «,» time_slice = \"1ms\")]\nasync fn main() {}",
        "expected an argument before this `,`: remove one `,`",
    ),
    (
        "no_comma",
        "#[preemptive::main(worker_threads = 4 «time_slice» = \"1ms\")]\nasync fn main() {}",
        "expected a `,` before this argument",
    ),
    (
        "beside_no_string",
        "#[preemptive::main(beside = «tokio»)]\nasync fn main() {}",
        "the value of `beside` is of the wrong kind: write a string with the path of the Tokio crate: \
         `beside = \"tokio\"`",
    ),
    (
        "threads_string",
        "#[preemptive::main(worker_threads = «\"4\"»)]\nasync fn main() {}",
        "the value of `worker_threads` is of the wrong kind: write an integer of 1 or more, as in \
         `worker_threads = 4`",
    ),
    (
        "threads_negative",
        "#[preemptive::main(worker_threads = «-1»)]\nasync fn main() {}",
        "the value of `worker_threads` is of the wrong kind: write an integer of 1 or more, as in \
         `worker_threads = 4`",
    ),
    (
        "threads_expression",
        "#[preemptive::main(worker_threads = «1 + f(2)»)]\nasync fn main() {}",
        "the value of `worker_threads` is of the wrong kind: write an integer of 1 or more, as in \
         `worker_threads = 4`",
    ),
    (
        "threads_zero",
        "#[preemptive::main(worker_threads = «0»)]\nasync fn main() {}",
        "`worker_threads` is 0, so nothing would run: use 1 or more",
    ),
    (
        "slice_bare",
        "#[preemptive::main(time_slice = «1»)]\nasync fn main() {}",
        "the value of `time_slice` is of the wrong kind: write a string of a whole number and a \
         unit, as in `time_slice = \"1ms\"`",
    ),
    (
        "slice_short",
        "#[preemptive::main(time_slice = «\"49µs\"»)]\nasync fn main() {}",
        "`time_slice` of 49 µs is out of range: use a value from 50 µs to 10 s",
    ),
    (
        "slice_long",
        "#[preemptive::test(time_slice = «\"11s\"»)]\nasync fn t() {}\nMAIN",
        "`time_slice` of 11 s is out of range: use a value from 50 µs to 10 s",
    ),
    (
        "slice_unit",
        "#[preemptive::main(time_slice = «\"5min\"»)]\nasync fn main() {}",
        "unknown unit `min` in `time_slice`: use `us`, `µs`, `ms` or `s`",
    ),
    (
        "slice_no_unit",
        "#[preemptive::main(time_slice = «\"5\"»)]\nasync fn main() {}",
        "`time_slice` needs a unit after `5`: one of `us`, `µs`, `ms`, `s`",
    ),
    (
        "flavor_unknown",
        "#[preemptive::main(flavor = «\"local\"»)]\nasync fn main() {}",
        "unknown flavour `local`: the known ones are `multi_thread` and `current_thread`",
    ),
    (
        "flavor_unknown_alone",
        "#[preemptive::main(start_paused = true, flavor = «\"one\"»)]\nasync fn main() {}",
        "unknown flavour `one`: the known ones are `multi_thread` and `current_thread`",
    ),
    (
        "flavor_bare",
        "#[preemptive::test(flavor = «current_thread»)]\nasync fn t() {}\nMAIN",
        "the value of `flavor` is of the wrong kind: write a string: `\"multi_thread\"` or \
         `\"current_thread\"`",
    ),
    (
        "paused_main",
        "#[preemptive::main(start_paused = «true»)]\nasync fn main() {}",
        "`start_paused` is for the other flavour: add `flavor = \"current_thread\"`",
    ),
    (
        "paused_threads",
        "#[preemptive::test(flavor = \"multi_thread\", start_paused = «false»)]\n\
         async fn t() {}\nMAIN",
        "`start_paused` is for the other flavour: add `flavor = \"current_thread\"`",
    ),
    (
        "paused_string",
        "#[preemptive::test(start_paused = «\"true\"»)]\nasync fn t() {}\nMAIN",
        "the value of `start_paused` is of the wrong kind: write `true` or `false`",
    ),
    (
        "paused_number",
        "#[preemptive::test(start_paused = «1»)]\nasync fn t() {}\nMAIN",
        "the value of `start_paused` is of the wrong kind: write `true` or `false`",
    ),
    (
        "paused_bare",
        "#[preemptive::test(«start_paused»)]\nasync fn t() {}\nMAIN",
        "`start_paused` needs a value: write `true` or `false`",
    ),
    (
        "current_thread_threads",
        "#[preemptive::main(flavor = \"current_thread\", worker_threads = «2»)]\n\
         async fn main() {}",
        "`worker_threads` is for the `multi_thread` flavour: a current-thread runtime uses the \
         thread that calls it",
    ),
    (
        "paused_test_threads",
        "#[preemptive::test(worker_threads = «1», start_paused = true)]\nasync fn t() {}\nMAIN",
        "`worker_threads` is for the `multi_thread` flavour: a current-thread runtime uses the \
         thread that calls it",
    ),
    (
        "crate_bare",
        "#[preemptive::main(crate = «my::path»)]\nasync fn main() {}",
        "the value of `crate` is of the wrong kind: write a string with a path, as in \
         `crate = \"my_crate::preemptive\"`",
    ),
    (
        "crate_no_path",
        "#[preemptive::main(crate = «\"my path\"»)]\nasync fn main() {}",
        "`my path` is not the path of a crate or module: write a string with a path, as in \
         `crate = \"my_crate::preemptive\"`",
    ),
    // From here on the mistake is in the user's own code, and the compiler's own message shows it.
    (
        "body_type",
        "#[preemptive::main]\nasync fn main() {\n    «5»\n}",
        "mismatched types",
    ),
    (
        "body_return",
        "#[preemptive::main]\nasync fn main() -> Result<(), u8> {\n    if true { return «5»; }\n    \
         Ok(())\n}",
        "mismatched types",
    ),
    (
        "body_no_tail",
        "#[preemptive::main]\nasync fn main() -> Result<(), u8> «{\n    \
         Ok::<(), u8>(())?;\n}»",
        "mismatched types",
    ),
    (
        "body_name",
        "#[preemptive::main]\nasync fn main() {\n    «output»();\n}",
        "cannot find function `output` in this scope",
    ),
    (
        "body_question_mark",
        "#[preemptive::main]\nasync fn main() {\n    Err::<(), u8>(1)«?»;\n}",
        "the `?` operator can only be used in an async block that returns `Result` or `Option` (or \
         another type that implements `FromResidual`)",
    ),
];

#[derive(Debug, PartialEq)]
struct Report {
    message: String,
    /// Line and column of the first character, and of the one behind the last; from 1.
    range: [u64; 4],
}

#[test]
fn wrong_uses_are_reported_at_the_wrong_token() {
    let root = scratch("wrong", "2024");
    let mut expected = Vec::new();
    for (name, marked, message) in WRONG.iter().chain(wrong_checked::WRONG) {
        let (program, range) = unmark(&marked.replace("MAIN", "fn main() {}"));
        fs::write(root.join(format!("src/bin/{name}.rs")), program).unwrap();
        expected.push((
            name,
            Report {
                message: (*message).to_owned(),
                range,
            },
        ));
    }
    let output = cargo(&root)
        .args(["check", "--bins", "--keep-going", "--message-format=json"])
        .output()
        .expect("cargo runs");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let reports: Vec<(String, Report)> = lines.lines().filter_map(report).collect();
    let mut failures = Vec::new();
    for (name, expected) in expected {
        // Also that there is one error, and not its consequences behind it.
        let got: Vec<&Report> = reports
            .iter()
            .filter(|(target, _)| target == name)
            .map(|(_, report)| report)
            .collect();
        if got != [&expected] {
            failures.push(format!("{name}:\n  expected {expected:?}\n  got {got:#?}"));
        }
    }
    assert!(
        failures.is_empty(),
        "{}\n{}",
        failures.join("\n"),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_wrong_argument_is_reported() {
    let root = scratch("several", "2024");
    let program = "#[preemptive::main(worker_threads = 0, x = 1, time_slice = \"\")]\n\
                   async fn main(n: u32) {}";
    fs::write(root.join("src/bin/several.rs"), program).unwrap();
    let output = cargo(&root)
        .args(["check", "--bins", "--message-format=json"])
        .output()
        .expect("cargo runs");
    let lines = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let starts: Vec<[u64; 2]> = lines
        .lines()
        .filter_map(report)
        .map(
            |(
                _,
                Report {
                    range: [line, column, ..],
                    ..
                },
            )| [line, column],
        )
        .collect();
    assert_eq!(starts, [[1, 37], [1, 40], [1, 60], [2, 14]]);
}

#[test]
fn right_uses_run_without_a_warning() {
    let root = scratch("right", "2024");
    fs::write(root.join("src/bin/right.rs"), include_str!("ui/pass.rs")).unwrap();
    for command in [&["run"][..], &["test"]] {
        let output = cargo(&root).args(command).output().expect("cargo runs");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn earlier_editions_drop_alike() {
    for edition in ["2018", "2021"] {
        let root = scratch(edition, edition);
        let program = include_str!("checked_drops.rs").replace("preemptive_macros", "preemptive");
        fs::write(
            root.join("src/bin/drops.rs"),
            format!("{program}\nfn main() {{}}"),
        )
        .unwrap();
        fs::create_dir_all(root.join("src/bin/mock")).unwrap();
        fs::write(
            root.join("src/bin/mock/mod.rs"),
            include_str!("mock/mod.rs"),
        )
        .unwrap();
        let output = cargo(&root).arg("test").output().expect("cargo runs");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// A crate without sources, next to a stub of the `preemptive` crate that it depends on.
fn scratch(name: &str, edition: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui").join(name);
    // What an earlier version of these tests left would be compiled too.
    let _ = fs::remove_dir_all(root.join("src"));
    fs::create_dir_all(root.join("src/bin")).unwrap();
    fs::create_dir_all(root.join("stub/src")).unwrap();
    let manifest = format!(
        "[workspace]\nmembers = [\"stub\"]\nresolver = \"3\"\n\
         [package]\nname = \"ui\"\nedition = \"{edition}\"\n\
         [dependencies]\npreemptive = {{ path = \"stub\" }}\n"
    );
    fs::write(root.join("Cargo.toml"), manifest).unwrap();
    let manifest = format!(
        "[package]\nname = \"preemptive\"\nedition = \"2024\"\n\
         [dependencies]\npreemptive-macros = {{ path = {:?} }}\n",
        env!("CARGO_MANIFEST_DIR")
    );
    fs::write(root.join("stub/Cargo.toml"), manifest).unwrap();
    fs::write(root.join("stub/src/lib.rs"), include_str!("ui/stub.rs")).unwrap();
    root
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root)
        .arg("--offline")
        // One for all, so that what the macros depend on is compiled once.
        .env("CARGO_TARGET_DIR", root.with_file_name("target"))
        // Flags of the outer build, for coverage or Loom, say, change what the compiler reports.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

/// The program without its marks, and the range that they were around.
fn unmark(marked: &str) -> (String, [u64; 4]) {
    let position = |before: &str| {
        let plain = before.replace('«', "");
        let line = plain.rsplit('\n').next().unwrap_or_default();
        let lines = plain.matches('\n').count() as u64;
        [lines + 1, line.chars().count() as u64 + 1]
    };
    let (before, _) = marked.split_once('«').expect("a program has a first mark");
    let (until, _) = marked.split_once('»').expect("a program has a last mark");
    let ([line, column], [last_line, last_column]) = (position(before), position(until));
    (
        marked.replace(['«', '»'], ""),
        [line, column, last_line, last_column],
    )
}

/// The target and the error that a line of Cargo's output is about, if it is about one.
fn report(line: &str) -> Option<(String, Report)> {
    let line: Value = serde_json::from_str(line).expect("cargo writes JSON");
    let message = &line["message"];
    if line["reason"] != "compiler-message" || message["level"] != "error" {
        return None;
    }
    // The count of errors at the end has no span.
    let span = message["spans"]
        .as_array()?
        .iter()
        .find(|span| span["is_primary"] == true)?;
    let range = ["line_start", "column_start", "line_end", "column_end"]
        .map(|key| span[key].as_u64().expect("a span has lines and columns"));
    let message = message["message"].as_str()?.to_owned();
    Some((
        line["target"]["name"].as_str()?.to_owned(),
        Report { message, range },
    ))
}
