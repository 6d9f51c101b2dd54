//! From a function and its attribute's arguments to the function that starts the runtime.

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

use crate::arguments::{self, Arguments, Flavor};
use crate::error::Error;
use crate::function::{Function, Refusal, is_ident, is_punct};
use crate::list;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Attribute {
    Main,
    Test,
}

impl Attribute {
    fn path(self) -> &'static str {
        match self {
            Self::Main => "`#[preemptive::main]`",
            Self::Test => "`#[preemptive::test]`",
        }
    }
}

pub(crate) fn expand(
    attribute: Attribute,
    arguments: TokenStream,
    item: TokenStream,
) -> TokenStream {
    // Arguments in error are left out, and the function is there all the same: a missing `main`
    // would be a second error, about nothing the user did.
    let (arguments, mut errors) = arguments::parse(attribute, arguments);
    let expansion = match Function::parse(item.clone()) {
        Ok(function) => match check(attribute, &function) {
            Ok(asyncness) => runtime(attribute, &arguments, &function, asyncness),
            Err(error) => {
                errors.push(error);
                stand_in(attribute, &function)
            }
        },
        Err(refusal) => {
            let (span, text) = match refusal {
                Refusal::NotAFunction(span) => {
                    (span, "needs an `async fn`, and this is no function")
                }
                Refusal::NoBody(span) => (span, "needs an `async fn` with a body"),
            };
            errors.push(Error::at(span, format!("{} {text}", attribute.path())));
            item
        }
    };
    errors
        .into_iter()
        .map(Error::into_tokens)
        .chain([expansion])
        .collect()
}

/// Refuses what cannot be run; otherwise returns where the `async` is.
fn check(attribute: Attribute, function: &Function) -> Result<Span, Error> {
    let Some(asyncness) = function.asyncness else {
        let text = format!(
            "{} needs an `async fn`: write `async` here",
            attribute.path()
        );
        return Err(Error::at(function.keyword.span(), text));
    };
    let (role, cure) = match attribute {
        Attribute::Test => ("test", "make them variables in its body"),
        Attribute::Main if function.name.to_string() == "main" => ("main", "see `std::env::args`"),
        // Any other function is called by the user, who can pass what it asks for.
        Attribute::Main => return Ok(asyncness),
    };
    if !function.generics.is_empty() {
        let text = format!("the {role} function cannot be generic: nothing chooses its parameters");
        return Err(Error::over(&function.generics, text));
    }
    if !function.parameters.stream().is_empty() {
        let text = format!("the {role} function cannot take arguments: {cure}");
        return Err(Error::at(function.parameters.span(), text));
    }
    if attribute == Attribute::Test
        && let Some(second) = function
            .attributes
            .iter()
            .find(|attribute| attribute.is_test())
    {
        let text = "`#[preemptive::test]` makes this a test already: remove the second `#[test]`";
        return Err(Error::over(&second.tokens, text));
    }
    Ok(asyncness)
}

/// What replaces a function in error, so that the error stays the only one.
fn stand_in(attribute: Attribute, function: &Function) -> TokenStream {
    if attribute == Attribute::Test {
        return TokenStream::new();
    }
    let name = TokenTree::from(function.name.clone());
    template("fn NAME() {}", &[("NAME", name.into())])
}

