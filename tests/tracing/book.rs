//! A layer that writes down what it is told, by the rules that subscribers live by: a stack of spans per thread, a count
//! per span.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// What became of one span.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) target: String,
    pub(crate) fields: HashMap<String, String>,
    pub(crate) enters: usize,
    pub(crate) exits: usize,
    /// How long it was entered.
    pub(crate) busy: Duration,
    entered_at: Option<Instant>,
    pub(crate) is_closed: bool,
    /// Told of it after it was closed.
    pub(crate) is_late: bool,
    /// Events of its wakers, by operation.
    pub(crate) wakes: HashMap<String, usize>,
    /// Those of them that came while the thread was inside of it.
    pub(crate) self_wakes: usize,
}

impl Story {
    fn entered(&self) -> isize {
        self.enters as isize - self.exits as isize
    }

    /// How often it was preempted, as it says itself.
    pub(crate) fn preempted(&self) -> Option<u64> {
        self.fields
            .get("preempted")
            .map(|count| count.parse().unwrap())
    }
}

#[derive(Debug, Default)]
struct Inside {
    stories: HashMap<u64, Story>,
    /// With the thread's name.
    stacks: HashMap<ThreadId, (String, Vec<u64>)>,
    /// Span and text of events on the target `test`: the names of the spans around, from the outermost.
    events: Vec<(String, String)>,
    /// So often some span was around the attendant.
    attendant_inside: usize,
}

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Arc<Mutex<Inside>>);

struct Fields<'a>(&'a mut HashMap<String, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        write!(text, "{value:?}").unwrap();
        self.0.insert(field.name().to_owned(), text);
    }
}

impl Book {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Makes it the process's subscriber, together with a layer that prints everything, to nowhere.
    pub(crate) fn open() -> Book {
        let book = Book::default();
        let prints = tracing_subscriber::fmt::layer()
            .with_span_events(FmtSpan::FULL)
            .with_writer(std::io::sink);
        tracing_subscriber::registry()
            .with(prints)
            .with(book.clone())
            .init();
        book
    }

    /// The same without that layer: what panics in between leaves it in disorder, on any runtime.
    pub(crate) fn open_alone() -> Book {
        let book = Book::default();
        tracing_subscriber::registry().with(book.clone()).init();
        book
    }

    /// All spans of tasks.
    pub(crate) fn stories(&self) -> Vec<Story> {
        self.lock().stories.values().cloned().collect()
    }

    /// That of the task with this name.
    #[track_caller]
    pub(crate) fn named(&self, name: &str) -> Story {
        let stories = self.stories();
        let named = stories
            .into_iter()
            .find(|story| story.fields["task.name"] == name);
        named.unwrap_or_else(|| panic!("no task is called {name}"))
    }

    /// The names of the spans around each event of the target `test`, and its text.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        self.lock().events.clone()
    }

    /// What is left on stacks: thread and span.
    pub(crate) fn left_on_stacks(&self) -> Vec<(String, u64)> {
        let inside = self.lock();
        let stacks = inside.stacks.values();
        let left = stacks.flat_map(|(name, stack)| stack.iter().map(move |id| (name.clone(), *id)));
        left.collect()
    }

    /// The attendant is in no span but the one that it tells of: is it?
    fn look_around<S: Subscriber>(&self, context: &Context<'_, S>) {
        if std::thread::current().name() == Some(ATTENDANT) && context.current_span().id().is_some()
        {
            self.lock().attendant_inside += 1;
        }
    }

    /// What must be true when nothing runs any more.
    #[track_caller]
    pub(crate) fn check(&self) {
        let inside = self.lock().attendant_inside;
        assert_eq!(inside, 0, "the registry keeps what the attendant entered");
        for story in self.stories() {
            assert!(story.is_closed, "never closed: {story:?}");
            assert!(!story.is_late, "used after its end: {story:?}");
            assert_eq!(
                story.entered(),
                0,
                "not exited as often as entered: {story:?}"
            );
        }
        // The head of `executor::trace` says why there is something at all.
        let mut left = self.left_on_stacks();
        assert!(
            left.iter().all(|(thread, _)| thread == ATTENDANT),
            "{left:?}"
        );
        left.sort();
        let count = left.len();
        left.dedup();
        assert_eq!(left.len(), count, "more than one for a task");
    }
}

