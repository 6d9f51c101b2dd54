//! Everything that schedules.
//!
//! ```text
//!   Runtime ── Handle ──▶ Shared ──┬─ Processor × worker_threads   ring of tasks, timers, slice
//!                                  ├─ Worker × n                   threads; one holds each processor
//!                                  ├─ batch, spare_fibers          suspended fibers
//!                                  ├─ global                       runnable tasks of no processor
//!                                  ├─ Sleep                        who is idle, who searches
//!                                  ├─ supplier, monitor            two ordinary threads
//!                                  └─ BlockingPool                 ordinary threads, for `spawn_blocking`
//! ```
//!
//! - `fiber_loop`: the loop that takes and polls tasks; it runs on fibers; `next`: what comes next; `rest`: sleeping;
//! - `worker`: what happens on system stacks: switching, losing and getting processors;
//! - `home`: the flavour without workers, where the threads that call `block_on` do their work;
//! - `local`: tasks that are not `Send`: a layer of its own, on top;
//! - `shared`: the decisions that need everything;
//! - `parker`, `parked`: polls that wait without holding up a thread;
//! - `sleep`: why no wake-up is lost; `slice`, `press`: who may run for how long;
//! - `overflow`: tasks whose stack has ended;
//! - `timeline`: what all of them did, for a viewer;
//! - `trace`: what `tracing` is told;
//! - `monitor`, `supply`, `shutdown`: the backstop, the maker of threads, the end.

mod about;
mod actions;
mod batch;
mod bits;
mod block_on;
mod blocking;
mod builder;
pub mod channel;
mod config;
mod context;
pub mod coop;
mod entered;
mod environment;
mod fiber_loop;
#[cfg(feature = "futures")]
mod futures_spawn;
mod histogram;
mod home;
mod hooks;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod join_set;
mod latency;
mod local;
mod metrics;
mod monitor;
mod next;
mod overflow;
mod parked;
mod parker;
mod press;
pub(crate) mod probe;
mod processor;
mod queue;
mod rest;
pub(crate) mod runtime;
mod shared;
mod shutdown;
mod sleep;
mod slice;
mod spawn;
mod supply;
pub(crate) mod task;
mod task_builder;
pub(crate) mod task_local;
pub mod time;
mod timeline;
mod timer;
mod told;
mod trace;
mod tuning;
mod worker;

pub use about::{Id, RuntimeFlavor, is_rt_shutdown_err};
pub use builder::Builder;
pub use entered::{block_in_place, worker_index};
pub use hooks::TaskMeta;
pub use latency::prefer_latency;
pub use local::{LocalEnterGuard, LocalOptions, LocalRuntime, LocalSet, spawn_local};
pub use metrics::RuntimeMetrics;
pub use overflow::OnStackOverflow;
pub use spawn::{spawn, spawn_blocking, yield_now};

pub use task_builder::Builder as TaskBuilder;
pub(crate) use worker::on_system_stack;
