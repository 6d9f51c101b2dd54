//! Drawing: a few shapes as SVG, a logarithmic scale, and the one kind of plot that most figures are made of.

use preemptive_benches::{Contender, Percentiles};
use std::fmt::{Display, Write};

pub(crate) const INK: &str = "#1f2328";
pub(crate) const FAINT: &str = "#656d76";
pub(crate) const GRID: &str = "#e4e7eb";
pub(crate) const ALARM: &str = "#b42318";

/// A picture in the making.
#[derive(Debug)]
pub(crate) struct Picture {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text's anchor is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) size: f64,
    pub(crate) colour: &'static str,
    pub(crate) bold: bool,
    pub(crate) side: Side,
}

impl Text {
    pub(crate) fn new(size: f64, colour: &'static str, side: Side) -> Text {
        Text {
            size,
            colour,
            bold: false,
            side,
        }
    }

    pub(crate) fn bold(self, bold: bool) -> Text {
        Text { bold, ..self }
    }
}

impl Picture {
    pub(crate) fn new(width: f64, height: f64) -> Picture {
        Picture {
            width,
            height,
            body: String::new(),
        }
    }

    fn add(&mut self, shape: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{shape}").expect("a string takes all");
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, style: Text, text: impl Display) {
        let anchor = match style.side {
            Side::Start => "start",
            Side::Middle => "middle",
            Side::End => "end",
        };
        let weight = if style.bold { 600 } else { 400 };
        let Text { size, colour, .. } = style;
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-weight=\"{weight}\" \
             text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        ));
    }

    /// A line; `extra` are further attributes.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, extra: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" {extra}/>"
        ));
    }

    pub(crate) fn bar(&mut self, at: (f64, f64), size: (f64, f64), colour: &str) {
        let ((x, y), (width, height)) = (at, size);
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{colour}\"/>"
        ));
    }

    pub(crate) fn path(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let mut d = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let verb = if i == 0 { 'M' } else { 'L' };
            write!(d, "{verb}{x:.1} {y:.1}").expect("a string takes all");
        }
        self.add(format_args!(
            "<path d=\"{d}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>"
        ));
    }

    /// A dot, filled or open, that says `what` when pointed at.
    pub(crate) fn dot(
        &mut self,
        at: (f64, f64),
        radius: f64,
        colour: &str,
        open: bool,
        what: &str,
    ) {
        let (x, y) = at;
        let fill = if open { "#ffffff" } else { colour };
        self.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{fill}\" stroke=\"{colour}\" \
             stroke-width=\"2\"><title>{what}</title></circle>"
        ));
    }

    /// The finished picture. On white: a page around it may be dark.
    pub(crate) fn svg(&self, label: &str) -> String {
        let Picture {
            width,
            height,
            body,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{label}\" font-family=\"system-ui, -apple-system, \
             'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif\">\n\
             <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }
}

/// Microseconds to positions, each decade the same length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) decades: (i32, i32),
    pub(crate) positions: (f64, f64),
}

impl Scale {
    pub(crate) fn at(&self, value: f64) -> f64 {
        let (low, high) = (f64::from(self.decades.0), f64::from(self.decades.1));
        let part = ((value.max(1e-9).log10() - low) / (high - low)).clamp(0.0, 1.0);
        self.positions.0 + part * (self.positions.1 - self.positions.0)
    }

    /// The decades, and where they are.
    pub(crate) fn ticks(self) -> impl Iterator<Item = (f64, String)> {
        (self.decades.0..=self.decades.1).map(move |decade| {
            let value = 10_f64.powi(decade);
            (self.at(value), time(value))
        })
    }
}

/// Microseconds in the unit that suits them, with two digits.
pub(crate) fn time(microseconds: f64) -> String {
    let (value, unit) = match microseconds {
        value if value < 0.95 => (value * 1e3, "ns"),
        value if value < 1e3 => (value, "µs"),
        value if value < 1e6 => (value / 1e3, "ms"),
        value => (value / 1e6, "s"),
    };
    // Below ten a digit more, unless it is a zero.
    if value < 9.95 && (value - value.round()).abs() > 0.049 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// What a contender is called in a picture.
pub(crate) fn label(contender: Contender) -> &'static str {
    match contender {
        Contender::Preemptive => "preemptive",
        Contender::Tokio => "Tokio",
        Contender::TokioYield => "Tokio, yields by hand",
        Contender::TokioBlocking => "Tokio, spawn_blocking",
        Contender::Threads => "OS threads",
        Contender::Go => "Go",
        Contender::GoYield => "Go, yields by hand",
    }
}

