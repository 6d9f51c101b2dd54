//! `#[preemptive::checked]` drops what a function was given when the function itself would.
//!
//! Each function is there twice, with the attribute and without; both write down what they drop. `ui.rs` runs this file a
//! second time in edition 2021, where temporaries live longer.

mod mock;

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static LOG: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// Writes its name down when it is dropped.
struct Loud(&'static str);

impl Drop for Loud {
    fn drop(&mut self) {
        LOG.with_borrow_mut(|log| log.push(self.0));
    }
}

impl Loud {
    /// A temporary that borrows from `self`.
    fn guard(&self, name: &'static str) -> Guard<'_> {
        Guard(self, Loud(name))
    }
}

struct Guard<'a>(&'a Loud, #[allow(dead_code, reason = "for its drop")] Loud);

impl Guard<'_> {
    fn len(&self) -> usize {
        self.0.0.len()
    }
}

struct Pair {
    first: Loud,
    second: Loud,
}

fn pair(first: &'static str, second: &'static str) -> Pair {
    Pair {
        first: Loud(first),
        second: Loud(second),
    }
}

/// What `f` drops, with its panic if it has one.
fn log<R>(f: impl FnOnce() -> R) -> Vec<&'static str> {
    LOG.take();
    if panic::catch_unwind(AssertUnwindSafe(f)).is_err() {
        LOG.with_borrow_mut(|log| log.push("panicked"));
    }
    LOG.take()
}

/// A test that functions drop the same with and without the attribute. `$order` is there to be read, and to see that
/// there is something to compare; where there are two, the first is that of edition 2024.
macro_rules! same {
    ($($name:ident: $([$($order:literal),*])|+ from $call:expr, with { $($item:item)* })*) => {
        $(
            #[test]
            fn $name() {
                mod plain {
                    use super::*;
                    $(#[allow(clippy::all, clippy::pedantic, reason = "these are as odd as can be")] $item)*
                    pub(super) fn run() -> Vec<&'static str> {
                        log(|| $call)
                    }
                }
                #[preemptive_macros::checked(crate = "crate::mock")]
                mod checked {
                    use super::*;
                    $(#[allow(clippy::all, clippy::pedantic, reason = "these are as odd as can be")] $item)*
                    pub(super) fn run() -> Vec<&'static str> {
                        log(|| $call)
                    }
                }
                let plain = plain::run();
                assert!([$(&[$($order),*] as &[&str]),+].contains(&&*plain), "{plain:?}");
                let (checked, checks) = mock::checks(checked::run);
                assert_eq!(checked, plain);
                assert!(!checks.is_empty(), "nothing was checked");
            }
        )*
    };
}

