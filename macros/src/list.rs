//! The list in an attribute's parentheses: `name = value`, separated by commas.

use proc_macro::{Delimiter, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

use crate::error::Error;
use crate::literal;

/// A name that an attribute knows, and how its value is written.
pub(crate) type Known = (&'static str, &'static str);

pub(crate) const CRATE: Known = (
    "crate",
    "write a string with a path, as in `crate = \"my_crate::preemptive\"`",
);

/// An argument that has a known name, for the first time, and some value.
pub(crate) struct Argument {
    pub(crate) name: &'static str,
    usage: &'static str,
    value: Vec<TokenTree>,
}

impl Argument {
    /// The source and the span of the value, if that is one literal.
    pub(crate) fn literal(&self) -> Result<(String, Span), Error> {
        sole_literal(&self.value).ok_or_else(|| self.wrong_kind())
    }

    /// The text and the span of the value, if that is a string.
    pub(crate) fn string(&self) -> Result<(String, Span), Error> {
        let (source, span) = self.literal()?;
        let text = literal::string(&source).ok_or_else(|| self.wrong_kind())?;
        Ok((text.to_owned(), span))
    }

    pub(crate) fn bool(&self) -> Result<bool, Error> {
        Ok(self.bool_token()?.to_string() == "true")
    }

    /// `true` or `false`, with its span.
    pub(crate) fn bool_token(&self) -> Result<Ident, Error> {
        match sole(&self.value) {
            Some(TokenTree::Ident(ident)) if ["true", "false"].contains(&&*ident.to_string()) => {
                Ok(ident)
            }
            _ => Err(self.wrong_kind()),
        }
    }

    /// The path in the value of `crate`.
    pub(crate) fn path(&self) -> Result<TokenStream, Error> {
        let (text, span) = self.string()?;
        let Some((global, segments)) = literal::path(&text) else {
            let usage = self.usage;
            let text = format!("`{text}` is not the path of a crate or module: {usage}");
            return Err(Error::at(span, text));
        };
        Ok(path(global, &segments, span))
    }

    pub(crate) fn wrong_kind(&self) -> Error {
        let Self { name, usage, value } = self;
        Error::over(
            value,
            format!("the value of `{name}` is of the wrong kind: {usage}"),
        )
    }
}

/// Hands each argument in `tokens` to `set`: an error does not hide the next one.
pub(crate) fn parse(
    tokens: TokenStream,
    known: &[Known],
    mut set: impl FnMut(&Argument) -> Result<(), Error>,
) -> Vec<Error> {
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
            _ => parse_one(piece, known, &mut seen).and_then(|argument| set(&argument)),
        };
        errors.extend(parsed.err());
    }
    errors
}

fn parse_one(
    piece: &[TokenTree],
    known: &[Known],
    seen: &mut Vec<&'static str>,
) -> Result<Argument, Error> {
    let TokenTree::Ident(ident) = &piece[0] else {
        let text = format!("expected `name = value`: the names are {}", names(known));
        return Err(Error::over(piece, text));
    };
    let name = ident.to_string();
    let Some(&(name, usage)) = known.iter().find(|(known, _)| *known == name) else {
        let known = names(known);
        let text = format!("unknown argument `{name}`: the known ones are {known}");
        return Err(Error::at(ident.span(), text));
    };
    if seen.contains(&name) {
        let text = format!("duplicate argument `{name}`: keep one of them");
        return Err(Error::at(ident.span(), text));
    }
    seen.push(name);
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
    if let [first, next @ TokenTree::Ident(_), ..] = value
        && (matches!(first, TokenTree::Literal(_)) || is_bool(first))
    {
        return Err(Error::at(
            next.span(),
            "expected a `,` before this argument",
        ));
    }
    Ok(Argument {
        name,
        usage,
        value: value.to_vec(),
    })
}

/// The names in the words of an error.
fn names(known: &[Known]) -> String {
    let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')
}

fn is_bool(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Ident(ident) if ["true", "false"].contains(&&*ident.to_string()))
}

/// The source and the span of the literal that `value` is.
fn sole_literal(value: &[TokenTree]) -> Option<(String, Span)> {
    match sole(value)? {
        TokenTree::Literal(literal) => Some((literal.to_string(), literal.span())),
        _ => None,
    }
}

/// The token that `value` is, also where a `macro_rules!` macro passed it on in an invisible group.
fn sole(value: &[TokenTree]) -> Option<TokenTree> {
    match value {
        [TokenTree::Group(group)] if group.delimiter() == Delimiter::None => {
            sole(&group.stream().into_iter().collect::<Vec<_>>())
        }
        [token] => Some(token.clone()),
        _ => None,
    }
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
