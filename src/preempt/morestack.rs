//! What the inlined check leads to where it fails: the stack is used up, or somebody wants this fiber's worker.
//!
//! ```text
//!   check fails ──▶ request? ──yes──▶ critical, or not on its own stack? ──yes──▶ left for later
//!                      │                       └──no──▶ gives way, comes back
//!                      └─▶ is less than the red zone left? ──▶ the caller goes on, on a new segment
//! ```
//!
//! "Not on its own stack" is a signal handler of the application's, most likely: what it interrupted must not be
//! suspended under the handler's signal mask (rule R5).
//!
//! [`safepoint`] asks only the first question, [`enter`] both.

use super::safepoint::give_way;
use crate::arch;
use crate::stack::{self, RED_ZONE, SEGMENT};

/// Lets other tasks run if somebody waits for them to: the time slice is over, or a task was woken that may take this
/// one's place.
///
/// For code that is not to be interrupted by a signal, or in a process where asynchronous preemption is off
/// (`PREEMPTIVE_ASYNC_PREEMPT=off`, [`Builder::async_preempt`]), to say where it may be: in a loop that goes on for long, say.
/// [`#[preemptive::checked]`](macro@crate::checked) puts it into every loop of a function. Every call to the
/// runtime, such as [`spawn`](crate::spawn), is one as well.
///
/// It costs a load and a compare, about a nanosecond. Outside a task it has no effect, nor has it in a signal handler.
///
/// (The idea is Go's: the prologue of its functions compares the stack pointer with a word that is out of reach when
/// the goroutine is to stop.)
///
/// [`Builder::async_preempt`]: crate::runtime::Builder::async_preempt
///
/// # Examples
///
/// ```
/// use preemptive::runtime::Builder;
///
/// let runtime = Builder::new_multi_thread()
///     .worker_threads(1)
///     .async_preempt(false)
///     .build()?;
/// let sum = runtime.spawn(async {
///     let mut sum = 0_u64;
///     for number in 0..1_000_000 {
///         preemptive::safepoint();
///         sum += number;
///     }
///     sum
/// });
/// assert_eq!(runtime.block_on(sum)?, 499_999_500_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline(always)]
pub fn safepoint() {
    if !arch::is_clear() {
        let _ = arch::slow_path(0);
    }
}

/// Runs `f` here, or on a new segment if less than `EXTRA_ZONE` bytes of stack are left; a safe-point in any case.
/// 0 stands for the usual red zone. What `#[preemptive::checked]` makes of a function's body.
#[inline(always)]
pub fn enter<const EXTRA_ZONE: usize, R>(f: impl FnOnce() -> R) -> R {
    let is_clear = const { EXTRA_ZONE <= RED_ZONE };
    let extra = const { EXTRA_ZONE.saturating_sub(RED_ZONE) };
    let passes = match is_clear {
        true => arch::is_clear(),
        false => arch::is_clear_by::<EXTRA_ZONE, RED_ZONE>(),
    };
    if !passes && arch::slow_path(extra) {
        return stack::on_new_segment(const { segment_for(EXTRA_ZONE) }, f);
    }
    f()
}

/// How large a segment is for functions that want `zone` bytes left at least.
const fn segment_for(zone: usize) -> usize {
    let size = zone.saturating_mul(4);
    if size > SEGMENT { size } else { SEGMENT }
}

/// The check has failed: honours a request, and says whether less than the red zone and `extra` are left.
#[unsafe(export_name = arch::slow_path_symbol!())]
extern "sysv64" fn is_short(extra: usize) -> bool {
    let Some(remaining) = stack::own(|stack| stack.remaining()) else {
        return false;
    };
    // SAFETY: null, or the fiber that this code runs as.
    if let Some(fiber) = unsafe { stack::current().as_ref() }
        && fiber.is_wanted()
        && !fiber.is_critical()
    {
        give_way(fiber);
    }
    stack::own(|stack| remaining < stack.red_zone() + extra)
}
