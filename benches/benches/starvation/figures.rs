//! The figures of the page.

use crate::cell::Row;
use crate::options::PingPong;
use crate::plot::{
    ALARM, FAINT, GRID, INK, Line, Picture, Ranges, Scale, Side, Text, colour, label, time,
};
use preemptive_benches::{Contender, Kind, Percentiles};

/// How many hogs there are where their number does not matter.
pub(crate) const HOGS: usize = 16;

/// The first row of a contender that is asked for.
pub(crate) fn find(
    rows: &[Row],
    contender: Contender,
    kind: Kind,
    hogs: usize,
    mode: PingPong,
) -> Option<&Row> {
    rows.iter().find(|row| {
        let talk = row
            .pingpong
            .as_ref()
            .map_or(PingPong::Off, |talk| talk.mode);
        // One that hung has not told.
        let same_mode = talk == mode || row.pingpong.is_none();
        row.runtime == contender && row.kind == kind && row.hogs == hogs && same_mode
    })
}

/// A line for each contender that was measured.
fn lines(
    rows: &[Row],
    kind: Kind,
    hogs: usize,
    of: impl Fn(&Row) -> Option<Percentiles>,
) -> Vec<Line> {
    Contender::ALL
        .into_iter()
        .filter_map(|contender| {
            let row = find(rows, contender, kind, hogs, PingPong::Paced)?;
            Some((contender, of(row).filter(|percentiles| percentiles.n > 0)))
        })
        .collect()
}

fn lateness(row: &Row) -> Option<Percentiles> {
    (!row.starved).then_some(row.sleeper)
}

/// The sleeper's lateness beside hogs that compute: the one figure to see.
pub(crate) fn main_figure(rows: &[Row], machine: &str) -> String {
    let lines = lines(rows, Kind::Spin, HOGS, lateness);
    let pitch = 34.0;
    let bottom = 78.0 + pitch * lines.len() as f64;
    let mut picture = Picture::new(820.0, bottom + 58.0);
    let title = "How late does a task wake that sleeps for 1 ms, beside 16 that only compute?";
    picture.text(
        24.0,
        32.0,
        Text::new(17.0, INK, Side::Start).bold(true),
        title,
    );
    let workers = rows.first().map_or(0, |row| row.workers);
    let legend = format!("{workers} workers, {workers} cores, logarithmic scale.");
    picture.text(24.0, 54.0, Text::new(12.5, FAINT, Side::Start), legend);
    key(&mut picture, 24.0 + 262.0, 50.0);
    let ranges = Ranges {
        top: 74.0,
        pitch,
        scale: Scale {
            decades: (0, 5),
            positions: (180.0, 770.0),
        },
        names: Some(168.0),
        tails: false,
        never: "never wakes",
    };
    ranges.draw(&mut picture, &lines);
    picture.text(
        796.0,
        bottom + 44.0,
        Text::new(10.0, FAINT, Side::End),
        machine,
    );
    picture.svg(title)
}

/// What the dots are.
fn key(picture: &mut Picture, x: f64, y: f64) {
    let style = Text::new(12.5, FAINT, Side::Start);
    picture.dot((x, y), 5.0, FAINT, false, "median");
    picture.text(x + 11.0, y + 4.0, style, "median");
    let thick = "stroke-width=\"6\" stroke-opacity=\"0.3\"";
    picture.line((x + 76.0, y), (x + 110.0, y), FAINT, thick);
    picture.dot((x + 110.0, y), 5.0, FAINT, true, "99th percentile");
    picture.text(x + 121.0, y + 4.0, style, "99th percentile");
}

