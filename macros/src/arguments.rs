//! The arguments of an attribute: `name = value`, separated by commas.

use proc_macro::{Delimiter, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::error::Error;
use crate::{literal, time_slice};

const KNOWN: &str = "`worker_threads`, `time_slice`, `flavor` and `crate`";

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
    let mut errors = Vec::new();
    let mut seen = Vec::new();
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for piece in tokens.split_inclusive(is_comma) {
        let (piece, comma) = match piece.split_last() {
            Some((comma, rest)) if is_comma(comma) => (rest, Some(comma)),
            _ => (piece, None),
        };
        let parsed = match (piece.is_empty(), comma) {
            (true, Some(comma)) => Err(Error::at(
                comma.span(),
                "expected an argument before this `,`: remove one `,`",
            )),
            _ => parse_one(piece, &mut seen, &mut arguments),
        };
        errors.extend(parsed.err());
    }
    (arguments, errors)
}

fn parse_one(
    piece: &[TokenTree],
    seen: &mut Vec<String>,
    arguments: &mut Arguments,
) -> Result<(), Error> {
    let TokenTree::Ident(ident) = &piece[0] else {
        let text = format!("expected `name = value`: the names are {KNOWN}");
        return Err(Error::over(piece, text));
    };
    let name = ident.to_string();
    let usage = match name.as_str() {
        "worker_threads" => "write an integer of 1 or more, as in `worker_threads = 4`",
        "time_slice" => "write a string of a whole number and a unit, as in `time_slice = \"1ms\"`",
        "flavor" => "write a string: `flavor = \"multi_thread\"`",
        "crate" => "write a string with a path, as in `crate = \"my_crate::preemptive\"`",
        _ => {
            let text = format!("unknown argument `{name}`: the known ones are {KNOWN}");
            return Err(Error::at(ident.span(), text));
        }
    };
    if seen.contains(&name) {
        let text = format!("duplicate argument `{name}`: keep one of them");
        return Err(Error::at(ident.span(), text));
    }
    seen.push(name.clone());
    let value = match &piece[1..] {
        [] => {
            return Err(Error::at(
                ident.span(),
                format!("`{name}` needs a value: {usage}"),
            ));
        }
        [TokenTree::Punct(equals)] if equals.as_char() == '=' => {
            return Err(Error::over(
                piece,
                format!("`{name}` needs a value: {usage}"),
            ));
        }
        [TokenTree::Punct(equals), value @ ..] if equals.as_char() == '=' => value,
        [other, ..] => {
            let text = format!("expected `=` after `{name}`: {usage}");
            return Err(Error::at(other.span(), text));
        }
    };
    if let [TokenTree::Literal(_), next @ TokenTree::Ident(_), ..] = value {
        return Err(Error::at(
            next.span(),
            "expected a `,` before this argument",
        ));
    }
    let wrong_kind = || {
        Error::over(
            value,
            format!("the value of `{name}` is of the wrong kind: {usage}"),
        )
    };
    let (source, span) = sole_literal(value).ok_or_else(wrong_kind)?;
    if name == "worker_threads" {
        let threads = literal::integer(&source).ok_or_else(wrong_kind)?;
        if threads == 0 {
            let text = "`worker_threads` is 0, so nothing would run: use 1 or more";
            return Err(Error::at(span, text));
        }
        arguments.worker_threads = Some(spanned(Literal::usize_unsuffixed(threads), span));
        return Ok(());
    }
    let text = literal::string(&source).ok_or_else(wrong_kind)?;
    match name.as_str() {
        "time_slice" => {
            let nanos = time_slice::parse(text).map_err(|error| Error::at(span, error))?;
            arguments.time_slice = Some(spanned(Literal::u64_unsuffixed(nanos), span));
        }
        "flavor" => check_flavor(text).map_err(|error| Error::at(span, error))?,
        _ => {
            let (global, segments) = literal::path(text).ok_or_else(|| {
                Error::at(
                    span,
                    format!("`{text}` is not the path of a crate or module: {usage}"),
                )
            })?;
            arguments.path = Some(path(global, &segments, span));
        }
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

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}

/// The source and the span of the literal that `value` is, also where a `macro_rules!` macro passed
/// it on in an invisible group.
fn sole_literal(value: &[TokenTree]) -> Option<(String, Span)> {
    match value {
        [TokenTree::Literal(literal)] => Some((literal.to_string(), literal.span())),
        [TokenTree::Group(group)] if group.delimiter() == Delimiter::None => {
            sole_literal(&group.stream().into_iter().collect::<Vec<_>>())
        }
        _ => None,
    }
}

fn spanned(mut literal: Literal, span: Span) -> Literal {
    literal.set_span(span);
    literal
}

/// The tokens of a path, all at `span`.
pub(crate) fn path(global: bool, segments: &[&str], span: Span) -> TokenStream {
    let mut tokens = Vec::<TokenTree>::new();
    for (index, segment) in segments.iter().enumerate() {
        if global || index > 0 {
            for spacing in [Spacing::Joint, Spacing::Alone] {
                let mut colon = Punct::new(':', spacing);
                colon.set_span(span);
                tokens.push(colon.into());
            }
        }
        let ident = match segment.strip_prefix("r#") {
            Some(raw) => Ident::new_raw(raw, span),
            None => Ident::new(segment, span),
        };
        tokens.push(ident.into());
    }
    tokens.into_iter().collect()
}
