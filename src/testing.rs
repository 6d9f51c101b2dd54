//! What the project's own tests look at; no part of the interface.

pub use crate::executor::probe::{give_way, make_fibers, signal_this_worker, timeline_room};
use std::alloc::{GlobalAlloc, Layout, System};

/// May the calling code allocate (rule R1)? False in critical sections, on system stacks and in the preemption
/// signal's handler. Where the process is about to end with a report it is true everywhere: that is written under a time
/// limit.
pub fn may_allocate() -> bool {
    let is_critical = crate::executor::on_system_stack() || !crate::preempt::may_allocate();
    !is_critical || crate::preempt::overflow::is_dying()
}

/// The system's allocator, which aborts where [`may_allocate`] says no. A test program that installs it with
/// `#[global_allocator]` tests rule R1 with whatever else it tests.
#[derive(Debug)]
pub struct StrictAllocator;

#[inline]
fn check(what: &str) {
    if !may_allocate() {
        forbidden(what);
    }
}

#[cold]
fn forbidden(what: &str) -> ! {
    for part in ["rule R1: ", what, " in a critical section\n"] {
        // SAFETY: the bytes are a valid range.
        unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: aborting is always allowed.
    unsafe { libc::abort() }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for StrictAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check("alloc");
        // SAFETY: the caller's debt.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check("alloc");
        // SAFETY: the caller's debt.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check("realloc");
        // SAFETY: the caller's debt.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        check("free");
        // SAFETY: the caller's debt.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use crate::preempt::Critical;
    use crate::runtime::Runtime;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// The allocator is installed, and it does abort. (In a child process: this one goes on.)
    #[test]
    fn an_allocation_in_a_critical_section_aborts() {
        const NAME: &str = "testing::tests::an_allocation_in_a_critical_section_aborts";
        const CHILD: &str = "PREEMPTIVE_TEST_ABORTS";
        if std::env::var_os(CHILD).is_some() {
            let runtime = Runtime::new().unwrap();
            let task = runtime.spawn(async {
                let _critical = Critical::enter();
                drop(std::hint::black_box(Box::new(7)));
            });
            runtime.block_on(task).unwrap();
            return;
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(
            said.contains("rule R1: alloc in a critical section"),
            "{said}"
        );
    }
}
