//! The arguments of `main` and `test`.

use proc_macro::{Ident, Literal, Span, TokenStream};

use crate::error::Error;
use crate::expand::Attribute;
use crate::list::{self, Argument, Known};
use crate::{literal, time_slice};

const KNOWN: &[Known] = &[
    (
        "worker_threads",
        "write an integer of 1 or more, as in `worker_threads = 4`",
    ),
    (
        "time_slice",
        "write a string of a whole number and a unit, as in `time_slice = \"1ms\"`",
    ),
    (
        "flavor",
        "write a string: `\"multi_thread\"` or `\"current_thread\"`",
    ),
    ("start_paused", "write `true` or `false`"),
    (
        "beside",
        "write a string with the path of the Tokio crate: `beside = \"tokio\"`",
    ),
    list::CRATE,
];

/// Which runtime is built.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flavor {
    MultiThread,
    CurrentThread,
}

/// What the user asked for. `None` leaves it to the builder.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) worker_threads: Option<Literal>,
    /// In nanoseconds.
    pub(crate) time_slice: Option<Literal>,
    flavor: Option<Flavor>,
    pub(crate) start_paused: Option<Ident>,
    /// The path of the `tokio` crate, if a runtime of Tokio's is to be there for its I/O.
    pub(crate) beside: Option<TokenStream>,
    /// The path of the `preemptive` crate.
    pub(crate) path: Option<TokenStream>,
}

impl Arguments {
    /// The flavour of `attribute`'s runtime. The defaults are Tokio's; a test that wants worker threads need not say that it
    /// wants the flavour that has some.
    pub(crate) fn flavor(&self, attribute: Attribute) -> Flavor {
        let has_workers = self.worker_threads.is_some() && self.start_paused.is_none();
        let implied = match attribute {
            Attribute::Test if !has_workers => Flavor::CurrentThread,
            _ => Flavor::MultiThread,
        };
        self.flavor.unwrap_or(implied)
    }

    /// Takes out what the flavour does not go with.
    fn mismatch(&mut self, attribute: Attribute) -> Option<Error> {
        match self.flavor(attribute) {
            Flavor::MultiThread => self.start_paused.take().map(|value| {
                let text =
                    "`start_paused` is for the other flavour: add `flavor = \"current_thread\"`";
                Error::at(value.span(), text)
            }),
            Flavor::CurrentThread => self.worker_threads.take().map(|value| {
                let text = "`worker_threads` is for the `multi_thread` flavour: \
                    a current-thread runtime uses the thread that calls it";
                Error::at(value.span(), text)
            }),
        }
    }
}

/// Parses all of `tokens`: an error does not hide the next one.
pub(crate) fn parse(attribute: Attribute, tokens: TokenStream) -> (Arguments, Vec<Error>) {
    let mut arguments = Arguments::default();
    let mut errors = list::parse(tokens, KNOWN, |argument| set(&mut arguments, argument));
    // What is in error would be missing here.
    if errors.is_empty() {
        errors.extend(arguments.mismatch(attribute));
    }
    (arguments, errors)
}

fn set(arguments: &mut Arguments, argument: &Argument) -> Result<(), Error> {
    match argument.name {
        "worker_threads" => {
            let (source, span) = argument.literal()?;
            let threads = literal::integer(&source).ok_or_else(|| argument.wrong_kind())?;
            if threads == 0 {
                let text = "`worker_threads` is 0, so nothing would run: use 1 or more";
                return Err(Error::at(span, text));
            }
            arguments.worker_threads = Some(spanned(Literal::usize_unsuffixed(threads), span));
        }
        "time_slice" => {
            let (text, span) = argument.string()?;
            let nanos = time_slice::parse(&text).map_err(|error| Error::at(span, error))?;
            arguments.time_slice = Some(spanned(Literal::u64_unsuffixed(nanos), span));
        }
        "flavor" => {
            let (text, span) = argument.string()?;
            arguments.flavor = Some(flavor(&text).map_err(|error| Error::at(span, error))?);
        }
        "start_paused" => arguments.start_paused = Some(argument.bool_token()?),
        "beside" => arguments.beside = Some(argument.path()?),
        _ => arguments.path = Some(argument.path()?),
    }
    Ok(())
}

fn flavor(text: &str) -> Result<Flavor, String> {
    match text {
        "multi_thread" => Ok(Flavor::MultiThread),
        "current_thread" => Ok(Flavor::CurrentThread),
        _ => Err(format!(
            "unknown flavour `{text}`: the known ones are `multi_thread` and `current_thread`"
        )),
    }
}

fn spanned(mut literal: Literal, span: Span) -> Literal {
    literal.set_span(span);
    literal
}
