//! docs/tokio-compat.md has a row for every public name of Tokio's `runtime`, `task` and `time`: the names are looked up in
//! the source of the very Tokio that this package is built with.

mod source;
mod traits;

// For its allocator.
use compat_tests as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/tokio-compat.md");

/// What a row says.
struct Row {
    here: &'static str,
    remark: &'static str,
}

/// The names of the tables of the three modules.
fn rows() -> BTreeMap<String, Row> {
    let tables = PAGE.split("## Macros").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in tables.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [names, here, remark] = cells[..] else {
            panic!("three cells, please: {line}")
        };
        // Every second part is inside of backquotes.
        for names in names.split('`').skip(1).step_by(2) {
            for name in expanded(names) {
                let twice = rows.insert(name.clone(), Row { here, remark });
                assert!(twice.is_none(), "{name} has two rows");
            }
        }
    }
    rows
}

/// `a::{b, c}` as `a::b` and `a::c`.
fn expanded(names: &str) -> Vec<String> {
    match names.trim_end_matches('}').split_once('{') {
        None => vec![names.to_owned()],
        Some((path, last)) => last
            .split(',')
            .map(|name| format!("{path}{}", name.trim()))
            .collect(),
    }
}

#[test]
fn the_page_has_the_names_that_tokio_has() {
    let tokio = source::public_names(&source::source_of("tokio"));
    // Should the source be read no more, nothing else would be noticed.
    for known in [
        "task::JoinHandle::abort",
        "runtime::Handle: Clone",
        "time::sleep",
    ] {
        assert!(
            tokio.contains(known),
            "{known} is not found in Tokio's source"
        );
    }
    let rows = rows();
    let missing: Vec<_> = tokio
        .iter()
        .filter(|name| !rows.contains_key(*name))
        .collect();
    let unknown: Vec<_> = rows.keys().filter(|name| !tokio.contains(*name)).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/tokio-compat.md has no row for {missing:#?},\nand Tokio has no {unknown:#?}"
    );
}

#[test]
fn the_page_says_of_every_difference_what_it_is() {
    for (name, row) in rows() {
        match row.here {
            "same" => {}
            "different" | "not offered" => assert!(!row.remark.is_empty(), "{name}: why?"),
            other => panic!("{name}: `{other}` is none of the three"),
        }
    }
}

/// `Builder::name` of `runtime::Builder::name`, `spawn` of `task::spawn`.
fn without_modules(name: &str) -> String {
    let parts: Vec<_> = name.split("::").collect();
    let is_of_type = |part: &&str| part.starts_with(char::is_uppercase);
    let from = parts.iter().position(is_of_type);
    parts[from.unwrap_or(parts.len() - 1)..].join("::")
}

#[test]
fn what_the_page_says_is_here_is_here_and_nothing_else() {
    let own = source::names_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../src"));
    let traits: BTreeSet<_> = traits::all().into_iter().collect();
    let mut wrong = Vec::new();
    for (name, row) in rows() {
        let is_here = match name.contains(": ") {
            true => traits.contains(&name),
            false => own.contains(&without_modules(&name)),
        };
        if is_here != (row.here != "not offered") {
            wrong.push(format!("{name}: {}", row.here));
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/tokio-compat.md is wrong about {wrong:#?}"
    );
}