/// The thread that tells of preemptions.
pub(crate) const ATTENDANT: &str = "preemptive-span";

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Book {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() != "runtime.spawn" {
            return;
        }
        let mut story = Story {
            target: attributes.metadata().target().to_owned(),
            ..Story::default()
        };
        attributes.record(&mut Fields(&mut story.fields));
        // What panics is not in the book.
        self.lock().stories.insert(id.into_u64(), story);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some(story) = self.lock().stories.get_mut(&id.into_u64()) {
            values.record(&mut Fields(&mut story.fields));
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let now = Instant::now();
        let mut inside = self.lock();
        let Some(story) = inside.stories.get_mut(&id.into_u64()) else {
            return;
        };
        story.is_late |= story.is_closed;
        story.enters += 1;
        if story.entered() == 1 {
            story.entered_at = Some(now);
        }
        let thread = std::thread::current();
        let stack = inside.stacks.entry(thread.id()).or_default();
        stack.0 = thread.name().unwrap_or_default().to_owned();
        stack.1.push(id.into_u64());
        let misbehaves = |inside: &Inside, how: &str| {
            inside.stories[&id.into_u64()].fields["task.name"].starts_with(how)
        };
        if misbehaves(&inside, "holds the lock") {
            let end = Instant::now() + Duration::from_micros(100);
            while Instant::now() < end {}
        }
        if misbehaves(&inside, "panics in enter") {
            inside.stacks.get_mut(&thread.id()).unwrap().1.pop();
            drop(inside);
            panic!("expected: in enter");
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let now = Instant::now();
        self.look_around(&context);
        let mut inside = self.lock();
        let Some(story) = inside.stories.get_mut(&id.into_u64()) else {
            return;
        };
        story.is_late |= story.is_closed;
        story.exits += 1;
        if story.entered() == 0
            && let Some(at) = story.entered_at.take()
        {
            story.busy += now - at;
        }
        let panics = story.fields["task.name"].starts_with("panics in exit");
        let thread = std::thread::current().id();
        let (_, stack) = inside.stacks.entry(thread).or_default();
        if let Some(place) = stack.iter().rposition(|other| *other == id.into_u64()) {
            stack.remove(place);
        }
        drop(inside);
        if panics {
            panic!("expected: in exit");
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        if let Some(story) = self.lock().stories.get_mut(&id.into_u64()) {
            story.is_late |= story.is_closed;
            story.is_closed = true;
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.look_around(&context);
        let mut fields = HashMap::new();
        event.record(&mut Fields(&mut fields));
        match event.metadata().target() {
            "runtime::waker" => {
                let id = fields["task.id"].parse().unwrap();
                let mut inside = self.lock();
                let inside = &mut *inside;
                let stack = inside.stacks.get(&std::thread::current().id());
                let is_own = stack.is_some_and(|(_, stack)| stack.contains(&id));
                if let Some(story) = inside.stories.get_mut(&id) {
                    let op = &fields["op"];
                    story.self_wakes += usize::from(is_own && op.starts_with("waker.wake"));
                    *story.wakes.entry(op.clone()).or_default() += 1;
                }
            }
            "test" => {
                let scope = context.event_scope(event);
                let spans = scope.into_iter().flat_map(|scope| scope.from_root());
                let around: Vec<_> = spans
                    .map(
                        |span| match self.lock().stories.get(&span.id().into_u64()) {
                            Some(story) => story.fields["task.name"].clone(),
                            None => span.name().to_owned(),
                        },
                    )
                    .collect();
                let text = fields["message"].clone();
                self.lock().events.push((around.join("/"), text));
            }
            _ => {}
        }
    }
}
