//! `checked`: from an item to the same item with checks in it.

mod cover;
mod function;
mod options;
mod size;

use proc_macro::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Item};

use crate::error::Error;
use crate::function::{Function, Refusal};

use self::cover::Cover;
use self::options::Options;

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    // The item is there whatever is wrong: its absence would be one more error.
    let (options, mut errors) = options::parse(arguments);
    let expansion = match syn::parse::<Item>(item.clone()) {
        Ok(parsed) => match check(&options, parsed, &item) {
            Ok(checked) => checked.into_token_stream().into(),
            Err(error) => {
                errors.push(error);
                item
            }
        },
        // The compiler has parsed the item, so this is syntax that is newer than the parser used here.
        Err(error) => {
            let text = format!("`#[preemptive::checked]` cannot read this item: {error}");
            errors.push(Error::at(error.span().unwrap(), text));
            item
        }
    };
    errors
        .into_iter()
        .map(Error::into_tokens)
        .chain([expansion])
        .collect()
}

fn check(options: &Options, mut item: Item, tokens: &TokenStream) -> Result<Item, Error> {
    match &mut item {
        Item::Fn(function) => {
            once(&function.attrs)?;
            if let Some(reason) = function::refuse(&function.attrs, &function.sig) {
                return Err(over(reason.tokens, reason.text));
            }
            Cover::function(options).item_fn(function);
        }
        Item::Impl(block) => {
            once(&block.attrs)?;
            Cover::all(options).item_impl(block);
        }
        Item::Trait(definition) => {
            once(&definition.attrs)?;
            Cover::all(options).item_trait(definition);
        }
        Item::Mod(module) if module.content.is_some() => {
            once(&module.attrs)?;
            Cover::all(options).item_mod(module);
        }
        _ => return Err(wrong_item(tokens)),
    }
    Ok(item)
}

/// Refuses a second `checked` on the same item.
fn once(attributes: &[Attribute]) -> Result<(), Error> {
    let Some(second) = attributes.iter().find(|attribute| is_own(attribute)) else {
        return Ok(());
    };
    let text = "`#[preemptive::checked]` is there twice: keep one of them";
    Err(over(second.to_token_stream(), text))
}

fn over(tokens: proc_macro2::TokenStream, text: &str) -> Error {
    let tokens: Vec<TokenTree> = TokenStream::from(tokens).into_iter().collect();
    Error::over(&tokens, text)
}

/// Whether this is `checked`, by whatever path. What it resolves to is not known to a macro.
fn is_own(attribute: &Attribute) -> bool {
    let segments = &attribute.path().segments;
    segments
        .last()
        .is_some_and(|segment| segment.ident == "checked")
}

fn wrong_item(tokens: &TokenStream) -> Error {
    let (span, text) = match Function::parse(tokens.clone()) {
        Err(Refusal::NoBody(span)) => (span, "needs a function with a body"),
        Err(Refusal::NotAFunction(span)) => (
            span,
            "goes on a function, an `impl` block, a trait or a module in braces",
        ),
        Ok(_) => (Span::call_site(), "cannot read this function"),
    };
    Error::at(span, format!("`#[preemptive::checked]` {text}"))
}
