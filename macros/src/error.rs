//! Errors of use, and how the compiler comes to show them.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// A sentence, and the tokens it is about.
pub(crate) struct Error {
    first: Span,
    last: Span,
    text: String,
}

impl Error {
    pub(crate) fn at(span: Span, text: impl Into<String>) -> Self {
        Self {
            first: span,
            last: span,
            text: text.into(),
        }
    }

    /// Points from the first of `tokens` to the last; there must be one.
    pub(crate) fn over(tokens: &[TokenTree], text: impl Into<String>) -> Self {
        Self {
            first: tokens[0].span(),
            last: tokens[tokens.len() - 1].span(),
            text: text.into(),
        }
    }

    /// `::core::compile_error! { "text" }`.
    ///
    /// The compiler points from the invocation's first token to its last, which is how spans that
    /// cannot be joined on stable Rust come out as one.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let punct = |symbol, spacing| {
            let mut punct = Punct::new(symbol, spacing);
            punct.set_span(self.first);
            TokenTree::from(punct)
        };
        let mut text = Literal::string(&self.text);
        text.set_span(self.last);
        let mut arguments = Group::new(Delimiter::Brace, TokenTree::from(text).into());
        arguments.set_span(self.last);
        TokenStream::from_iter([
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            Ident::new("core", self.first).into(),
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            Ident::new("compile_error", self.first).into(),
            punct('!', Spacing::Alone),
            arguments.into(),
        ])
    }
}
