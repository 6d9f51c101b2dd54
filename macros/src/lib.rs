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
/// The function becomes an ordinary one: each call builds a runtime (a multi-thread one, unless told
/// otherwise) with everything enabled, blocks on the body, and returns what the body returned.
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
/// | `flavor` | `"multi_thread"`, which is the default, or `"current_thread"` | whether tasks run on threads of their own, or on the one that calls |
/// | `worker_threads` | an integer, 1 or more; not with `"current_thread"` | how many threads run tasks |
/// | `time_slice` | a string: a whole number, then `us`, `µs`, `ms` or `s`; from `"50us"` to `"10s"` | how long a preempted poll goes on while other preempted polls wait |
/// | `crate` | a string: a path | where the `preemptive` crate is, if not at `::preemptive` |
/// | `start_paused` | `true` or `false`; with `"current_thread"` only | whether the clock stands still from the start |
/// | `beside` | `"tokio"`, or another path of that crate | a runtime of Tokio's, for its I/O and timers: see below |
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
/// A clock that was paused goes to the next deadline when there is nothing else to do:
///
/// ```
/// use preemptive::time::{Duration, Instant, sleep};
///
/// #[preemptive::main(flavor = "current_thread", start_paused = true)]
/// async fn main() {
///     let start = Instant::now();
///     sleep(Duration::from_secs(3600)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(3600));
/// }
/// ```
///
/// # Beside Tokio
///
/// With `beside = "tokio"`, `tokio::{net, time, fs, process, signal}` work in the function and in all tasks: a
/// runtime of Tokio's with one thread is made first, every thread identity enters it once, and no poll pays for it. It ends
/// after this runtime. The `tokio` crate is the caller's own, with its feature `rt-multi-thread`; this crate does not
/// depend on it. `tokio::spawn` goes to that one thread, where tasks are *not* preemptible: use `preemptive::spawn`.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
///
/// #[preemptive::main(beside = "tokio")]
/// async fn main() -> std::io::Result<()> {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let address = listener.local_addr()?;
///     let server = preemptive::spawn(async move {
///         let (mut socket, _) = listener.accept().await?;
///         socket.write_all(b"hello").await
///     });
///     let mut text = String::new();
///     TcpStream::connect(address).await?.read_to_string(&mut text).await?;
///     assert_eq!(text, "hello");
///     server.await?
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
/// The flavour does not have what an argument is about:
///
/// ```compile_fail
/// #[preemptive::main(start_paused = true)]
/// async fn main() {}
/// ```
///
/// ```compile_fail
/// #[preemptive::main(flavor = "current_thread", worker_threads = 2)]
/// async fn main() {}
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(Attribute::Main, arguments, item)
}