/// The sleeper's lateness beside each kind of hog, with its tail.
pub(crate) fn kinds(rows: &[Row]) -> String {
    let (across, width, gap, names) = (3, 286.0, 28.0, 150.0);
    let kinds: Vec<_> = Kind::ALL
        .into_iter()
        .map(|kind| (kind, lines(rows, kind, HOGS, lateness)))
        .filter(|(_, lines)| !lines.is_empty())
        .collect();
    let most = kinds.iter().map(|(_, lines)| lines.len()).max();
    // Every panel has a line for every contender, so that the names on the left hold for all.
    let contenders: Vec<_> = Contender::ALL
        .into_iter()
        .filter(|contender| rows.iter().any(|row| row.runtime == *contender))
        .collect();
    let pitch = 21.0;
    let height = 40.0 + pitch * most.unwrap_or(0) as f64 + 34.0;
    let down = kinds.len().div_ceil(across);
    let mut picture = Picture::new(
        names + 20.0 + across as f64 * (width + gap),
        40.0 + height * down as f64,
    );
    anatomy(&mut picture, names + 12.0, 26.0);
    for (i, (kind, lines)) in kinds.iter().enumerate() {
        let left = names + 12.0 + (i % across) as f64 * (width + gap);
        let top = 40.0 + (i / across) as f64 * height;
        let title = Text::new(13.0, INK, Side::Start);
        picture.text(left, top + 22.0, title.bold(true), kind.name());
        let x = left + 8.0 * kind.name().len() as f64 + 12.0;
        let words = Text::new(12.0, FAINT, Side::Start);
        picture.text(x, top + 22.0, words, format!("hogs {}", kind.describe()));
        let scale = Scale {
            decades: (0, 6),
            positions: (left + 4.0, left + width - 12.0),
        };
        for (line, contender) in contenders.iter().enumerate() {
            let field = Ranges {
                top: top + 34.0 + pitch * line as f64,
                pitch,
                scale,
                names: None,
                tails: true,
                never: "never wakes",
            };
            let y = field.top + pitch / 2.0 + 4.0;
            if i % across == 0 {
                let ours = *contender == Contender::Preemptive;
                let style = Text::new(11.5, if ours { colour(*contender) } else { INK }, Side::End);
                picture.text(names, y, style.bold(ours), label(*contender));
            }
            let last = line + 1 == contenders.len();
            match lines.iter().find(|(measured, _)| measured == contender) {
                Some(measured) => field.draw_line(&mut picture, measured, last),
                None => {
                    field.draw_grid(&mut picture, last);
                    let style = Text::new(10.5, FAINT, Side::End);
                    picture.text(left + width - 12.0, y, style, "not measured");
                }
            }
        }
    }
    picture.svg("Lateness of the sleeper beside six kinds of hogs")
}

/// What the marks are, from left to right.
fn anatomy(picture: &mut Picture, x: f64, y: f64) {
    let thick = "stroke-width=\"5\" stroke-opacity=\"0.3\"";
    picture.line((x + 4.0, y), (x + 130.0, y), FAINT, thick);
    picture.line((x + 130.0, y), (x + 270.0, y), FAINT, "stroke-width=\"1\"");
    picture.dot((x + 4.0, y), 3.6, FAINT, false, "median");
    picture.dot((x + 130.0, y), 3.6, FAINT, true, "99th percentile");
    for (at, half) in [(66.0, 3.5), (196.0, 3.5), (270.0, 5.0)] {
        let (from, to) = ((x + at, y - half), (x + at, y + half));
        picture.line(from, to, FAINT, "stroke-width=\"1.4\"");
    }
    let style = Text::new(10.5, FAINT, Side::Middle);
    let words = [
        (4.0, "p50"),
        (66.0, "p90"),
        (130.0, "p99"),
        (196.0, "p99.9"),
        (270.0, "max"),
    ];
    for (at, word) in words {
        picture.text(x + at, y - 8.0, style, word);
    }
}

