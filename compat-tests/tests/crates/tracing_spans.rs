//! tracing: which span is the current one is kept per thread. One that a poll has entered stays the current one of that poll
//! while it is preempted, and of nobody else.

use crate::crowd::{Crowd, busy};
use crate::together::together;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex, Once};
use std::thread::ThreadId;
use std::time::Duration;
use tracing::span::{Attributes, Id};
use tracing::{Instrument, Span, Subscriber, info, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const WORK: Duration = Duration::from_micros(200);

/// Which spans each thread is in, the innermost last; what was seen that must not be.
#[derive(Default)]
struct Seen {
    stacks: HashMap<ThreadId, Vec<u64>>,
    wrong: Vec<String>,
    entered: usize,
}

static SEEN: LazyLock<Mutex<Seen>> = LazyLock::new(Mutex::default);

/// Checks that every thread leaves its spans in the reverse order.
struct PerThread;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for PerThread {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if context.span(id).is_none() {
            SEEN.lock()
                .unwrap()
                .wrong
                .push(format!("{id:?} is not there"));
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let mut seen = SEEN.lock().unwrap();
        seen.entered += 1;
        let stack = seen.stacks.entry(std::thread::current().id()).or_default();
        stack.push(id.into_u64());
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let mut seen = SEEN.lock().unwrap();
        let thread = std::thread::current().id();
        let left = seen.stacks.entry(thread).or_default().pop();
        if left != Some(id.into_u64()) {
            let text = format!("{thread:?} leaves {id:?}, and was in {left:?}");
            seen.wrong.push(text);
        }
    }
}

/// What is printed.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Buffer;

    fn make_writer(&'a self) -> Buffer {
        self.clone()
    }
}

static PRINTED: LazyLock<Buffer> = LazyLock::new(Buffer::default);

/// The process has one subscriber. Other crates speak, too.
fn subscribe() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ours = || filter_fn(|about| about.target().starts_with("crates"));
        let prints = tracing_subscriber::fmt::layer()
            .with_writer(PRINTED.clone())
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_target(false);
        let subscriber = tracing_subscriber::registry()
            .with(prints.with_filter(ours()))
            .with(PerThread.with_filter(ours()));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

fn assert_nothing_wrong() {
    let seen = SEEN.lock().unwrap();
    assert!(seen.wrong.is_empty(), "{:#?}", seen.wrong);
    assert!(seen.entered > 0);
}

#[test]
fn a_span_stays_the_current_one_of_its_poll_and_of_no_other() {
    subscribe();
    let mut crowd = Crowd::new();
    crowd.go(async {
        together(9, |task| async move {
            for turn in 0..10 {
                if task % 3 == 2 {
                    // In no span, beside polls that are preempted in theirs.
                    assert!(Span::current().is_none());
                    busy(WORK);
                    assert!(Span::current().is_none());
                } else {
                    let outer = info_span!("outer", task, turn);
                    let entered = outer.enter();
                    busy(WORK);
                    assert_eq!(Span::current().id(), outer.id());
                    let inner = info_span!("inner");
                    inner.in_scope(|| {
                        busy(WORK);
                        assert_eq!(Span::current().id(), inner.id());
                    });
                    assert_eq!(Span::current().id(), outer.id());
                    drop(entered);
                }
                assert!(Span::current().is_none());
                preemptive::task::yield_now().await;
            }
        })
        .await;
    });
    drop(crowd);
    assert_nothing_wrong();
}

#[test]
fn events_are_printed_with_the_spans_of_their_own_task() {
    const TASKS: usize = 6;
    const TURNS: usize = 20;
    subscribe();
    Crowd::new().run(async {
        together(TASKS, |task| {
            let lives = async move {
                for turn in 0..TURNS {
                    let inner = info_span!("turn", turn);
                    let speaks = async {
                        busy(Duration::from_micros(120));
                        preemptive::task::yield_now().await;
                        info!(said = task * 1_000 + turn);
                    };
                    speaks.instrument(inner).await;
                }
            };
            lives.instrument(info_span!("printed", task))
        })
        .await;
    });
    let mut printed: Vec<_> = PRINTED.lines();
    printed.retain(|line| line.starts_with("printed{"));
    let mut expected: Vec<_> = (0..TASKS)
        .flat_map(|task| (0..TURNS).map(move |turn| (task, turn, task * 1_000 + turn)))
        .map(|(task, turn, said)| {
            format!("printed{{task={task}}}:turn{{turn={turn}}}: said={said}")
        })
        .collect();
    printed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(printed, expected);
    assert_nothing_wrong();
}

#[test]
fn a_subscriber_for_a_scope_is_that_of_one_poll() {
    subscribe();
    Crowd::new().run(async {
        together(6, |task| async move {
            let own = Buffer::default();
            let subscriber = tracing_subscriber::fmt()
                .with_writer(own.clone())
                .with_ansi(false)
                .without_time()
                .with_level(false)
                .with_target(false)
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                for turn in 0..10 {
                    busy(Duration::from_micros(120));
                    info!(task, turn);
                }
            });
            info!("elsewhere");
            let expected: Vec<_> = (0..10)
                .map(|turn| format!("task={task} turn={turn}"))
                .collect();
            assert_eq!(own.lines(), expected);
        })
        .await;
    });
}
