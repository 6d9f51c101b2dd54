//! The check at the entry of a function.
//!
//! ```text
//! fn f(&self, a: A, mut b: B, (c, _): C) -> Result<impl D, E> { body }
//! ```
//!
//! becomes
//!
//! ```text
//! fn f(&self, a: A, b: B, parameter_3: C) -> Result<impl D, E> {
//!     ::preemptive::__private::enter::<0, _>(move || -> Result<_, E> {
//!         let _ = &self;
//!         let a = a;
//!         let mut b = b;
//!         let parameter_3 = parameter_3;
//!         let (c, _) = parameter_3;
//!         { body }
//!     })
//! }
//! ```
//!
//! where the closure can run on another stack. The variables are there for their drops: a closure drops what it has
//! captured in no order that a function would, and captures, from a pattern or from `self`, only the parts it uses.
//! Variables are dropped in reverse, after those of the body, as parameters are; and what a pattern leaves in a parameter
//! right after what it takes. `self` is captured as a whole, and outlives them all.
//!
//! The outer braces of the closure have this crate's edition, whatever the user's is. From edition 2024 on, a block drops
//! the temporaries of its last expression before its variables; earlier ones would let those of `body` outlive the
//! parameters that they borrow from.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, Block, Expr, FnArg, Meta, Pat, PatIdent, PatType, PathArguments, ReturnType,
    Signature, Stmt, Type, TypeInfer, TypeParamBound, parse_quote_spanned,
};

use super::options::{Options, generated};

/// What keeps a function from being checked, and what to say about it.
pub(super) struct Reason {
    pub(super) tokens: TokenStream,
    pub(super) text: &'static str,
}

