//! The arguments of `checked`.

use proc_macro2::{Literal, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::Stmt;

use super::size;
use crate::error::Error;
use crate::list::{self, Argument, Known};

const KNOWN: &[Known] = &[
    ("loops", "write `loops = true` or `loops = false`"),
    (
        "red_zone",
        "write a string of a whole number and a unit, as in `red_zone = \"64KiB\"`",
    ),
    list::CRATE,
];

pub(super) struct Options {
    /// Whether loops are checked.
    pub(super) loops: bool,
    /// In bytes; 0 leaves it to the runtime.
    red_zone: usize,
    /// The path of the `preemptive` crate.
    path: TokenStream,
}

/// Parses all of `tokens`: an error does not hide the next one.
pub(super) fn parse(tokens: proc_macro::TokenStream) -> (Options, Vec<Error>) {
    let mut options = Options {
        loops: true,
        red_zone: 0,
        path: quote_spanned!(Span::mixed_site()=> ::preemptive),
    };
    let errors = list::parse(tokens, KNOWN, |argument| set(&mut options, argument));
    (options, errors)
}

fn set(options: &mut Options, argument: &Argument) -> Result<(), Error> {
    match argument.name {
        "loops" => options.loops = argument.bool()?,
        "red_zone" => {
            let (text, span) = argument.string()?;
            options.red_zone = size::parse(&text).map_err(|error| Error::at(span, error))?;
        }
        _ => options.path = argument.path()?.into(),
    }
    Ok(())
}

impl Options {
    /// The statement that checks and goes on, where `place` is.
    pub(super) fn safepoint(&self, place: Span) -> Stmt {
        let (path, span) = (self.path(place), generated(place));
        let call = quote_spanned!(span=> #path::safepoint());
        Stmt::Expr(
            syn::Expr::Verbatim(call),
            Some(syn::token::Semi { spans: [span] }),
        )
    }

    /// The function that checks and then calls its argument, on this stack or on another one.
    pub(super) fn enter(&self, place: Span) -> TokenStream {
        let (path, span) = (self.path(place), generated(place));
        let mut red_zone = Literal::usize_unsuffixed(self.red_zone);
        red_zone.set_span(span);
        quote_spanned!(span=> #path::__private::enter::<#red_zone, _>)
    }

    /// The path of the crate. The line of a call is that of its path, and it shows in backtraces.
    fn path(&self, place: Span) -> TokenStream {
        let tokens = self.path.clone().into_iter();
        let tokens = tokens.map(|mut token: TokenTree| {
            token.set_span(token.span().located_at(place));
            token
        });
        quote!(#(#tokens)*)
    }
}

/// The span of generated code. Its names are invisible to the user's code, and lints know that nobody wrote it.
pub(super) fn generated(place: Span) -> Span {
    Span::mixed_site().located_at(place)
}
