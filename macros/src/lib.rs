//! The attributes of the `preemptive` executor. Use them through that crate, which re-exports them.

mod arguments;
mod checked;
mod error;
mod expand;
mod function;
mod list;
mod literal;
mod time_slice;

use proc_macro::TokenStream;

use crate::expand::{Attribute, expand};

/// Runs an `async fn` on a runtime of its own.
///
/// The function becomes an ordinary one: each call builds a multi-thread runtime with everything
/// enabled, blocks on the body, and returns what the body returned.
///
/// ```
/// #[preemptive::main]
/// async fn main() {
///     println!("hello");
/// }
/// ```
///
/// It need not be called `main`. A function of another name may have parameters, also generic ones.
///
/// # Arguments
///
/// Each is written `name = value`, in any order, and left to the runtime's `Builder` when absent.
///
/// | name | value | meaning |
/// |---|---|---|
/// | `worker_threads` | an integer, 1 or more | how many threads run tasks |
/// | `time_slice` | a string: a whole number, then `us`, `µs`, `ms` or `s`; from `"50us"` to `"10s"` | how long a preempted poll goes on while other preempted polls wait |
/// | `crate` | a string: a path | where the `preemptive` crate is, if not at `::preemptive` |
/// | `flavor` | `"multi_thread"` | nothing: the attributes build no other flavour; it is accepted so that Tokio's attribute can be kept |
///
/// ```
/// #[preemptive::main(worker_threads = 2, time_slice = "500us")]
/// async fn main() -> Result<(), std::num::ParseIntError> {
///     let answer: u32 = "42".parse()?;
///     assert_eq!(answer, 42);
///     Ok(())
/// }
/// ```
///
/// What the attribute does, by hand:
///
/// ```
/// use std::time::Duration;
///
/// fn main() {
///     preemptive::runtime::Builder::new_multi_thread()
///         .worker_threads(2)
///         .time_slice(Duration::from_micros(500))
///         .enable_all()
///         .build()
///         .expect("failed building the preemptive runtime")
///         .block_on(async {
///             println!("hello");
///         })
/// }
/// ```
///
/// # Panics
///
/// The function panics if the runtime cannot be built, say because the system refuses a thread.
///
/// # Errors
///
/// A wrong use is a compile error at the token that is wrong.
///
/// The function is not `async`:
///
/// ```compile_fail
/// #[preemptive::main]
/// fn main() {}
/// ```
///
/// A function called `main` has parameters:
///
/// ```compile_fail
/// #[preemptive::main]
/// async fn main(name: String) {}
/// ```
///
/// An argument is unknown, there twice, without a value, or of the wrong kind:
///
/// ```compile_fail
/// #[preemptive::main(workers = 2)]
/// async fn main() {}
/// ```
///
/// ```compile_fail
/// #[preemptive::main(worker_threads = 2, worker_threads = 4)]
/// async fn main() {}
/// ```
///
/// ```compile_fail
/// #[preemptive::main(worker_threads)]
/// async fn main() {}
/// ```
///
/// ```compile_fail
/// #[preemptive::main(worker_threads = "2")]
/// async fn main() {}
/// ```
///
/// A value is out of range:
///
/// ```compile_fail
/// #[preemptive::main(worker_threads = 0)]
/// async fn main() {}
/// ```
///
/// ```compile_fail
/// #[preemptive::main(time_slice = "10us")]
/// async fn main() {}
/// ```
///
/// The flavour is the other one, which `runtime::Builder::new_current_thread` builds:
///
/// ```compile_fail
/// #[preemptive::main(flavor = "current_thread")]
/// async fn main() {}
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Main, arguments, item)
}

/// Makes an `async fn` a test, run on a runtime of its own.
///
/// The runtime has one worker thread unless `worker_threads` says otherwise. `#[ignore]`,
/// `#[should_panic]` and a `Result` as the return type work as with `#[test]`.
///
/// ```
/// #[preemptive::test]
/// async fn adds() {
///     assert_eq!(1 + 1, 2);
/// }
///
/// #[preemptive::test(worker_threads = 4, time_slice = "100us")]
/// async fn parses() -> Result<(), std::num::ParseIntError> {
///     let _: u32 = "42".parse()?;
///     Ok(())
/// }
/// ```
///
/// # Arguments
///
/// Those of [`main`](macro@main).
///
/// # Panics
///
/// The test fails if the runtime cannot be built.
///
/// # Errors
///
/// A wrong use is a compile error at the token that is wrong, as with [`main`](macro@main). A test
/// has no parameters:
///
/// ```compile_fail
/// #[preemptive::test]
/// async fn adds(one: u32) {}
/// ```
///
/// And it is a test only once:
///
/// ```compile_fail
/// #[preemptive::test]
/// #[test]
/// async fn adds() {}
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Test, arguments, item)
}

/// Puts a check at the entry of functions and at the head of their loops.
#[proc_macro_attribute]
pub fn checked(arguments: TokenStream, item: TokenStream) -> TokenStream {
    checked::expand(arguments, item)
}
