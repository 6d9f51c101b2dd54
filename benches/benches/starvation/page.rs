//! The page: figures, what they show, and every number.

use crate::cell::Row;
use crate::figures::{self, HOGS, find};
use crate::options::PingPong;
use crate::plot::{colour, label, time};
use preemptive_benches::{Contender, Kind, Machine, Percentiles, child};
use std::fmt::Write;

const STYLE: &str = "\
body { font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif;
  color: #1f2328; background: #f6f7f9; margin: 0 auto; padding: 28px 20px 60px; max-width: 1160px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 6px; }
h2 { font-size: 18px; margin: 38px 0 4px; }
p { margin: 0 0 12px; max-width: 76ch; }
.machine, .note { color: #656d76; font-size: 13px; }
figure { margin: 0; background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; padding: 14px; overflow-x: auto; }
figure svg { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th { font-weight: 600; text-align: right; padding: 4px 10px; border-bottom: 1px solid #c9ced6; }
td { text-align: right; padding: 4px 10px; border-bottom: 1px solid #eef0f3; }
th:first-child, td:first-child { text-align: left; }
td.never { color: #b42318; font-weight: 600; }
summary { cursor: pointer; margin: 38px 0 8px; font-weight: 600; font-size: 18px; }
";

/// The line without which a figure says nothing.
fn machine() -> String {
    let here = Machine::here();
    let go = child::go_version().map_or_else(String::new, |go| format!(", {go}"));
    format!(
        "{}, {} cores, Linux {}, {}{go}, commit {}",
        here.cpu, here.cores, here.kernel, here.compiler, here.commit
    )
}

/// The main figure alone.
pub(crate) fn main_figure(rows: &[Row]) -> String {
    figures::main_figure(rows, &machine())
}

/// The whole page.
pub(crate) fn html(rows: &[Row]) -> String {
    let secs = rows.first().map_or(0.0, |row| row.secs);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Who starves beside tasks that never await?</title>\n<style>\n{STYLE}</style></head><body>\n\
         <h1>Who starves beside tasks that never await?</h1>\n\
         <p>Hogs never await. Beside them one task sleeps for a millisecond, over and over, and notes how late it \
         wakes; two more talk over a channel. The same work and the same futures on every runtime; {secs} s each, \
         in a process of its own.</p>\n<p class=\"machine\">{}</p>\n",
        machine()
    );
    section(
        &mut page,
        "At a glance",
        "The lateness of the sleeper.",
        &main_figure(rows),
    );
    section(
        &mut page,
        "Every kind of hog",
        &format!("The lateness of the sleeper beside {HOGS} hogs, with its tail."),
        &figures::kinds(rows),
    );
    section(
        &mut page,
        "More and more hogs",
        "The lateness of the sleeper should not depend on how many others want to compute.",
        &figures::scaling(rows),
    );
    section(
        &mut page,
        "A conversation beside hogs",
        &format!(
            "One round trip every millisecond between two tasks, beside {HOGS} hogs that compute: how long it takes."
        ),
        &figures::latencies(rows, Kind::Spin, (-2, 5), "never answers", |row| {
            row.pingpong.as_ref().map(|talk| talk.times)
        }),
    );
    section(
        &mut page,
        "A conversation without pauses",
        "The same two tasks, as fast as they can. They take their share of the processor from the hogs.",
        &figures::round_trips(rows),
    );
    section(
        &mut page,
        "A lock shared with hogs",
        &format!(
            "{HOGS} hogs hold one mutex for 0.8 ms at a time, and are preempted while they hold it. The sleeper, \
                  once awake, takes it too: how long it waits for it."
        ),
        &figures::latencies(rows, Kind::Lock, (1, 6), "never gets it", |row| {
            row.lock_wait
        }),
    );
    section(
        &mut page,
        "What the hogs get",
        "Their work per second, as a part of what they do as plain OS threads. Tokio as it is runs only as many of \
         them as it has workers, and none of the others.",
        &throughput(rows),
    );
    everything(&mut page, rows);
    page.push_str("</body></html>\n");
    page
}

fn section(page: &mut String, title: &str, words: &str, figure: &str) {
    add(
        page,
        format_args!("<h2>{title}</h2>\n<p>{words}</p>\n<figure>{figure}</figure>\n"),
    );
}

fn add(page: &mut String, what: std::fmt::Arguments<'_>) {
    page.write_fmt(what).expect("a string takes all");
}

/// A table whose cells are the darker the less is left.
fn throughput(rows: &[Row]) -> String {
    let mut table = "<table><tr><th>hogs</th>".to_owned();
    let others = Contender::ALL
        .into_iter()
        .filter(|&contender| contender != Contender::Threads);
    let shown: Vec<_> = others
        .filter(|contender| rows.iter().any(|row| row.runtime == *contender))
        .collect();
    for contender in &shown {
        let (colour, name) = (colour(*contender), label(*contender));
        add(
            &mut table,
            format_args!("<th style=\"color:{colour}\">{name}</th>"),
        );
    }
    table.push_str("<th>OS threads, units/s</th></tr>\n");
    for kind in Kind::ALL {
        let work = |contender| find(rows, contender, kind, HOGS, PingPong::Paced)?.hog_per_s;
        let Some(whole) = work(Contender::Threads) else {
            continue;
        };
        let (name, words) = (kind.name(), kind.describe());
        add(
            &mut table,
            format_args!("<tr><td><b>{name}</b> <span class=\"note\">{words}</span></td>"),
        );
        for contender in &shown {
            match work(*contender) {
                Some(work) => {
                    let part = work / whole;
                    let shade = (1.0 - part).clamp(0.0, 1.0) * 0.5;
                    add(
                        &mut table,
                        format_args!(
                            "<td style=\"background:rgba(180,35,24,{shade:.2})\">{part:.2}</td>"
                        ),
                    );
                }
                None => table.push_str("<td class=\"note\">not measured</td>"),
            }
        }
        add(&mut table, format_args!("<td>{whole:.0}</td></tr>\n"));
    }
    table + "</table>"
}

/// Every number of every row.
fn everything(page: &mut String, rows: &[Row]) {
    page.push_str("<details><summary>Every number</summary>\n<figure><table>\n<tr><th>runtime</th><th>hogs</th>");
    for group in ["late", "trip"] {
        for figure in ["p50", "p90", "p99", "p99.9", "max", "n"] {
            add(page, format_args!("<th>{group} {figure}</th>"));
        }
    }
    page.push_str("<th>trips/s</th><th>units/s</th><th>preemptions</th><th>signals</th></tr>\n");
    for row in rows {
        let (name, kind) = (label(row.runtime), row.kind.name());
        add(
            page,
            format_args!("<tr><td>{name}</td><td>{} {kind}</td>", row.hogs),
        );
        if row.starved {
            page.push_str("<td colspan=\"6\" class=\"never\">never wakes</td>");
        } else {
            percentiles(page, &row.sleeper);
        }
        match &row.pingpong {
            Some(talk) => {
                percentiles(page, &talk.times);
                add(page, format_args!("<td>{:.0}</td>", talk.round_trips_per_s));
            }
            None => page.push_str("<td colspan=\"7\"></td>"),
        }
        let counters = [row.preemptions, row.signals].map(|count| count.map(|count| count as f64));
        for number in [row.hog_per_s, counters[0], counters[1]] {
            let number = number.map_or_else(String::new, |number| format!("{number:.0}"));
            add(page, format_args!("<td>{number}</td>"));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></figure></details>\n");
}

fn percentiles(page: &mut String, of: &Percentiles) {
    for value in [of.p50_us, of.p90_us, of.p99_us, of.p999_us, of.max_us] {
        let value = value.map_or_else(|| "-".to_owned(), time);
        add(page, format_args!("<td>{value}</td>"));
    }
    add(page, format_args!("<td>{}</td>", of.n));
}