/// One hue for each family, and the strongest for this project.
pub(crate) fn colour(contender: Contender) -> &'static str {
    match contender {
        Contender::Preemptive => "#0b5fff",
        Contender::Tokio => "#8a3b12",
        Contender::TokioYield => "#c2611f",
        Contender::TokioBlocking => "#e39a52",
        Contender::Threads => "#5b6470",
        Contender::Go => "#0a7d6c",
        Contender::GoYield => "#45b8a2",
    }
}

/// One line of a plot: a contender, and where its latencies lie. None: it never came to its turn.
pub(crate) type Line = (Contender, Option<Percentiles>);

/// A contender per line, its latencies from the median to the 99th percentile on a common scale.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranges {
    /// The upper left corner of the field, and the height of a line.
    pub(crate) top: f64,
    pub(crate) pitch: f64,
    pub(crate) scale: Scale,
    /// Where the contenders' names end, if they are there.
    pub(crate) names: Option<f64>,
    /// With the 90th and 99.9th percentile and the greatest latency. Else with numbers.
    pub(crate) tails: bool,
    /// Instead of latencies where there are none.
    pub(crate) never: &'static str,
}

impl Ranges {
    pub(crate) fn draw(&self, picture: &mut Picture, lines: &[Line]) {
        for (i, line) in lines.iter().enumerate() {
            let top = self.top + self.pitch * i as f64;
            let here = Ranges { top, ..*self };
            here.draw_line(picture, line, i + 1 == lines.len());
        }
    }

    fn size(&self) -> f64 {
        if self.tails { 10.5 } else { 12.0 }
    }

    /// The grid behind one line, and under the last one what it means.
    pub(crate) fn draw_grid(&self, picture: &mut Picture, last: bool) {
        let bottom = self.top + self.pitch;
        for (x, name) in self.scale.ticks() {
            picture.line((x, self.top), (x, bottom), GRID, "");
            if last {
                let style = Text::new(self.size(), FAINT, Side::Middle);
                picture.text(x, bottom + self.size() + 5.0, style, name);
            }
        }
    }

    /// A single line.
    pub(crate) fn draw_line(&self, picture: &mut Picture, line: &Line, last: bool) {
        self.draw_grid(picture, last);
        let (contender, latencies) = line;
        let y = self.top + self.pitch / 2.0;
        if let Some(names) = self.names {
            let ours = *contender == Contender::Preemptive;
            let ink = if ours { colour(*contender) } else { INK };
            let style = Text::new(self.size() + 1.0, ink, Side::End).bold(ours);
            picture.text(names, y + self.size() / 3.0, style, label(*contender));
        }
        match latencies {
            Some(latencies) => self.latencies(picture, y, *contender, latencies),
            None => self.never(picture, y),
        }
    }

    fn latencies(&self, picture: &mut Picture, y: f64, contender: Contender, of: &Percentiles) {
        let colour = colour(contender);
        let all = [of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us];
        let all = all.map(|value| value.unwrap_or(f64::NAN));
        let [p50, p90, p99, p999, max] = all;
        let [x50, x90, x99, x999, xmax] = all.map(|value| self.scale.at(value));
        let radius = if self.tails { 3.6 } else { 5.5 };
        let what = format!(
            "{}: p50 {}, p90 {}, p99 {}, p99.9 {}, max {}, n {}",
            label(contender),
            time(p50),
            time(p90),
            time(p99),
            time(p999),
            time(max),
            of.n
        );
        if self.tails {
            picture.line((x99, y), (xmax, y), colour, "stroke-width=\"1\"");
            for (x, half) in [(x90, 3.5), (x999, 3.5), (xmax, 5.0)] {
                picture.line((x, y - half), (x, y + half), colour, "stroke-width=\"1.4\"");
            }
        }
        let thick = format!("stroke-width=\"{}\" stroke-opacity=\"0.3\"", radius * 1.3);
        picture.line((x50, y), (x99, y), colour, &thick);
        picture.dot((x99, y), radius, colour, true, &what);
        picture.dot((x50, y), radius, colour, false, &what);
        if !self.tails {
            let style = |side| Text::new(12.0, INK, side).bold(contender == Contender::Preemptive);
            picture.text(x50 - 10.0, y + 4.0, style(Side::End), time(p50));
            picture.text(x99 + 10.0, y + 4.0, style(Side::Start), time(p99));
        }
    }

    fn never(&self, picture: &mut Picture, y: f64) {
        let (left, right) = self.scale.positions;
        let size = if self.tails { 10.5 } else { 12.0 };
        // Longer than the word, whatever the font.
        let word = self.never.len() as f64 * size * 0.62 + 12.0;
        let (from, to) = ((left, y), (right - word, y));
        picture.line(
            from,
            to,
            ALARM,
            "stroke-dasharray=\"2 5\" stroke-opacity=\"0.55\"",
        );
        let style = Text::new(size, ALARM, Side::End).bold(true);
        picture.text(right, y + size / 3.0, style, self.never);
    }
}
