//! Threads that wait for events, and have little to do then, beside threads that compute.

use crate::sys;
use std::io;

/// The shortest slice that Linux gives, in nanoseconds.
const SHORTEST: u64 = 100_000;

/// Asks the kernel to run the calling thread soon after it is woken, ahead of threads that compute.
///
/// For a thread that waits for events: the one that drives the I/O beside this runtime, say. Linux lets whoever is on a
/// core finish a slice of some milliseconds first, unless the one that was woken has asked for a shorter one, of 100 µs here. It
/// gets no more of the processor's time than before, and needs no permission. The attribute's `beside` asks it for Tokio's
/// thread; the runtime does for its own attendants. Linux 6.12 and later: earlier ones take no notice.
///
/// # Errors
///
/// - `Unsupported` where a seccomp filter is active (in most containers): some end the process for this call instead of refusing
///   it, and nobody can ask a filter which. So it is not tried.
/// - What the system says otherwise: `InvalidInput` for a thread whose policy is not the ordinary one, which has its own rules.
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
    if sys::is_filtered() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "not tried: a seccomp filter is active, which may end the process for sched_setattr",
        ));
    }
    sys::set_kernel_slice(SHORTEST).map_err(|error| io::Error::from_raw_os_error(error.0))
}
