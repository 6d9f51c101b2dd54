//! What the attributes accept. Built with every warning an error.

#![deny(warnings, unused, unused_qualifications)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![cfg_attr(not(test), allow(dead_code, reason = "it is the tests that use all of it"))]
#![allow(clippy::unused_async, reason = "these bodies are about their signatures")]
#![allow(clippy::missing_const_for_fn, reason = "so is the stub")]

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use preemptive::runtime::{Builder, last};

fn built(worker_threads: Option<usize>, time_slice: Option<Duration>) -> Builder {
    Builder { worker_threads, time_slice, all: true, ..Builder::default() }
}

fn built_here(start_paused: Option<bool>) -> Builder {
    Builder { current_thread: true, start_paused, ..built(None, None) }
}

#[preemptive::main]
async fn main() {
    assert_eq!(last(), built(None, None));
}

#[preemptive::main(worker_threads = 0x1_0usize, time_slice = "1ms", flavor = "multi_thread",)]
async fn every_argument() -> Builder {
    std::future::ready(()).await;
    last()
}

#[preemptive::main(flavor = "current_thread", start_paused = true)]
async fn paused() -> Builder {
    last()
}

#[preemptive::main(flavor = "current_thread")]
async fn current_thread() -> Builder {
    last()
}

mod renamed {
    pub use preemptive::runtime;
}

#[preemptive::main(crate = "crate::renamed", time_slice = r"50 µs")]
async fn another_path() -> Builder {
    last()
}

/// As much of Tokio as an expansion calls.
mod reactor {
    pub mod runtime {
        use preemptive::runtime::note_drop;
        use std::cell::Cell;

        thread_local! {
            static ENTERED: Cell<usize> = const { Cell::new(0) };
        }

        pub fn entered() -> usize {
            ENTERED.get()
        }

        #[derive(Debug)]
        pub struct Builder(usize);

        impl Builder {
            pub const fn new_multi_thread() -> Self {
                Self(0)
            }

            pub const fn worker_threads(&mut self, threads: usize) -> &mut Self {
                self.0 = threads;
                self
            }

            pub const fn enable_all(&mut self) -> &mut Self {
                self
            }

            pub fn build(&mut self) -> std::io::Result<Runtime> {
                assert_eq!(self.0, 1);
                Ok(Runtime(Handle))
            }
        }

        #[derive(Debug)]
        pub struct Runtime(Handle);

        impl Runtime {
            pub const fn handle(&self) -> &Handle {
                &self.0
            }

            pub fn spawn<F: Future + Send + 'static>(&self, future: F) {
                drop(future);
            }

            pub fn enter(&self) -> Entered {
                self.0.enter()
            }
        }

        impl Drop for Runtime {
            fn drop(&mut self) {
                note_drop("tokio");
            }
        }

        #[derive(Clone, Debug)]
        pub struct Handle;

        impl Handle {
            pub fn enter(&self) -> Entered {
                ENTERED.set(ENTERED.get() + 1);
                Entered
            }
        }

        #[derive(Debug)]
        pub struct Entered;

        impl Drop for Entered {
            fn drop(&mut self) {
                ENTERED.set(ENTERED.get() - 1);
            }
        }
    }
}

#[preemptive::main(beside = "crate::reactor", worker_threads = 2)]
async fn beside() -> (Builder, usize) {
    (last(), reactor::runtime::entered())
}

#[preemptive::main]
async fn fails() -> Result<u32, Box<dyn Error>> {
    Ok("x".parse::<u32>()?)
}

// Each of these coerces because the return type is known.
#[preemptive::main]
async fn coerces(early: bool) -> Box<dyn Display> {
    if early {
        return Box::new(1);
    }
    Box::new("late")
}

#[preemptive::main]
async fn ends_in_a_panic() -> u32 {
    panic!("on purpose")
}

#[preemptive::main]
pub(crate) async fn generic<T, const N: usize>(text: &[T; N], mut count: usize) -> String
where
    T: Clone + Display,
{
    count += 1;
    format!("{}{}", text[0].clone(), N + count)
}

