//! A timer that interrupts the thread that asked for it, for nothing.

use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static TICKS: AtomicU64 = AtomicU64::new(0);

/// Signals to the calling thread, as long as it lives. The handler counts them, and does nothing else.
#[derive(Debug)]
pub struct Ticker(libc::timer_t);

impl Ticker {
    /// One signal per `period`, in real time.
    pub fn every(period: Duration) -> Ticker {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        // SAFETY: all zeros is a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGUSR1;
        // SAFETY: the call touches no memory.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = null_mut();
        // SAFETY: reads the one, writes the other.
        let done =
            unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        assert_eq!(done, 0, "cannot make a timer");
        let period = libc::timespec {
            tv_sec: period.as_secs().cast_signed(),
            tv_nsec: period.subsec_nanos().into(),
        };
        let setting = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the timer was just made; the old setting is not wanted.
        let done = unsafe { libc::timer_settime(timer, 0, &raw const setting, null_mut()) };
        assert_eq!(done, 0, "cannot set a timer");
        Ticker(timer)
    }

    /// How many signals all threads have taken so far.
    pub fn ticks() -> u64 {
        TICKS.load(Ordering::Relaxed)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        // SAFETY: made by `every`, deleted here only.
        unsafe { libc::timer_delete(self.0) };
    }
}

extern "C" fn count(_: libc::c_int) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

fn install() {
    // SAFETY: all zeros is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = count as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler only adds to an atomic.
    let done = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, null_mut()) };
    assert_eq!(done, 0, "cannot install a handler");
}