/// The sleeper's lateness as hogs get more.
pub(crate) fn scaling(rows: &[Row]) -> String {
    let mut numbers: Vec<_> = rows.iter().map(|row| row.hogs).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut picture = Picture::new(1112.0, 390.0);
    type Pick = fn(&Percentiles) -> Option<f64>;
    let panels: [(&str, f64, Pick); 2] = [
        ("median", 60.0, |of| of.p50_us),
        ("99th percentile", 622.0, |of| of.p99_us),
    ];
    for (title, left, pick) in panels {
        let (right, top, bottom) = (left + 310.0, 66.0, 340.0);
        let style = Text::new(13.0, INK, Side::Start).bold(true);
        picture.text(left, 24.0, style, title);
        let scale = Scale {
            decades: (1, 6),
            positions: (bottom, top),
        };
        for (y, name) in scale.ticks() {
            picture.line((left, y), (right, y), GRID, "");
            picture.text(left - 8.0, y + 4.0, Text::new(11.0, FAINT, Side::End), name);
        }
        let never = 46.0;
        let style = Text::new(11.0, ALARM, Side::End).bold(true);
        picture.text(left - 8.0, never + 4.0, style, "never");
        let step = (right - left - 24.0) / (numbers.len().max(2) - 1) as f64;
        let at = |i: usize| left + 12.0 + step * i as f64;
        for (i, hogs) in numbers.iter().enumerate() {
            let style = Text::new(11.0, FAINT, Side::Middle);
            picture.text(at(i), bottom + 18.0, style, hogs);
        }
        let middle = (left + right) / 2.0;
        let style = Text::new(11.0, FAINT, Side::Middle);
        picture.text(middle, bottom + 36.0, style, "hogs that compute");

        let mut ends = Vec::new();
        // This project last: on top.
        for contender in Contender::ALL.into_iter().rev() {
            let mut points = Vec::new();
            for (i, &hogs) in numbers.iter().enumerate() {
                if let Some(row) = find(rows, contender, Kind::Spin, hogs, PingPong::Paced) {
                    let value = lateness(row).and_then(|late| pick(&late));
                    points.push((
                        at(i),
                        value.map_or(never, |value| scale.at(value)),
                        hogs,
                        value,
                    ));
                }
            }
            let Some(last) = points.last() else { continue };
            ends.push((last.1, contender));
            let line: Vec<_> = points.iter().map(|(x, y, ..)| (*x, *y)).collect();
            let ours = contender == Contender::Preemptive;
            picture.path(&line, colour(contender), if ours { 3.0 } else { 1.8 });
            for (x, y, hogs, value) in points {
                let value = value.map_or_else(|| "never wakes".to_owned(), time);
                let what = format!("{}, {hogs} hogs: {value}", label(contender));
                picture.dot((x, y), 3.2, colour(contender), false, &what);
            }
        }
        // Names at the ends of their lines, apart from each other.
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut lowest = f64::NEG_INFINITY;
        for (y, contender) in ends {
            let y = y.max(lowest + 15.0);
            lowest = y;
            let ours = contender == Contender::Preemptive;
            let style = Text::new(12.0, colour(contender), Side::Start).bold(ours);
            picture.text(right + 4.0, y + 4.0, style, label(contender));
        }
    }
    picture.svg("Lateness of the sleeper against the number of hogs")
}

/// One plot of latencies, with names and numbers.
pub(crate) fn latencies(
    rows: &[Row],
    kind: Kind,
    decades: (i32, i32),
    never: &'static str,
    of: impl Fn(&Row) -> Option<Percentiles>,
) -> String {
    let lines = lines(rows, kind, HOGS, of);
    let mut picture = Picture::new(720.0, 54.0 + 28.0 * lines.len() as f64);
    key(&mut picture, 180.0, 14.0);
    let ranges = Ranges {
        top: 26.0,
        pitch: 28.0,
        scale: Scale {
            decades,
            positions: (178.0, 660.0),
        },
        names: Some(166.0),
        tails: false,
        never,
    };
    ranges.draw(&mut picture, &lines);
    picture.svg("Latencies")
}

/// Round trips per second as bars.
pub(crate) fn round_trips(rows: &[Row]) -> String {
    let mode = PingPong::BackToBack;
    let bars: Vec<_> = Contender::ALL
        .into_iter()
        .filter_map(|contender| {
            let row = find(rows, contender, Kind::Spin, HOGS, mode)?;
            let trips = row
                .pingpong
                .as_ref()
                .map_or(0.0, |talk| talk.round_trips_per_s);
            Some((contender, trips))
        })
        .collect();
    let most = bars.iter().map(|(_, trips)| *trips).fold(1.0, f64::max);
    let mut picture = Picture::new(720.0, 20.0 + 28.0 * bars.len() as f64);
    for (i, (contender, trips)) in bars.into_iter().enumerate() {
        let y = 10.0 + 28.0 * i as f64;
        let ours = contender == Contender::Preemptive;
        let name = Text::new(13.0, if ours { colour(contender) } else { INK }, Side::End);
        picture.text(166.0, y + 18.0, name.bold(ours), label(contender));
        let width = trips / most * 340.0;
        picture.bar((178.0, y + 5.0), (width.max(1.0), 18.0), colour(contender));
        let (words, ink) = if trips < 1.0 {
            ("none: never comes to its turn".to_owned(), ALARM)
        } else if trips < 100_000.0 {
            (format!("{:.0} thousand per second", trips / 1e3), INK)
        } else {
            (format!("{:.2} million per second", trips / 1e6), INK)
        };
        let style = Text::new(12.0, ink, Side::Start).bold(ours);
        picture.text(178.0 + width + 8.0, y + 18.0, style, words);
    }
    picture.svg("Round trips per second")
}
