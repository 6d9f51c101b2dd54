//! The surface: sets of tasks, local tasks, handles, timers on a paused clock. Bodies that name no runtime are compiled
//! against Tokio and against us; what Tokio shows, we show, alone and (where nothing waits for idleness) beside hogs.

// The other files' table of bodies is not this one's.
#[allow(unused_macros, reason = "this file has a `contract` of its own")]
mod support;

/// Both interfaces have the same names, so the same text is a body for either.
macro_rules! face {
    ($name:ident, $rt:ident, $build:expr, $steady:expr) => {
        mod $name {
            use $rt as rt;

            /// A runtime with two workers.
            fn multi() -> rt::runtime::Runtime {
                $build(rt::runtime::Builder::new_multi_thread().worker_threads(2))
            }

            /// One that runs on this thread.
            fn current() -> rt::runtime::Runtime {
                $build(&mut rt::runtime::Builder::new_current_thread())
            }

            /// The same, where what is asked is the order of polls: none is stopped because the machine took the core away
            /// in its middle.
            fn steady() -> rt::runtime::Runtime {
                $build($steady(&mut rt::runtime::Builder::new_current_thread()))
            }

            pub(crate) mod join_set {
                use super::*;
                include!("surface/join_set.rs");
            }
            pub(crate) mod local {
                use super::*;
                include!("surface/local.rs");
            }
            pub(crate) mod order {
                use super::*;
                include!("surface/order.rs");
            }
            // Not all faces' clocks are paused.
            #[allow(dead_code, reason = "the crowded face has no use for it")]
            pub(crate) mod time {
                use super::*;
                include!("surface/time.rs");
            }
        }
    };
}

face!(
    oracle,
    tokio,
    |builder: &mut rt::runtime::Builder| builder.enable_all().build().expect("a runtime"),
    std::convert::identity
);
face!(
    ours,
    preemptive,
    |builder: &mut rt::runtime::Builder| { builder.enable_all().build().expect("a runtime") },
    |builder| rt::runtime::Builder::min_slice(builder, std::time::Duration::from_millis(10))
);
face!(
    crowded,
    preemptive,
    |builder: &mut rt::runtime::Builder| {
        let runtime = builder
            .time_slice(std::time::Duration::from_micros(50))
            .build()
            .expect("a runtime");
        compat_tests::crowd(&runtime);
        runtime
    },
    std::convert::identity
);

macro_rules! contract {
    ($($module:ident: $($body:ident)*;)*) => { $( mod $module { $(
        #[test]
        fn $body() {
            crate::support::quiet();
            let expected = crate::oracle::$module::$body();
            assert_eq!(expected, crate::oracle::$module::$body(), "the oracle is of two minds");
            for _ in 0..5 {
                assert_eq!(crate::ours::$module::$body(), expected);
            }
            assert_eq!(crate::crowded::$module::$body(), expected, "beside hogs");
        }
    )* } )* };
}

/// What these return is the order of polls on one thread. Beside hogs a poll may be stopped, and go on behind others: all of
/// them are there, in some order.
macro_rules! contract_of_order {
    ($($body:ident)*) => { mod in_order { $(
        #[test]
        fn $body() {
            crate::support::quiet();
            let mut expected = crate::oracle::order::$body();
            for _ in 0..5 {
                assert_eq!(crate::ours::order::$body(), expected);
            }
            expected.sort();
            let mut crowded = crate::crowded::order::$body();
            crowded.sort();
            assert_eq!(crowded, expected, "beside hogs");
        }
    )* } };
}

/// The clock of these goes on when nothing else does: hogs would stop it.
macro_rules! contract_of_the_paused_clock {
    ($($body:ident)*) => { mod paused { $(
        #[test]
        fn $body() {
            crate::support::quiet();
            let expected = crate::oracle::time::$body();
            for _ in 0..5 {
                assert_eq!(crate::ours::time::$body(), expected);
            }
        }
    )* } };
}

contract! {
    join_set: completion_order ends ids dropping detaching shutting_down trying joining_all;
    local: first_polls run_until_leaves_the_rest awaiting_runs_all dropping panics aborting nesting outside local_runtime;
    order: current_handles task_locals flavours late_spawns blocking_pool nested_block_on guards;
}

contract_of_order! {
    current_thread_is_first_in_first_out yielding wake_order
}

contract_of_the_paused_clock! {
    sleeps_end_in_order advancing intervals limits resetting moments clock_misuse
}
