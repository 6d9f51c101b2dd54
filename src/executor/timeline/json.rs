//! Events as viewers read them: Chrome's Trace Event Format, one event a line, times in microseconds.
//!
//! The file is one JSON array. Each event brings the comma that the one before it lacks, so what has been written is whole but
//! for the bracket, which viewers do without.

use std::io::Write;

/// A track: what viewers call a process, and a thread of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) group: u64,
    pub(super) track: u64,
}

/// What has not been written to the file yet.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    /// Some event has been written.
    has_begun: bool,
    /// What times count from.
    base: u64,
}

impl Text {
    pub(super) fn new(base: u64) -> Text {
        Text {
            bytes: Vec::new(),
            has_begun: false,
            base,
        }
    }

    /// Begins an event of this kind; it is complete when the value is dropped.
    pub(super) fn event(&mut self, phase: &str, name: &str, place: Place) -> Line<'_> {
        self.bytes.extend_from_slice(match self.has_begun {
            true => b",\n",
            false => b"[\n",
        });
        self.has_begun = true;
        let mut line = Line {
            base: self.base,
            bytes: &mut self.bytes,
            has_args: false,
        };
        line.put(b"{\"ph\":\"");
        line.put(phase.as_bytes());
        line.put(b"\",\"name\":");
        line.quoted(name);
        line.put(b",\"pid\":");
        line.decimal(place.group);
        line.put(b",\"tid\":");
        line.decimal(place.track);
        line
    }

    /// Ends the array.
    pub(super) fn end(&mut self) {
        self.bytes.extend_from_slice(match self.has_begun {
            true => b"\n]\n",
            false => b"[]\n",
        });
    }
}

/// An event that is being written.
#[derive(Debug)]
pub(super) struct Line<'a> {
    bytes: &'a mut Vec<u8>,
    base: u64,
    has_args: bool,
}

impl Line<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn decimal(&mut self, number: u64) {
        // Writing to a vector does not fail.
        let _ = write!(self.bytes, "{number}");
    }

    /// Nanoseconds, as microseconds.
    fn micros(&mut self, nanos: u64) {
        let _ = write!(self.bytes, "{}.{:03}", nanos / 1000, nanos % 1000);
    }

    fn quoted(&mut self, text: &str) {
        self.put(b"\"");
        for character in text.chars() {
            match character {
                '"' => self.put(b"\\\""),
                '\\' => self.put(b"\\\\"),
                '\0'..='\x1f' => {
                    let _ = write!(self.bytes, "\\u{:04x}", character as u32);
                }
                _ => self.put(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.put(b"\"");
    }

    /// When it was.
    pub(super) fn at(mut self, time: u64) -> Self {
        self.put(b",\"ts\":");
        self.micros(time.saturating_sub(self.base));
        self
    }

    /// How long it took.
    pub(super) fn lasting(mut self, nanos: u64) -> Self {
        self.put(b",\"dur\":");
        self.micros(nanos);
        self
    }

    /// A field of the event itself.
    pub(super) fn with(mut self, field: &str, value: &str) -> Self {
        self.put(b",");
        self.quoted(field);
        self.put(b":");
        self.quoted(value);
        self
    }

    /// The number that the two ends of an arrow share.
    pub(super) fn id(mut self, id: u64) -> Self {
        self.put(b",\"id\":");
        self.decimal(id);
        self
    }

    fn key(&mut self, key: &str) {
        self.put(match self.has_args {
            true => b",",
            false => b",\"args\":{",
        });
        self.has_args = true;
        self.quoted(key);
        self.put(b":");
    }

    /// An argument. After the first of these no fields follow.
    pub(super) fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        self.decimal(value);
        self
    }

    /// Nanoseconds, which are shown as microseconds.
    pub(super) fn duration(mut self, key: &str, nanos: u64) -> Self {
        self.key(key);
        self.micros(nanos);
        self
    }

    pub(super) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        self.quoted(value);
        self
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.put(match self.has_args {
            true => b"}}",
            false => b"}",
        });
    }
}
