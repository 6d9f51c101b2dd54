//! Threads that wait for events, and have little to do then, beside threads that compute.

use crate::sys;
use std::io;

/// The shortest slice that Linux gives, in nanoseconds.
const SHORTEST: u64 = 100_000;

/// Between 0, which is ordinary, and -20: three times the weight of an ordinary thread.
const NICE: i32 = -5;

/// Asks the kernel to run the calling thread soon after it is woken, ahead of threads that compute.
///
/// For a thread that waits for events: the one that drives the I/O beside this runtime, say. It asks for two things:
///
/// - A slice of 100 µs. Linux lets whoever is on a core finish a slice of some milliseconds first, unless the one that was
///   woken has asked for a shorter one. That needs no permission, and the thread gets no more of the processor's time
///   than before. Linux 6.12 and later: earlier ones take no notice.
/// - A nice value of -5, if it may have one: with `CAP_SYS_NICE`, or a soft `RLIMIT_NICE` of 25 or more (`LimitNICE=-5` in a
///   unit of systemd's). In one wake-up of a hundred or so a short slice alone did not help where this was measured (Linux
///   6.18); three times the weight did. So let no such thread compute for long: against an ordinary one it would get
///   three quarters of a core. A thread whose nice value is not 0 keeps it.
///
/// Threads and processes that this one starts inherit neither (`SCHED_RESET_ON_FORK`, which only a thread with `CAP_SYS_NICE` can take
/// back).
///
/// The attribute's `beside` does this for Tokio's thread.
///
/// # Errors
///
/// That the nice value is refused is none. Otherwise:
///
/// - `Unsupported` where a seccomp filter is active (in most containers): some end the process for such a call instead of refusing
///   it, and nobody can ask a filter which. So it is not tried.
/// - What the system says: `InvalidInput` for a thread whose policy is not the ordinary one, which has its own rules.
///
/// ```
/// use std::thread;
///
/// let events = thread::spawn(|| {
///     if let Err(error) = preemptive::runtime::prefer_latency() {
///         eprintln!("events may wait for a core: {error}");
///     }
///     // … wait for events …
/// });
/// events.join().unwrap();
/// ```
pub fn prefer_latency() -> io::Result<()> {
    ask_for(Some(NICE)).or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => short_slices(),
        _ => Err(error),
    })
}

/// The first of the two things that [`prefer_latency`] asks for: for our own threads, which nobody asked to be put ahead of others.
pub(super) fn short_slices() -> io::Result<()> {
    ask_for(None)
}

fn ask_for(nice: Option<i32>) -> io::Result<()> {
    if sys::is_filtered() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "not tried: a seccomp filter is active, which may end the process for sched_setattr",
        ));
    }
    sys::set_kernel_slice(SHORTEST, nice).map_err(|error| io::Error::from_raw_os_error(error.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the calling thread.
    fn nice() -> i32 {
        // SAFETY: plain integers; 0 is the calling thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    fn set_nice(nice: i32) -> bool {
        // SAFETY: as above.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) == 0 }
    }

    fn in_thread(body: impl FnOnce() + Send) {
        std::thread::scope(|scope| drop(scope.spawn(body)));
    }

    #[test]
    fn an_ordinary_thread_goes_first_where_it_may() {
        if sys::is_filtered() || nice() != 0 {
            return;
        }
        in_thread(|| {
            let may = set_nice(NICE);
            assert!(!may || set_nice(0));
            for _ in 0..2 {
                prefer_latency().unwrap();
                assert_eq!(nice(), if may { NICE } else { 0 });
                in_thread(|| assert_eq!(nice(), 0, "inherited"));
            }
        });
        in_thread(|| {
            short_slices().unwrap();
            assert_eq!(nice(), 0);
        });
    }

    #[test]
    fn a_thread_that_was_told_to_be_nice_stays_so() {
        if sys::is_filtered() || nice() > 7 {
            return;
        }
        in_thread(|| {
            assert!(set_nice(7));
            prefer_latency().unwrap();
            assert_eq!(nice(), 7);
        });
    }

    #[test]
    fn under_a_seccomp_filter_it_is_not_tried() {
        in_thread(|| {
            // A filter that lets everything pass.
            let pass = libc::sock_filter {
                code: (libc::BPF_RET | libc::BPF_K) as u16,
                jt: 0,
                jf: 0,
                k: libc::SECCOMP_RET_ALLOW,
            };
            let program = libc::sock_fprog {
                len: 1,
                filter: (&raw const pass).cast_mut(),
            };
            // SAFETY: plain integers, and a program that outlives the call; both are for this thread alone.
            let is_filtered = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                    && libc::prctl(
                        libc::PR_SET_SECCOMP,
                        libc::SECCOMP_MODE_FILTER,
                        &raw const program,
                    ) == 0
            };
            if is_filtered {
                let error = prefer_latency().unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            }
        });
    }
}