fn runtime(
    attribute: Attribute,
    arguments: &Arguments,
    function: &Function,
    asyncness: Span,
) -> TokenStream {
    let mut settings = TokenStream::new();
    let flavor = arguments.flavor(attribute);
    if let Some(threads) = &arguments.worker_threads {
        let threads = TokenTree::from(threads.clone()).into();
        settings.extend(template(
            ".worker_threads(THREADS)",
            &[("THREADS", threads)],
        ));
    }
    if let Some(nanos) = &arguments.time_slice {
        let nanos = TokenTree::from(nanos.clone()).into();
        settings.extend(template(
            ".time_slice(::core::time::Duration::from_nanos(NANOS))",
            &[("NANOS", nanos)],
        ));
    }
    if let Some(value) = &arguments.start_paused {
        let value = TokenTree::from(value.clone()).into();
        settings.extend(template(".start_paused(VALUE)", &[("VALUE", value)]));
    }
    let path = arguments
        .path
        .clone()
        .unwrap_or_else(|| list::path(true, &["preemptive"], Span::mixed_site()));
    let beside = arguments.beside.as_ref().map(|tokio| {
        settings.extend(template(
            ".on_thread_start(move || ::core::mem::forget(tokio.enter()))",
            &[],
        ));
        tokio_runtime(tokio, &path)
    });
    let new = match flavor {
        Flavor::MultiThread => template("new_multi_thread", &[]),
        Flavor::CurrentThread => template("new_current_thread", &[]),
    };

    let (inner_attributes, body) = function.split_body();
    let mut block = return_type_hint(function);
    block.extend([TokenTree::from(body)]);
    let mut block = Group::new(Delimiter::Brace, block);
    block.set_span(Span::mixed_site().located_at(function.body.span()));
    let mut keyword = proc_macro::Ident::new("async", Span::mixed_site());
    keyword.set_span(Span::mixed_site().located_at(asyncness));
    let future = TokenStream::from_iter([TokenTree::from(keyword), block.into()]);

    let body = template(
        r#"
        ATTRIBUTES
        let body = FUTURE;
        BESIDE
        let runtime = PATH::runtime::Builder::NEW()
            SETTINGS
            .enable_all()
            .build()
            .expect("failed building the preemptive runtime");
        runtime.block_on(body)
        "#,
        &[
            ("ATTRIBUTES", inner_attributes),
            ("FUTURE", future),
            ("BESIDE", beside.unwrap_or_default()),
            ("PATH", path),
            ("NEW", new),
            ("SETTINGS", settings),
        ],
    );
    let mut body = Group::new(Delimiter::Brace, body);
    body.set_span(function.body.span());

    let mut expansion = match attribute {
        Attribute::Main => TokenStream::new(),
        Attribute::Test => template("#[::core::prelude::v1::test]", &[]),
    };
    expansion.extend(
        function
            .attributes
            .iter()
            .flat_map(|attribute| attribute.tokens.clone()),
    );
    expansion.extend(function.head.iter().cloned());
    expansion.extend([function.keyword.clone(), function.name.clone().into()]);
    expansion.extend(function.generics.iter().cloned());
    expansion.extend([TokenTree::from(function.parameters.clone())]);
    expansion.extend(function.tail.iter().cloned());
    expansion.extend([TokenTree::from(body)]);
    expansion
}

/// The statements that make a runtime of Tokio's for its I/O and timers: one thread drives them, and is run soon when it is woken. The calling thread enters
/// it here, every other identity in a hook; what is declared first is dropped last.
fn tokio_runtime(tokio: &TokenStream, path: &TokenStream) -> TokenStream {
    template(
        r#"
        let beside = TOKIO::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("failed building the Tokio runtime beside the preemptive one");
        ::core::mem::drop(beside.spawn(async { PATH::runtime::prefer_latency() }));
        let _entered = beside.enter();
        let tokio = beside.handle().clone();
        "#,
        &[("TOKIO", tokio.clone()), ("PATH", path.clone())],
    )
}

/// A statement that does nothing but tell the compiler what the `async` block returns.
///
/// Such a block cannot be annotated. Without the hint its type comes from its body alone, and what
/// coerces in an `async fn` (a `Box<T>` to a `Box<dyn Trait>`, say) would not, and a mismatch would
/// be reported at the attribute rather than at the expression.
fn return_type_hint(function: &Function) -> TokenStream {
    let output = function.output();
    let output = match output {
        [] => template("()", &[]),
        [token] if is_punct(token, '!') => return TokenStream::new(),
        _ if mentions_impl(output) => return TokenStream::new(),
        _ => output.iter().cloned().collect(),
    };
    template(
        "if let ::core::option::Option::Some(output) = ::core::option::Option::<OUTPUT>::None {
            return output;
        }",
        &[("OUTPUT", output)],
    )
}

/// Whether there is an `impl Trait` in a type, so that a variable cannot have it.
fn mentions_impl(tokens: &[TokenTree]) -> bool {
    tokens.iter().any(|token| match token {
        TokenTree::Group(group) => mentions_impl(&group.stream().into_iter().collect::<Vec<_>>()),
        token => is_ident(token, "impl"),
    })
}

/// The tokens of `source`, each name in `holes` replaced.
///
/// They carry mixed-site spans: names of variables are invisible to the user's code, and lints know
/// that nobody wrote this.
fn template(source: &str, holes: &[(&str, TokenStream)]) -> TokenStream {
    let tokens = source.parse().expect("a template is valid Rust");
    fill(tokens, holes)
}

fn fill(tokens: TokenStream, holes: &[(&str, TokenStream)]) -> TokenStream {
    let mut filled = TokenStream::new();
    for mut token in tokens {
        if let Some((_, value)) = holes.iter().find(|(name, _)| is_ident(&token, name)) {
            filled.extend(value.clone());
            continue;
        }
        if let TokenTree::Group(group) = token {
            token = Group::new(group.delimiter(), fill(group.stream(), holes)).into();
        }
        token.set_span(Span::mixed_site());
        filled.extend([token]);
    }
    filled
}
