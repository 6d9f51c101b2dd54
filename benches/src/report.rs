//! Printing figures: a table for people, or one JSON object per line.

use crate::{Machine, Samples, Spread};

/// Where figures go, as soon as they are known.
#[derive(Debug)]
pub struct Report {
    json: bool,
}

impl Report {
    /// Begins with a line on the machine. `json` chooses the form.
    pub fn begin(json: bool) -> Report {
        let machine = Machine::here();
        let Machine {
            cpu,
            cores,
            kernel,
            compiler,
            commit,
        } = &machine;
        if json {
            println!(
                "{{\"figure\":\"machine\",\"cpu\":\"{}\",\"cores\":{cores},\"kernel\":\"{}\",\
                 \"compiler\":\"{}\",\"commit\":\"{}\"}}",
                escape(cpu),
                escape(kernel),
                escape(compiler),
                escape(commit)
            );
        } else {
            println!("{cpu}, {cores} cores, Linux {kernel}, {compiler}, commit {commit}\n");
            println!(
                "{:<34} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}",
                "figure", "unit", "min", "p5", "median", "p95", "max", "n"
            );
        }
        Report { json }
    }

    /// One figure.
    pub fn figure(&self, name: &str, unit: &str, samples: &Samples) {
        self.print(name, unit, samples, None);
    }

    /// One figure whose median should be at most `goal`.
    pub fn figure_with_goal(&self, name: &str, unit: &str, samples: &Samples, goal: f64) {
        self.print(name, unit, samples, Some(goal));
    }

    fn print(&self, name: &str, unit: &str, samples: &Samples, goal: Option<f64>) {
        let Spread {
            n,
            min,
            p5,
            median,
            p95,
            max,
        } = samples.spread();
        if self.json {
            let goal = goal.map_or_else(String::new, |goal| {
                format!(",\"goal\":{goal},\"met\":{}", median <= goal)
            });
            println!(
                "{{\"figure\":\"{}\",\"unit\":\"{}\",\"n\":{n},\"min\":{min:.3},\"p5\":{p5:.3},\
                 \"median\":{median:.3},\"p95\":{p95:.3},\"max\":{max:.3}{goal}}}",
                escape(name),
                escape(unit)
            );
            return;
        }
        // Ratios need the second digit, bytes none.
        let digits = if median < 10.0 { 2 } else { 0 };
        let goal = goal.map_or_else(String::new, |goal| {
            let word = if median <= goal { "met" } else { "missed" };
            format!("  goal {goal}: {word}")
        });
        println!(
            "{name:<34} {unit:>6} {min:>9.digits$} {p5:>9.digits$} {median:>9.digits$} \
             {p95:>9.digits$} {max:>9.digits$} {n:>6}{goal}"
        );
    }
}

/// The two characters that JSON strings do not take as they are; control characters do not occur.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
