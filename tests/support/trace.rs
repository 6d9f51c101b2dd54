//! A timeline, parsed back: slices, instants, arrows; and what must be true of every timeline.

use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of this test's own, removed in the end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        let file = format!("preemptive-{}-{name}.json", std::process::id());
        Scratch(std::env::temp_dir().join(file))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The file that a runtime has finished.
    #[track_caller]
    pub(crate) fn trace(&self) -> Trace {
        let text = fs::read_to_string(&self.0).expect("the file is there");
        assert!(text.ends_with("\n]\n"), "it is finished");
        Trace::parse(&text)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Something that lasts, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) name: String,
    /// Its group and number.
    pub(crate) track: (u64, u64),
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// How many slices it lies in.
    pub(crate) depth: usize,
    pub(crate) args: Value,
}

impl Slice {
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.args[key].as_u64()
    }

    pub(crate) fn then(&self) -> &str {
        self.args["then"].as_str().unwrap_or("")
    }

    pub(crate) fn contains(&self, other: &Slice) -> bool {
        self.track == other.track && self.start <= other.start && other.end <= self.end
    }
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) events: Vec<Value>,
    /// By track, then by start.
    pub(crate) slices: Vec<Slice>,
    /// Begun, and not ended.
    pub(crate) unfinished: Vec<String>,
}

fn nanos(value: &Value) -> u64 {
    (value.as_f64().expect("a number") * 1000.0).round() as u64
}

impl Trace {
    /// Parses it, and checks that the slices of every track lie in each other or apart.
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Trace {
        let events: Vec<Value> = serde_json::from_str(text).expect("it is valid JSON");
        let mut tracks: HashMap<(u64, u64), Vec<&Value>> = HashMap::new();
        for event in &events {
            let number = |key: &str| event[key].as_u64().expect("a number");
            if ["X", "B", "E"].contains(&event["ph"].as_str().expect("a phase")) {
                let track = (number("pid"), number("tid"));
                tracks.entry(track).or_default().push(event);
            }
        }
        let mut trace = Trace {
            slices: Vec::new(),
            unfinished: Vec::new(),
            events: Vec::new(),
        };
        for (track, events) in tracks {
            trace.add(track, events);
        }
        trace.slices.sort_by_key(|slice| (slice.track, slice.start));
        trace.events = events;
        trace
    }

    #[track_caller]
    fn add(&mut self, track: (u64, u64), mut events: Vec<&Value>) {
        // Stable, as viewers sort: what is of the same time stays in the file's order.
        events.sort_by_key(|event| nanos(&event["ts"]));
        // Slices that have not ended; without an end, if only their begin was written.
        let mut open: Vec<(usize, Option<u64>)> = Vec::new();
        for event in events {
            let time = nanos(&event["ts"]);
            while open
                .last()
                .is_some_and(|(_, end)| end.is_some_and(|end| end <= time))
            {
                open.pop();
            }
            let name = event["name"].as_str().expect("a name").to_owned();
            if event["ph"] == "E" {
                let (index, end) = open.pop().expect("what ends has begun");
                assert_eq!((&self.slices[index].name, end), (&name, None), "{event}");
                self.slices[index].end = time;
                if event["args"].is_object() {
                    self.slices[index].args["then"] = event["args"]["then"].clone();
                }
                continue;
            }
            let end = (event["ph"] == "X").then(|| time + nanos(&event["dur"]));
            if let (Some((_, Some(outer))), Some(end)) = (open.last(), end) {
                assert!(end <= *outer, "it overlaps: {event}");
            }
            open.push((self.slices.len(), end));
            self.slices.push(Slice {
                name,
                track,
                start: time,
                end: end.unwrap_or(u64::MAX),
                depth: open.len() - 1,
                args: event["args"].clone(),
            });
        }
        let unfinished = open.iter().filter(|(_, end)| end.is_none());
        let names = unfinished.map(|(index, _)| self.slices[*index].name.clone());
        self.unfinished.extend(names);
    }

    /// Slices of this name, in the order of time.
    pub(crate) fn named(&self, name: &str) -> Vec<&Slice> {
        let mut slices: Vec<_> = self
            .slices
            .iter()
            .filter(|slice| slice.name == name)
            .collect();
        slices.sort_by_key(|slice| slice.start);
        slices
    }

    /// Events of this kind and name.
    pub(crate) fn events(&self, phase: &str, name: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| event["ph"] == phase && event["name"] == name)
            .collect()
    }

    /// How much was left out, as the end of the file says.
    pub(crate) fn lost(&self) -> u64 {
        let ends = self.events("M", "recording");
        assert_eq!(ends.len(), 1);
        ends[0]["args"]["lost"].as_u64().expect("a number")
    }

    /// Every arrow that ends has begun once, before that. How many end.
    #[track_caller]
    pub(crate) fn check_arrows(&self) -> usize {
        let mut starts = HashMap::new();
        for event in self.events("s", "goes on") {
            let id = event["id"].as_u64().expect("a number");
            assert!(starts.insert(id, nanos(&event["ts"])).is_none(), "{event}");
        }
        let ends = self.events("f", "goes on");
        for event in &ends {
            let start = starts.remove(&event["id"].as_u64().expect("a number"));
            assert!(
                start.is_some_and(|start| start <= nanos(&event["ts"])),
                "{event}"
            );
        }
        ends.len()
    }
}
