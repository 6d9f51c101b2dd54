//! The public names of a crate, read from its source.
//!
//! The source is formatted by rustfmt, so lines and their indentation are enough to read it by. Names are public if they
//! are exported by one of the three modules' `mod.rs`, or defined in a public submodule. Whether `cfg`s hide them makes
//! no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the package with this name lies on this machine.
pub(crate) fn source_of(package: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline"])
        // Packages for other systems were not downloaded.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let manifest = said
        .split('"')
        .find(|text| {
            let parent = Path::new(text).parent().and_then(Path::file_name);
            let name = parent.and_then(|name| name.to_str()).unwrap_or("");
            text.ends_with("/Cargo.toml")
                && name.strip_prefix(package).is_some_and(|rest| {
                    rest.strip_prefix('-')
                        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                })
        })
        .expect("cargo knows where the package lies");
    Path::new(manifest).parent().unwrap().join("src")
}

/// The files below `directory`, and the modules that they are, from `directory` on.
fn files(directory: &Path, module: &[String], found: &mut Vec<(PathBuf, Vec<String>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let mut inner = module.to_vec();
        inner.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
        if path.is_dir() {
            files(&path, &inner, found);
        } else if path.file_name().unwrap() == "mod.rs" {
            found.push((path, module.to_vec()));
        } else {
            found.push((path, inner));
        }
    }
}

/// The word at the beginning of `text`.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// What the line declares, if that is public: `fn`, and its name.
fn public_item(line: &str) -> Option<(&str, &str)> {
    let mut rest = line.trim_start().strip_prefix("pub ")?;
    for prefix in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let (kind, rest) = rest.split_once(' ')?;
    let kinds = ["fn", "struct", "enum", "trait", "type"];
    kinds.contains(&kind).then(|| (kind, word(rest)))
}

/// Of `impl<A> Trait<B> for Type<C> where …`: the trait and the type; of an inherent one, the type.
fn implementation(line: &str) -> Option<(Option<&str>, &str)> {
    let mut rest = line.trim_start();
    rest = rest
        .strip_prefix("unsafe ")
        .unwrap_or(rest)
        .strip_prefix("impl")?;
    if let Some(generics) = rest.strip_prefix('<') {
        let mut depth = 1;
        let end = generics.find(|c| {
            depth += i32::from(c == '<') - i32::from(c == '>');
            depth == 0
        })?;
        rest = &generics[end + 1..];
    }
    let head = rest
        .trim_start()
        .split(" where")
        .next()?
        .trim_end_matches('{');
    let last = |path: &'_ str| -> Option<usize> {
        let plain = &path[..path.find('<').unwrap_or(path.len())];
        Some(plain.rfind("::").map_or(0, |at| at + 2))
    };
    match head.split_once(" for ") {
        Some((of, on)) => Some((Some(word(&of[last(of)?..])), word(&on[last(on)?..]))),
        None => Some((None, word(&head[last(head)?..]))),
    }
}

/// The type in `impl From<Type> for io::Error`.
fn into_io_error(code: &str) -> Option<&str> {
    let (from, target) = code.strip_prefix("impl From<")?.split_once("> for ")?;
    let target = target.trim_start_matches("std::");
    target.starts_with("io::Error ").then_some(from)
}

/// One of the three modules: what it exports, from which modules, under which path; and its public submodules.
#[derive(Default)]
struct Exports {
    names: BTreeMap<(String, String), String>,
    submodules: BTreeSet<String>,
}

impl Exports {
    fn of(top: &str, text: &str) -> Exports {
        let mut exports = Exports::default();
        let mut path = top.to_owned();
        let mut inside_at = None;
        let mut statement = String::new();
        for line in text.lines() {
            let code = line.trim();
            if inside_at == Some(indentation(line)) && code == "}" {
                (inside_at, path) = (None, top.to_owned());
            }
            if let Some(rest) = code.strip_prefix("pub mod ") {
                if code.ends_with('{') {
                    (inside_at, path) = (Some(indentation(line)), format!("{top}::{}", word(rest)));
                } else {
                    exports.submodules.insert(word(rest).to_owned());
                }
            }
            if code.starts_with("pub use ") || !statement.is_empty() {
                statement += code;
            }
            if !statement.ends_with(';') {
                continue;
            }
            let used = std::mem::take(&mut statement);
            let used = used["pub use ".len()..].trim_end_matches([';', ' ']);
            let (from, names) = used.rsplit_once("::").unwrap();
            let from = from.rsplit("::").next().unwrap();
            for name in names.trim_matches(['{', '}', ' ']).split(',') {
                let key = (from.to_owned(), name.trim().to_owned());
                exports.names.entry(key).or_insert_with(|| path.clone());
            }
        }
        exports
    }

    /// The exported names.
    fn paths(&self) -> impl Iterator<Item = String> {
        let names = self.names.iter();
        names.map(|((_, name), path)| format!("{path}::{name}"))
    }

    /// The path of `name`, which stands in the module `module` of `top`, if it is public.
    fn path_of(&self, top: &str, module: &[String], name: &str) -> Option<String> {
        let known = |from: &str| self.names.get(&(from.to_owned(), name.to_owned()));
        // `pub use crate::runtime::task::…`: the file is in that directory, whatever it is called.
        let from = module.iter().map(String::as_str).chain([top]);
        if let Some(path) = from.filter_map(known).next() {
            return Some(path.clone());
        }
        match module.first() {
            None => Some(top.to_owned()),
            Some(first) if self.submodules.contains(first) => Some(format!("{top}::{first}")),
            Some(_) => None,
        }
    }
}

/// What a line of a file is inside of.
struct Block {
    /// The indentation of its end.
    end: usize,
    /// The path of the type that its functions or variants are to be listed under.
    path: Option<String>,
    is_enum: bool,
}