#[preemptive::main]
async fn some_display(value: &u32) -> impl Display {
    *value
}

#[preemptive::main]
async fn nested_impl(value: u32) -> Option<impl Display> {
    Some(value)
}

/// With a comment, and attributes inside and out.
#[preemptive::main]
async fn attributes() {
    #![allow(unused_variables, reason = "to see that this stays in place")]
    let unused = 1;
}

#[preemptive::main]
async fn empty() {}

struct Number(u32);

impl Number {
    #[preemptive::main]
    async fn get(&self) -> &u32 {
        &self.0
    }
}

// The expansion's own variables are not the user's.
const fn body() -> u32 {
    7
}

#[preemptive::main]
async fn hygiene() -> u32 {
    let output = body();
    output * body()
}

macro_rules! make {
    ($vis:vis $name:ident, $threads:literal, $slice:expr, $output:ty, $body:block) => {
        #[preemptive::main(worker_threads = $threads, time_slice = $slice)]
        $vis async fn $name() -> $output $body
    };
    ($item:item) => {
        #[preemptive::main]
        $item
    };
}

#[preemptive::main]
async fn one_line() -> u32 { 1 }

make!(made, 3, "2s", Builder, { last() });
make! {
    async fn whole_item() -> Builder {
        last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_builder() {
        assert_eq!(every_argument(), built(Some(16), Some(Duration::from_millis(1))));
        assert_eq!(paused(), built_here(Some(true)));
        assert_eq!(current_thread(), built_here(None));
        assert_eq!(another_path(), built(None, Some(Duration::from_micros(50))));
        assert_eq!(made(), built(Some(3), Some(Duration::from_secs(2))));
        assert_eq!(whole_item(), built(None, None));
        main();
        attributes();
        empty();
    }

    #[test]
    fn another_runtime_is_entered_here_and_in_the_hook_and_ends_last() {
        preemptive::runtime::take_drops();
        let (builder, entered) = beside();
        assert_eq!(builder, Builder { hooks: 1, ..built(Some(2), None) });
        // The stub runs the hook once, when it is set.
        assert_eq!((entered, reactor::runtime::entered()), (2, 1));
        assert_eq!(preemptive::runtime::take_drops(), ["preemptive", "tokio"]);
    }

    #[test]
    fn bodies_return() {
        assert!(fails().is_err());
        assert_eq!(coerces(true).to_string(), "1");
        assert_eq!(coerces(false).to_string(), "late");
        assert_eq!(generic(&["a", "b"], 1), "a4");
        assert_eq!(some_display(&5).to_string(), "5");
        assert_eq!(nested_impl(6).unwrap().to_string(), "6");
        assert_eq!(Number(7).get(), &7);
        assert_eq!(hygiene(), 49);
        assert_eq!(one_line(), 1);
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn bodies_panic() {
        ends_in_a_panic();
    }

    #[preemptive::test]
    async fn of_this_thread_by_default() {
        assert_eq!(last(), built_here(None));
    }

    #[preemptive::test(flavor = "multi_thread")]
    async fn of_many_threads() {
        assert_eq!(last(), built(None, None));
    }

    #[preemptive::test(worker_threads = 4, time_slice = "100us")]
    async fn four_workers() -> Result<(), Box<dyn Error>> {
        let four: usize = "4".parse()?;
        assert_eq!(last(), built(Some(four), Some(Duration::from_micros(100))));
        Ok(())
    }

    #[preemptive::test(start_paused = true)]
    async fn paused_implies_its_flavour() {
        assert_eq!(last(), built_here(Some(true)));
    }

    #[preemptive::test(start_paused = false, flavor = "current_thread")]
    async fn paused_or_not() {
        assert_eq!(last(), built_here(Some(false)));
    }

    #[preemptive::test(flavor = "current_thread")]
    async fn a_test_of_this_thread() {
        assert_eq!(last(), built_here(None));
    }

    #[preemptive::test]
    #[should_panic(expected = "on purpose")]
    async fn panics() {
        panic!("on purpose");
    }

    #[preemptive::test]
    #[ignore = "to see that it is"]
    async fn ignored() {
        panic!("it ran");
    }
}