/// Makes an `async fn` a test, run on a runtime of its own.
///
/// The runtime is of the current-thread flavour, as Tokio's is, unless `flavor` or `worker_threads`
/// says otherwise. `#[ignore]`, `#[should_panic]` and a `Result` as the return type work as with
/// `#[test]`.
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
/// Those of [`main`](macro@main). The flavour is `"current_thread"` by default, or `"multi_thread"` where there are
/// `worker_threads`.
///
/// ```
/// use preemptive::time::{Duration, sleep, timeout};
///
/// #[preemptive::test(start_paused = true)]
/// async fn gives_up_after_a_day() {
///     let day = Duration::from_secs(86_400);
///     assert!(timeout(day, sleep(2 * day)).await.is_err());
/// }
/// ```
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
///
/// A check is a load and a comparison. It finds out whether somebody waits for the processor, as
/// `preemptive::safepoint()` does. At an entry it also finds out whether the stack has less than the
/// *red zone* left; if so, the function's body runs on a new segment of stack, which goes when the
/// function returns. So recursion is bounded by memory, not by the size of a stack.
///
/// ```
/// #[preemptive::checked]
/// fn depth(n: u64) -> u64 {
///     if n == 0 { 0 } else { 1 + depth(n - 1) }
/// }
///
/// assert_eq!(depth(1_000), 1_000);
/// ```
///
/// Preemption needs no checks. They are for deep recursion, and for giving way where it is cheap: a
/// function call rather than a signal.
///
/// # Where
///
/// | on | is checked |
/// |---|---|
/// | a function or method | its entry and its loops, those in its closures and `async` blocks included; no items in its body |
/// | an `impl` block | all its functions, and the items in their bodies |
/// | a trait | its methods that have a default body, likewise |
/// | a module in braces | all its functions, wherever they are in it |
///
/// Loops are `for`, `while`, `while let` and `loop`. An item inside that has a `checked` of its own
/// is checked as that one says, with its arguments alone. It is known by its name: write `checked`,
/// behind whatever path.
///
/// ```
/// #[preemptive::checked(red_zone = "128KiB")]
/// mod parser {
///     pub enum Tree {
///         Leaf(u64),
///         Node(Vec<Tree>),
///     }
///
///     impl Tree {
///         pub fn sum(&self) -> u64 {
///             match self {
///                 Self::Leaf(value) => *value,
///                 Self::Node(children) => children.iter().map(Self::sum).sum(),
///             }
///         }
///
///         // Called often, and calls nothing: the check would be most of it.
///         #[preemptive::checked(loops = false)]
///         pub fn xor(values: &[u64]) -> u64 {
///             let mut result = 0;
///             for value in values {
///                 result ^= value;
///             }
///             result
///         }
///     }
/// }
///
/// use parser::Tree;
///
/// let tree = Tree::Node(vec![Tree::Leaf(1), Tree::Node(vec![Tree::Leaf(2)])]);
/// assert_eq!(tree.sum(), 3);
/// assert_eq!(Tree::xor(&[1, 2]), 3);
/// ```
///
/// # Arguments
///
/// Each is written `name = value`, in any order.
///
/// | name | value | meaning | when absent |
/// |---|---|---|---|
/// | `loops` | `true` or `false` | whether loops are checked | `true` |
/// | `red_zone` | a string: a whole number, then `B`, `KiB` or `MiB`; from `"1KiB"` to `"1024MiB"` | how much stack a body has at least: what it needs for itself, and for all that it calls up to the next checked function | the runtime's choice |
/// | `crate` | a string: a path | where the `preemptive` crate is | `::preemptive` |
///
/// # What stays where it is
///
/// These bodies do not move to another stack; their entries only find out whether to give way:
///
/// - those of `async fn`s, which cannot move at an `.await`;
/// - those of functions with `#[track_caller]`, whose location would be lost. A method that inherits
///   that attribute from its trait's declaration reports a place in itself: give it one of its own;
/// - those of functions that return `impl Fn(…)`, or the like, or `impl Future`: closures and
///   `async` blocks take their types from there. Where a trait of your own stands for such a bound,
///   the compiler may ask you for the types of a closure's parameters.
///
/// # What has no check
///
/// - What macros write: the tokens of `vec![…]`, `println!(…)` or your own `macro_rules!` are not
///   parsed, so loops in them are not seen. The item that the attribute is on may come from a macro.
/// - What the compiler runs: constants, array lengths, `const` blocks.
/// - In an `impl` block or a module: `const fn`s, naked functions, and functions with a variable
///   number of arguments. They are left as they are. (Alone they are errors, see below.)
///
/// # What else changes
///
/// - A body is a closure. Backtraces have a frame `name::{{closure}}` above that of `name`, and some
///   of the compiler's messages say "closure" for "function".
/// - Parameters are moved into it, so large ones are better passed by reference. They are dropped
///   when, and in the order in which, a function drops them.
/// - A method with `mut self` has no `unused_assignments` warnings.
///
/// # Errors
///
/// A wrong use is a compile error at the token that is wrong.
///
/// A `const fn` may run in the compiler, where a check cannot:
///
/// ```compile_fail
/// #[preemptive::checked]
/// const fn double(n: u32) -> u32 {
///     2 * n
/// }
/// ```
///
/// Only code can be checked:
///
/// ```compile_fail
/// #[preemptive::checked]
/// struct Number(u32);
/// ```
///
/// A method needs a body:
///
/// ```compile_fail
/// trait Number {
///     #[preemptive::checked]
///     fn get(&self) -> u32;
/// }
/// ```
///
/// An argument is unknown, there twice, without a value, of the wrong kind, or out of range:
///
/// ```compile_fail
/// #[preemptive::checked(stack = "64KiB")]
/// fn f() {}
/// ```
///
/// ```compile_fail
/// #[preemptive::checked(red_zone = "0KiB")]
/// fn f() {}
/// ```
///
/// # Source
///
/// Go's compiler begins nearly every function with such a check, one comparison for both purposes.
/// Its check in loops was an experiment, until signals took its place. Running on a new segment,
/// rather than on a larger copy of the stack, is what Go did before, and what the `stacker` crate
/// does where it is called.
#[proc_macro_attribute]
pub fn checked(arguments: TokenStream, item: TokenStream) -> TokenStream {
    checked::expand(arguments, item)
}
