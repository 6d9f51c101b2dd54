//! Preemption: making a running task give way, at any instruction.
//!
//! A fiber (a poll in progress, with a stack and a thread identity of its own) can be suspended at a
//! *safe-point*. There are three kinds:
//!
//! 1. **Blocked.** The kernel holds the worker, in a system call. Nothing needs suspending: the worker's
//!    *processor* goes to another worker. The signal handler does that when it finds a call interrupted; the
//!    monitor does it without a signal when it sees the thread asleep (`take`).
//! 2. **Synchronous.** The end of an outermost critical section, where the fiber itself looks at its guard word
//!    (`critical`, `safepoint`).
//! 3. **Asynchronous.** Any instruction outside critical sections. A signal makes the interrupted code look as if
//!    it had just called `arch::async_preempt` (`signal`).
//!
//! # Who talks to whom
//!
//! ```text
//!   timer of the worker ─┐                     ┌─▶ nothing (it asks again soon)
//!   monitor ─────────────┴─ signal ─▶ handler ─┼─▶ poisons the guard word ─▶ end of the critical section ─┐
//!                                              ├─▶ gives the processor up                              ▼
//!                                              └─▶ async_preempt ─────────────────────────▶ Actions::suspend
//! ```
//!
//! `suspend` belongs to the layer above: it switches to the worker's system stack, and only there, with the
//! registers saved, is the fiber put where another worker can take it.
//!
//! # Why not …
//!
//! - *… classify by program counter which code may be interrupted* (Go): Rust code inlines and calls C; the
//!   hazards are thread-locals, allocators and locks, and a fiber that owns its thread identity is at ease
//!   with all of them.
//! - *… push the injected call on the interrupted stack* (Go): it needs room below the red zone and a stack
//!   pointer that is known to be a stack's. A save area of the fiber's own needs neither.
//! - *… a monitor thread that ends time slices* (Go's sysmon): while all cores are busy its own wake-up is late,
//!   up to 11 ms where a timer aimed at the busy worker itself was 0.3 ms late at the 99.9th percentile.

mod critical;
pub(crate) mod morestack;
pub(crate) mod overflow;
pub(crate) mod safepoint;
pub(crate) mod setxid;
pub(crate) mod signal;
pub(crate) mod take;
mod target;

pub(crate) use critical::{Critical, CriticalMutex, may_allocate};
pub(crate) use target::{Actions, How, REFUSALS, Refusal, Target, UNKNOWN, Verdict};
