//! That our types have the traits which the page says they have: it would not compile otherwise.

use preemptive::{runtime, task, time};
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::{Future, Pending, Ready};
use std::hash::Hash;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::panic::{RefUnwindSafe, UnwindSafe};
use time::Duration;

macro_rules! have {
    ($($type:ty: $($bound:path),+;)+) => {
        $($(
            const _: () = {
                const fn has<T: $bound>() {}
                has::<$type>();
            };
        )+)+

        /// As the page writes them.
        pub(crate) fn all() -> Vec<String> {
            vec![$($(format!("{}: {}", plain(stringify!($type)), trait_name(stringify!($bound))),)+)+]
        }
    };
}

/// Without generic arguments.
fn plain(text: &str) -> &str {
    text.split('<').next().unwrap().trim()
}

fn trait_name(text: &str) -> &str {
    match text.starts_with("Into") {
        true => "Into<io::Error>",
        false => plain(text),
    }
}

have! {
    runtime::Builder: Debug;
    runtime::Runtime: Debug, RefUnwindSafe, UnwindSafe;
    runtime::Handle: Clone, Debug, RefUnwindSafe, UnwindSafe;
    runtime::RuntimeFlavor: Debug, Eq, PartialEq;
    runtime::EnterGuard<'static>: Debug;
    runtime::TryCurrentError: Debug, Display, Error;
    runtime::Id: Clone, Copy, Debug, Display, Eq, Hash, PartialEq;
    runtime::LocalRuntime: Debug, RefUnwindSafe, UnwindSafe;
    runtime::LocalOptions: Debug, Default;
    runtime::RuntimeMetrics: Clone, Debug;
    task::Id: Clone, Copy, Debug, Display, Eq, Hash, Ord, PartialEq, PartialOrd;
    task::JoinHandle<()>: Debug, Future, RefUnwindSafe, Send, Sync, Unpin, UnwindSafe;
    task::AbortHandle: Clone, Debug, RefUnwindSafe, Send, Sync, UnwindSafe;
    task::JoinError: Debug, Display, Error, Into<io::Error>;
    task::Builder<'static>: Debug, Default;
    task::JoinSet<u8>: Debug, Default, Extend<Ready<u8>>, FromIterator<Ready<u8>>;
    task::join_set::Builder<'static, u8>: Debug;
    task::LocalSet: Debug, Default, Future;
    task::LocalEnterGuard: Debug;
    task::LocalKey<u8>: Debug;
    task::futures::TaskLocalFuture<u8, Ready<u8>>: Debug, Future;
    task::coop::RestoreOnPending: Debug;
    task::coop::Coop<Pending<()>>: Debug, Future;
    task::Unconstrained<Pending<()>>: Future;
    time::Instant: Add<Duration>, AddAssign<Duration>, Clone, Copy, Debug, Eq, From<std::time::Instant>, Hash;
    time::Instant: Ord, PartialEq, PartialOrd, Sub<Duration>, SubAssign<Duration>;
    time::Sleep: Debug, Future;
    time::Timeout<Pending<()>>: Debug, Future;
    time::Interval: Debug;
    time::MissedTickBehavior: Clone, Copy, Debug, Default, Eq, PartialEq;
    time::error::Error: Clone, Copy, Debug, Display, Error;
    time::error::Elapsed: Debug, Display, Eq, Error, Into<io::Error>, PartialEq;
}