/// The public names of one file, under the paths by which users know them.
fn names_in(text: &str, path_of: impl Fn(&str) -> Option<String>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut derived = Vec::new();
    for line in text.lines() {
        let (code, indent) = (line.trim(), indentation(line));
        if code.starts_with("//") || code.is_empty() {
            continue;
        }
        if code == "mod tests {" || code == "mod test {" {
            break;
        }
        if code.starts_with('}') && blocks.last().is_some_and(|block| block.end == indent) {
            blocks.pop();
            continue;
        }
        if let Some(list) = code.strip_prefix("#[derive(") {
            let list = list.trim_end_matches(")]").split(',');
            derived = list.map(|name| name.trim().to_owned()).collect();
            continue;
        }
        if let Some(from) = into_io_error(code) {
            if let Some(path) = path_of(from) {
                names.insert(format!("{path}::{from}: Into<io::Error>"));
            }
            blocks.push(Block {
                end: indent,
                path: None,
                is_enum: false,
            });
            continue;
        }
        if let Some((of, on)) = implementation(line) {
            let path = path_of(on).map(|path| format!("{path}::{on}"));
            // What a destructor does is the type's own affair.
            if let (Some(of), Some(path)) = (of, &path)
                && of.trim_start_matches("Pinned") != "Drop"
            {
                names.insert(format!("{path}: {of}"));
            }
            if !code.ends_with('}') {
                blocks.push(Block {
                    end: indent,
                    path: path.filter(|_| of.is_none()),
                    is_enum: false,
                });
            }
            continue;
        }
        if let Some((kind, name)) = public_item(line) {
            let path = match blocks.last() {
                None => path_of(name).map(|path| format!("{path}::{name}")),
                Some(block) => block.path.as_ref().map(|path| format!("{path}::{name}")),
            };
            if let Some(path) = path {
                if kind != "fn" {
                    names.extend(derived.drain(..).map(|of| format!("{path}: {of}")));
                }
                if kind == "enum" {
                    blocks.push(Block {
                        end: indent,
                        path: Some(path.clone()),
                        is_enum: true,
                    });
                }
                names.insert(path);
            }
        } else if let Some(Block {
            end,
            path: Some(path),
            is_enum: true,
        }) = blocks.last()
            && indent == end + 4
            && code.starts_with(|c: char| c.is_ascii_uppercase())
        {
            names.insert(format!("{path}::{}", word(code)));
        }
        if code.contains("struct ") || code.contains("enum ") {
            derived.clear();
        }
    }
    names
}

/// The three modules, and where their code is.
const MODULES: [(&str, &[&str]); 3] = [
    ("runtime", &["runtime", "util/rand.rs", "util/rand"]),
    ("task", &["task", "runtime/task"]),
    ("time", &["time"]),
];

/// The files of one of them, and which modules they are, from there on.
fn code_of(source: &Path, top: &str, places: &[&str]) -> Vec<(PathBuf, Vec<String>)> {
    let mut found = Vec::new();
    for place in places {
        let path = source.join(place);
        let module = match *place == top {
            true => Vec::new(),
            false => vec![path.file_stem().unwrap().to_str().unwrap().to_owned()],
        };
        match path.is_dir() {
            true => files(&path, &module, &mut found),
            false => found.push((path, module)),
        }
    }
    found.retain(|(path, module)| {
        // Below `runtime`, but exported by `task`.
        let is_of_tasks = top == "runtime" && module.first().is_some_and(|first| first == "task");
        let is_test = module.iter().any(|part| part == "tests");
        path.extension().is_some_and(|extension| extension == "rs") && !is_of_tasks && !is_test
    });
    found
}

/// The public names of the three modules.
pub(crate) fn public_names(source: &Path) -> BTreeSet<String> {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let mut names = BTreeSet::new();
    for (top, places) in MODULES {
        let exports = Exports::of(top, &read(source.join(top).join("mod.rs")));
        names.extend(exports.paths());
        for submodule in &exports.submodules {
            let inside = source.join(top).join(submodule);
            let text = fs::read_to_string(inside.with_extension("rs"));
            let text = text.unwrap_or_else(|_| read(inside.join("mod.rs")));
            names.extend(Exports::of(&format!("{top}::{submodule}"), &text).paths());
        }
        for (path, module) in code_of(source, top, places) {
            let path_of = |name: &str| exports.path_of(top, &module, name);
            names.extend(names_in(&read(path), path_of));
        }
    }
    // What stands in a public module need not be public itself.
    let all = names.clone();
    names.retain(|name| {
        let of = name.split_once(": ").or(name.rsplit_once("::"));
        let of = of.map_or("", |(of, _)| of);
        let is_type =
            word(&of[of.rfind(':').map_or(0, |at| at + 1)..]).starts_with(char::is_uppercase);
        !is_type || all.contains(of)
    });
    names
}

/// The public names of all files below `source`, private modules included, each without its path: `spawn`, `Builder::name`.
pub(crate) fn names_below(source: &Path) -> BTreeSet<String> {
    let mut found = Vec::new();
    files(source, &[], &mut found);
    let mut names = BTreeSet::new();
    for (path, _) in found {
        let text = fs::read_to_string(path).unwrap();
        let declared = names_in(&text, |_| Some(String::new()));
        names.extend(
            declared
                .iter()
                .map(|name| name.trim_start_matches("::").to_owned()),
        );
        // What comes from elsewhere.
        let exported = text
            .lines()
            .filter(|line| line.trim_start().starts_with("pub use std::"));
        names.extend(exported.map(|line| {
            line[line.rfind(':').unwrap() + 1..]
                .trim_end_matches(';')
                .to_owned()
        }));
    }
    names
}
