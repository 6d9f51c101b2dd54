//! One JSON object per line.

use std::fmt::Write;

/// An object in the making.
#[derive(Debug, Default)]
pub struct Json(String);

impl Json {
    /// Without fields.
    pub fn new() -> Json {
        Json::default()
    }

    /// A string. Control characters do not occur in ours.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Json {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.raw(name, format_args!("\"{value}\""));
        self
    }

    /// A whole number.
    #[must_use]
    pub fn count(mut self, name: &str, value: u64) -> Json {
        self.raw(name, format_args!("{value}"));
        self
    }

    /// A figure; what is not finite is `null`.
    #[must_use]
    pub fn number(mut self, name: &str, value: f64) -> Json {
        if value.is_finite() {
            self.raw(name, format_args!("{value:.3}"));
        } else {
            self.raw(name, format_args!("null"));
        }
        self
    }

    /// Prints the line.
    pub fn print(self) {
        println!("{{{}}}", self.0);
    }

    fn raw(&mut self, name: &str, value: std::fmt::Arguments<'_>) {
        let comma = if self.0.is_empty() { "" } else { "," };
        write!(self.0, "{comma}\"{name}\":{value}").expect("a string takes everything");
    }
}
