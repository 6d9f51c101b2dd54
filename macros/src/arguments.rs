//! The arguments of `main` and `test`.

use proc_macro::{Literal, Span, TokenStream};

use crate::error::Error;
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
    ("flavor", "write a string: `flavor = \"multi_thread\"`"),
    list::CRATE,
];

/// What the user asked for. `None` leaves it to the builder.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) worker_threads: Option<Literal>,
    /// In nanoseconds.
    pub(crate) time_slice: Option<Literal>,
    /// The path of the `preemptive` crate.
    pub(crate) path: Option<TokenStream>,
}

/// Parses all of `tokens`: an error does not hide the next one.
pub(crate) fn parse(tokens: TokenStream) -> (Arguments, Vec<Error>) {
    let mut arguments = Arguments::default();
    let errors = list::parse(tokens, KNOWN, |argument| set(&mut arguments, argument));
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
            check_flavor(&text).map_err(|error| Error::at(span, error))?;
        }
        _ => arguments.path = Some(argument.path()?),
    }
    Ok(())
}

fn check_flavor(text: &str) -> Result<(), String> {
    match text {
        "multi_thread" => Ok(()),
        "current_thread" => Err("the attributes build multi-thread runtimes only: \
             use `runtime::Builder::new_current_thread` and `block_on`"
            .to_owned()),
        _ => Err(format!(
            "unknown flavour `{text}`: the attributes know `multi_thread` only"
        )),
    }
}

fn spanned(mut literal: Literal, span: Span) -> Literal {
    literal.set_span(span);
    literal
}