same! {
    parameters_and_locals: ["local 2", "local 1", "b", "a"] from f(Loud("a"), Loud("b")), with {
        fn f(a: Loud, b: Loud) -> usize {
            let _local_1 = Loud("local 1");
            let _local_2 = Loud("local 2");
            a.0.len() + b.0.len()
        }
    }

    unused_parameters: ["local", "c", "b", "a"] from f(Loud("a"), Loud("b"), Loud("c")), with {
        fn f(_a: Loud, _: Loud, _c: Loud) {
            let _local = Loud("local");
        }
    }

    an_empty_body: ["b", "a"] from f(Loud("a"), Loud("b")), with {
        fn f(_: Loud, _b: Loud) {}
    }

    used_in_another_order: ["c", "local", "d", "b", "a"] from f(Loud("a"), Loud("b"), Loud("c"), Loud("d")), with {
        fn f(a: Loud, b: Loud, c: Loud, mut d: Loud) {
            let _local = Loud("local");
            d.0 = "d";
            drop(c);
            let _ = (&b, &a);
        }
    }

    patterns: ["y", "2, first", "x", "1, second"] from f((Loud("x"), Loud("1, second")), (Loud("2, first"), Loud("y"))), with {
        fn f((_x, _): (Loud, Loud), (_, _y): (Loud, Loud)) {}
    }

    deep_patterns: ["local", "d", "c", "b, rest", "b", "a, rest", "a"] from f(Loud("a"), [Loud("a, rest"), Loud("b")], Pair { first: Loud("c"), second: Loud("b, rest") }, Loud("d")), with {
        fn f(_a: Loud, [_, _b]: [Loud; 2], Pair { first: _c, .. }: Pair, ref _d: Loud) {
            let _local = Loud("local");
        }
    }

    bound_twice: ["b", "a"] from f((Loud("a"), 1), Loud("b")), with {
        fn f(ref _whole @ (ref _x, _): (Loud, u32), _b: Loud) {}
    }

    moved_on_one_way: ["b", "local", "a"] from f(Loud("a"), Loud("b"), true), with {
        fn f(_a: Loud, b: Loud, way: bool) {
            let _local = Loud("local");
            if way {
                drop(b);
            }
        }
    }

    not_moved_on_the_other_way: ["local", "b", "a"] from f(Loud("a"), Loud("b"), false), with {
        fn f(_a: Loud, b: Loud, way: bool) {
            let _local = Loud("local");
            if way {
                drop(b);
            }
        }
    }

    an_early_return: ["local 1", "b", "a"] from f(Loud("a"), Loud("b")), with {
        fn f(a: Loud, _b: Loud) -> usize {
            let _local_1 = Loud("local 1");
            if a.0 == "a" {
                return 1;
            }
            let _local_2 = Loud("local 2");
            2
        }
    }

    a_panic: ["local", "c", "b", "a", "panicked"] from f(Loud("a"), (Loud("b"), 1), Loud("c")), with {
        fn f(_a: Loud, (_b, _): (Loud, u32), _: Loud) {
            let _local = Loud("local");
            panic!("on purpose");
        }
    }

    the_result_stays: ["local", "b", "result"] from drop(f(Loud("result"), Loud("b"))), with {
        fn f(a: Loud, _b: Loud) -> Loud {
            let _local = Loud("local");
            a
        }
    }

    a_self_of_which_a_part_is_used: ["temporary", "local", "a", "first", "second"] from pair("first", "second").f(Loud("a")), with {
        trait F {
            fn f(self, _: Loud);
        }
        impl F for Pair {
            fn f(self, _: Loud) {
                let _local = Loud("local");
                self.second.guard("temporary").len();
            }
        }
    }

    a_self_of_which_a_part_is_moved: ["second", "local", "a", "first"] from pair("first", "second").f(Loud("a")), with {
        trait F {
            fn f(self, a: Loud);
        }
        impl F for Pair {
            fn f(self, _a: Loud) {
                let _local = Loud("local");
                drop(self.second);
            }
        }
    }

    a_self_that_is_replaced: ["first", "second", "local", "a", "third", "fourth"] from pair("first", "second").f(Loud("a")), with {
        trait F {
            fn f(self, a: Loud);
        }
        impl F for Pair {
            fn f(mut self, _a: Loud) {
                let _local = Loud("local");
                self = pair("third", "fourth");
                let _ = &self;
            }
        }
    }

    a_self_that_nobody_uses: ["local", "a", "first", "second"] from Box::new(pair("first", "second")).f(Loud("a")), with {
        trait F {
            fn f(self: Box<Self>, a: Loud);
        }
        impl F for Pair {
            fn f(self: Box<Self>, _a: Loud) {
                let _local = Loud("local");
            }
        }
    }

    a_default_method: ["b", "a", "self"] from Loud("self").f(Loud("a"), Loud("b")), with {
        trait F: Sized {
            fn f(self, _a: Loud, _: Loud) {}
        }
        impl F for Loud {}
    }

    what_closures_capture: ["captured", "b", "a"] from f(Loud("a"), Loud("b"), { let captured = Loud("captured"); move || captured.0.len() }), with {
        fn f(_a: Loud, _b: Loud, c: impl Fn() -> usize) -> usize {
            c()
        }
    }

    functions_that_stay: ["local", "b", "a"] from f(Loud("a"), Loud("b")), with {
        #[track_caller]
        fn f(_a: Loud, _: Loud) {
            let _local = Loud("local");
        }
    }

    temporaries_of_the_last_expression: ["temporary", "local", "b", "a"] | ["local", "temporary", "b", "a"] from f(Loud("a"), Loud("b")), with {
        fn f(a: Loud, _b: Loud) -> usize {
            let _local = Loud("local");
            a.guard("temporary").len()
        }
    }

    temporaries_without_parameters: ["inner", "outer", "local"] | ["local", "inner", "outer"] from f(), with {
        fn f() -> usize {
            let _local = Loud("local");
            Loud("outer").guard("inner").len()
        }
    }

    temporaries_that_borrow_self: ["temporary", "temporary of self", "a", "self"] from Loud("self").f(Loud("a")), with {
        trait F {
            fn f(self, a: Loud) -> usize;
        }
        impl F for Loud {
            fn f(self, a: Loud) -> usize {
                self.guard("temporary of self").len() + a.guard("temporary").len()
            }
        }
    }
}
