//! The function under an attribute, taken apart as far as the expansion needs.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// `attributes` `head` `async` `fn` `name` `generics` `parameters` `tail` `body`.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    /// The visibility, and the qualifiers other than `async`.
    pub(crate) head: Vec<TokenTree>,
    pub(crate) asyncness: Option<Span>,
    pub(crate) keyword: TokenTree,
    pub(crate) name: Ident,
    pub(crate) generics: Vec<TokenTree>,
    pub(crate) parameters: Group,
    /// The return type with its arrow, and the `where` clause.
    pub(crate) tail: Vec<TokenTree>,
    pub(crate) body: Group,
}

/// An outer attribute: a `#`, and the group in brackets.
pub(crate) struct Attribute {
    pub(crate) tokens: [TokenTree; 2],
}

/// Why an item is no such function, and the token that shows it.
pub(crate) enum Refusal {
    NotAFunction(Span),
    NoBody(Span),
}

impl Function {
    pub(crate) fn parse(item: TokenStream) -> Result<Self, Refusal> {
        let tokens = visible(item);
        let end = tokens.last().map_or_else(Span::call_site, TokenTree::span);
        let mut rest = &tokens[..];

        let mut attributes = Vec::new();
        while let [hash, group @ TokenTree::Group(_), after @ ..] = rest
            && is_punct(hash, '#')
        {
            attributes.push(Attribute {
                tokens: [hash.clone(), group.clone()],
            });
            rest = after;
        }

        let mut head = Vec::new();
        let mut asyncness = None;
        match rest {
            [vis @ TokenTree::Group(group), after @ ..] if group.delimiter() == Delimiter::None => {
                head.push(vis.clone());
                rest = after;
            }
            [vis, TokenTree::Group(group), after @ ..]
                if is_ident(vis, "pub") && group.delimiter() == Delimiter::Parenthesis =>
            {
                head.extend([vis.clone(), group.clone().into()]);
                rest = after;
            }
            [vis, after @ ..] if is_ident(vis, "pub") => {
                head.push(vis.clone());
                rest = after;
            }
            _ => {}
        }
        let first = rest.first().map_or(end, TokenTree::span);
        loop {
            match rest {
                [token, after @ ..] if is_ident(token, "async") => {
                    asyncness = Some(token.span());
                    rest = after;
                }
                [token, abi @ TokenTree::Literal(_), after @ ..] if is_ident(token, "extern") => {
                    head.extend([token.clone(), abi.clone()]);
                    rest = after;
                }
                [token, after @ ..]
                    if ["const", "unsafe", "extern"]
                        .iter()
                        .any(|word| is_ident(token, word)) =>
                {
                    head.push(token.clone());
                    rest = after;
                }
                _ => break,
            }
        }
        let [keyword, TokenTree::Ident(name), signature @ ..] = rest else {
            return Err(Refusal::NotAFunction(first));
        };
        if !is_ident(keyword, "fn") {
            return Err(Refusal::NotAFunction(first));
        }

        let (generics, rest) = signature.split_at(generics_len(signature));
        let [TokenTree::Group(parameters), tail @ .., last] = rest else {
            return Err(Refusal::NoBody(end));
        };
        let Some(body) = braces(last) else {
            return Err(Refusal::NoBody(end));
        };
        Ok(Self {
            attributes,
            head,
            asyncness,
            keyword: keyword.clone(),
            name: name.clone(),
            generics: generics.to_vec(),
            parameters: parameters.clone(),
            tail: tail.to_vec(),
            body,
        })
    }

    /// The return type, empty if none is written.
    pub(crate) fn output(&self) -> &[TokenTree] {
        match &self.tail[..] {
            [dash, angle, output @ ..] if is_punct(dash, '-') && is_punct(angle, '>') => {
                let clause = output.iter().position(|token| is_ident(token, "where"));
                &output[..clause.unwrap_or(output.len())]
            }
            _ => &[],
        }
    }

    /// The body's inner attributes, and the rest of it.
    pub(crate) fn split_body(&self) -> (TokenStream, Group) {
        let tokens: Vec<TokenTree> = self.body.stream().into_iter().collect();
        let mut rest = &tokens[..];
        while let [hash, bang, TokenTree::Group(_), after @ ..] = rest
            && is_punct(hash, '#')
            && is_punct(bang, '!')
        {
            rest = after;
        }
        let attributes = tokens[..tokens.len() - rest.len()]
            .iter()
            .cloned()
            .collect();
        let mut body = Group::new(Delimiter::Brace, rest.iter().cloned().collect());
        // As if generated: the expansion nests these braces, and the compiler has a lint on that.
        body.set_span(Span::mixed_site().located_at(self.body.span()));
        (attributes, body)
    }
}

impl Attribute {
    /// Whether this is the standard library's `test`, by its short or its full path.
    pub(crate) fn is_test(&self) -> bool {
        let TokenTree::Group(group) = &self.tokens[1] else {
            return false;
        };
        let path: String = visible(group.stream())
            .iter()
            .map(ToString::to_string)
            .collect();
        let path = path.strip_prefix("::").unwrap_or(&path);
        matches!(
            path,
            "test" | "core::prelude::v1::test" | "std::prelude::v1::test"
        )
    }
}

/// The tokens of `stream`, out of the invisible group that a `macro_rules!` macro may have put
/// around them.
fn visible(stream: TokenStream) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    match &tokens[..] {
        [TokenTree::Group(group)] if group.delimiter() == Delimiter::None => {
            visible(group.stream())
        }
        _ => tokens,
    }
}

fn braces(token: &TokenTree) -> Option<Group> {
    let TokenTree::Group(group) = token else {
        return None;
    };
    match group.delimiter() {
        Delimiter::Brace => Some(group.clone()),
        Delimiter::None => match &visible(group.stream())[..] {
            [token] => braces(token),
            _ => None,
        },
        _ => None,
    }
}

/// How many of `tokens`, from the first on, are a list in angle brackets.
fn generics_len(tokens: &[TokenTree]) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        let arrow = index > 0 && is_punct(&tokens[index - 1], '-');
        if is_punct(token, '<') {
            depth += 1;
        } else if is_punct(token, '>') && !arrow {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return if index == 0 { 0 } else { index + 1 };
        }
    }
    0
}

pub(crate) fn is_ident(token: &TokenTree, text: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == text)
}

pub(crate) fn is_punct(token: &TokenTree, symbol: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == symbol)
}