/// Finds functions that can have neither a call at their entry nor one in their loops.
pub(super) fn refuse(attributes: &[Attribute], signature: &Signature) -> Option<Reason> {
    if let Some(constness) = &signature.constness {
        let text = "`#[preemptive::checked]` cannot check a `const fn`, which may run in the compiler: \
                    remove the attribute";
        return Some(Reason {
            tokens: quote!(#constness),
            text,
        });
    }
    if let Some(variadic) = &signature.variadic {
        let text = "`#[preemptive::checked]` cannot check a function with a variable number of arguments: \
                    remove the attribute";
        return Some(Reason {
            tokens: quote!(#variadic),
            text,
        });
    }
    let naked = attributes
        .iter()
        .find(|attribute| mentions(attribute, "naked"))?;
    let text = "`#[preemptive::checked]` cannot check a naked function, which is all assembler: \
                remove the attribute";
    Some(Reason {
        tokens: naked.to_token_stream(),
        text,
    })
}

/// Puts the check at the head of `block`, the body of a function.
pub(super) fn enter(
    options: &Options,
    attributes: &mut Vec<Attribute>,
    signature: &mut Signature,
    block: &mut Block,
) {
    let place = block.brace_token.span.open();
    if stays(attributes, signature) {
        block.stmts.insert(0, options.safepoint(place));
        return;
    }
    let span = generated(place);
    // To the lint, what is assigned to a part of `self` is lost with the closure, whatever its destructor reads.
    if takes_mut_self(signature) {
        let reason = "`self` is captured, which this lint misreads";
        attributes.insert(
            0,
            parse_quote_spanned!(span=> #[allow(unused_assignments, reason = #reason)]),
        );
    }
    let variables: Vec<TokenStream> = signature
        .inputs
        .iter_mut()
        .enumerate()
        .map(|(index, input)| match input {
            FnArg::Receiver(receiver) => {
                let receiver = &receiver.self_token;
                quote_spanned!(span=> let _ = &#receiver;)
            }
            FnArg::Typed(parameter) => rebind(parameter, index, span),
        })
        .collect();
    let body = if variables.is_empty() {
        quote!(#block)
    } else {
        quote_spanned!(span=> { #(#variables)* #block })
    };
    let output = closure_output(&signature.output, span);
    let enter = options.enter(place);
    let call = quote_spanned!(span=> #enter(move || -> #output #body));
    block.stmts = vec![Stmt::Expr(Expr::Verbatim(call), None)];
}

/// Whether a body has to stay where it is, so that the entry only checks whether to give way.
///
/// - What awaits cannot be moved to another stack.
/// - In a closure, `#[track_caller]` would have no effect.
/// - A closure or an `async` block takes its types from the bounds of the function's `impl Fn` or `impl Future`, and
///   these bounds are not seen from within another closure.
fn stays(attributes: &[Attribute], signature: &Signature) -> bool {
    let tracks = |attribute| mentions(attribute, "track_caller");
    signature.asyncness.is_some()
        || attributes.iter().any(tracks)
        || returns_closure(&signature.output)
}

fn takes_mut_self(signature: &Signature) -> bool {
    signature
        .receiver()
        .is_some_and(|receiver| receiver.mutability.is_some())
}

/// Whether this is the attribute `name`, also as `unsafe(name)` or under a condition.
fn mentions(attribute: &Attribute, name: &str) -> bool {
    match &attribute.meta {
        Meta::Path(path) => path.is_ident(name),
        Meta::List(list) if list.path.is_ident("unsafe") || list.path.is_ident("cfg_attr") => {
            let tokens = list.tokens.clone();
            tokens.into_iter().any(|token| token.to_string() == name)
        }
        _ => false,
    }
}

/// The variables that take the place of a parameter.
fn rebind(parameter: &mut PatType, index: usize, span: Span) -> TokenStream {
    let attributes: Vec<Attribute> = parameter.attrs.iter().filter(passes_on).cloned().collect();
    // An expectation is met once.
    parameter
        .attrs
        .retain(|attribute| !attribute.path().is_ident("expect"));
    if let Pat::Ident(PatIdent {
        by_ref: None,
        mutability,
        ident,
        subpat: None,
        ..
    }) = &mut *parameter.pat
    {
        let mutability = mutability.take();
        return quote_spanned! {span=>
            #[allow(
                clippy::no_effect_underscore_binding,
                clippy::shadow_same,
                clippy::used_underscore_binding,
                reason = "generated, to drop the parameters in order"
            )]
            #(#attributes)* let #mutability #ident = #ident;
        };
    }
    let variable = format_ident!("parameter_{index}", span = span);
    let whole = Pat::Ident(PatIdent {
        attrs: Vec::new(),
        by_ref: None,
        mutability: None,
        ident: variable.clone(),
        subpat: None,
    });
    let pattern = std::mem::replace(&mut *parameter.pat, whole);
    quote_spanned! {span=>
        #(#attributes)* let #variable = #variable;
        #(#attributes)* let #pattern = #variable;
    }
}

/// Whether an attribute of a parameter is one of the variable as well.
fn passes_on(attribute: &&Attribute) -> bool {
    [
        "cfg", "cfg_attr", "allow", "expect", "warn", "deny", "forbid",
    ]
    .iter()
    .any(|name| attribute.path().is_ident(name))
}

/// What a function returns, as a closure can write it.
fn closure_output(output: &ReturnType, span: Span) -> TokenStream {
    match output {
        ReturnType::Default => quote_spanned!(span=> ()),
        ReturnType::Type(_, output) => {
            let mut output = output.clone();
            ImplToInfer(span).visit_type_mut(&mut output);
            quote!(#output)
        }
    }
}

/// Replaces every `impl Trait` by `_`.
struct ImplToInfer(Span);

impl VisitMut for ImplToInfer {
    fn visit_type_mut(&mut self, of: &mut Type) {
        if matches!(of, Type::ImplTrait(_)) {
            let underscore_token = syn::token::Underscore { spans: [self.0] };
            *of = Type::Infer(TypeInfer {
                attrs: Vec::new(),
                underscore_token,
            });
        } else {
            visit_mut::visit_type_mut(self, of);
        }
    }
}

fn returns_closure(output: &ReturnType) -> bool {
    let mut search = ClosureSearch(false);
    if let ReturnType::Type(_, output) = output {
        search.visit_type_mut(&mut output.clone());
    }
    search.0
}

/// Looks for `impl Fn(A) -> B` and `impl Future`.
struct ClosureSearch(bool);

impl VisitMut for ClosureSearch {
    fn visit_type_mut(&mut self, of: &mut Type) {
        if let Type::ImplTrait(of) = of {
            self.0 |= of.bounds.iter().any(is_closure_bound);
        }
        visit_mut::visit_type_mut(self, of);
    }
}

fn is_closure_bound(bound: &TypeParamBound) -> bool {
    let TypeParamBound::Trait(bound) = bound else {
        return false;
    };
    bound.path.segments.last().is_some_and(|last| {
        last.ident == "Future" || matches!(last.arguments, PathArguments::Parenthesized(_))
    })
}
