//! Code that is hard to classify at a signal: freshly made machine code, storms of short system calls, calls that
//! block and come back.

mod support;

use preemptive::runtime::Handle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use support::hostile::{join_all, metrics, runtime};
use support::load::{Hogs, spin_until};

const PAGE: usize = 4096;

/// A page of machine code, between two holes in the address space.
struct Code(usize);

impl Code {
    fn new(bytes: &[u8]) -> Code {
        // SAFETY: three fresh pages, of which the outer two are unmapped again; the code is written before
        // the page becomes executable.
        unsafe {
            let memory = libc::mmap(
                std::ptr::null_mut(),
                3 * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert_ne!(memory, libc::MAP_FAILED);
            let page = memory.byte_add(PAGE);
            page.cast::<u8>().copy_from(bytes.as_ptr(), bytes.len());
            assert_eq!(
                libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_EXEC),
                0
            );
            // Nothing at all, rather than something unreadable.
            assert_eq!(libc::munmap(memory, PAGE), 0);
            assert_eq!(libc::munmap(page.byte_add(PAGE), PAGE), 0);
            Code(page as usize)
        }
    }

    /// Calls it: `flag` in RDI, RAX and RCX as given. Returns RAX and RCX.
    fn call(&self, flag: &AtomicBool, rax: u64, rcx: u64) -> (u64, u64) {
        let (mut rax, mut rcx) = (rax, rcx);
        // SAFETY: the code reads the flag, returns, and leaves all other registers and the stack alone.
        unsafe {
            std::arch::asm!(
                "call {code}",
                code = in(reg) self.0,
                in("rdi") flag.as_ptr(),
                inout("rax") rax,
                inout("rcx") rcx,
            );
        }
        (rax, rcx)
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: nobody runs it any more.
        unsafe { libc::munmap(self.0 as *mut libc::c_void, PAGE) };
    }
}

/// Waits for as many more preemptions, then sets the flag.
async fn stop_after(preemptions: u64, flag: Arc<AtomicBool>) {
    let metrics = metrics();
    let wanted = metrics.asynchronous_preemptions() + preemptions;
    while metrics.asynchronous_preemptions() < wanted {
        preemptive::time::sleep(Duration::from_micros(200)).await;
    }
    flag.store(true, Ordering::SeqCst);
}

#[test]
fn code_at_a_page_start_is_preempted_there() {
    // cmp byte ptr [rdi], 0; je (back to the start); ret
    const LOOP: [u8; 6] = [0x80, 0x3f, 0x00, 0x74, 0xfb, 0xc3];
    const EINTR: u64 = (-(libc::EINTR as i64)) as u64;
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, workers);
        // Registers that look as after, and as before, a system call that a signal interrupted.
        for distance in [None, Some(0), Some(2)] {
            let flag = Arc::new(AtomicBool::new(false));
            let running = flag.clone();
            let code = runtime.spawn(async move {
                let code = Code::new(&LOOP);
                let rcx = distance.map_or(7, |distance| code.0 as u64 + distance);
                assert_eq!(code.call(&running, EINTR, rcx), (EINTR, rcx));
            });
            join_all(&runtime, [runtime.spawn(stop_after(300, flag)), code]);
        }
        hogs.stop(&runtime);
        assert!(runtime.metrics().asynchronous_preemptions() >= 900);
    }
}

#[test]
fn code_that_ends_at_a_page_end_is_preempted_there() {
    // At the page's last bytes: `je` back to its own compare, and `ret`.
    const LOOP: [u8; 6] = [0x80, 0x3f, 0x00, 0x74, 0xfb, 0xc3];
    let runtime = runtime(2);
    let hogs = Hogs::crowd(&runtime, 2);
    let flag = Arc::new(AtomicBool::new(false));
    let running = flag.clone();
    let code = runtime.spawn(async move {
        let mut page = vec![0x90; PAGE];
        page[PAGE - LOOP.len()..].copy_from_slice(&LOOP);
        let code = Code::new(&page);
        // As if each of the loop's instructions were a call that is to be restarted.
        for rcx in [code.0 + PAGE - 4, code.0 + PAGE - 1, code.0 + PAGE + 1] {
            assert_eq!(code.call(&running, 1, rcx as u64), (1, rcx as u64));
        }
    });
    join_all(&runtime, [runtime.spawn(stop_after(300, flag)), code]);
    hogs.stop(&runtime);
}

#[test]
fn a_loop_of_short_system_calls_is_preempted_not_handed_over() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let flag = Arc::new(AtomicBool::new(false));
        let threads = runtime.metrics().worker_threads();
        let tasks = (0..workers + 2).map(|_| {
            let flag = flag.clone();
            runtime.spawn(async move {
                // SAFETY: it has no preconditions.
                let parent = unsafe { libc::getppid() };
                let mut calls = 0_u64;
                while !flag.load(Ordering::Relaxed) {
                    // SAFETY: as above. Through `syscall`, whose loop is all there is around it.
                    let again = unsafe { libc::syscall(libc::SYS_getppid) };
                    assert_eq!(again, i64::from(parent));
                    calls += 1;
                }
                calls
            })
        });
        let tasks: Vec<_> = tasks.collect();
        let stopper = runtime.spawn(stop_after(1000, flag));
        join_all(&runtime, [stopper]);
        assert!(join_all(&runtime, tasks).into_iter().all(|calls| calls > 0));
        let metrics = runtime.metrics();
        assert!(metrics.asynchronous_preemptions() >= 1000);
        // A processor may move now and then, where the monitor found a worker waiting in the kernel for a lock.
        assert!(
            metrics.hand_overs() < metrics.asynchronous_preemptions() / 4,
            "{} hand-overs beside {} preemptions",
            metrics.hand_overs(),
            metrics.asynchronous_preemptions()
        );
        assert!(
            metrics.worker_threads() <= threads + workers + 4,
            "{threads} workers became {}",
            metrics.worker_threads()
        );
    }
}

/// A pipe: to read from, to write to.
fn pipe() -> (i32, i32) {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    (ends[0], ends[1])
}

/// Reads one byte, once.
fn read_byte(end: i32) -> isize {
    let mut byte = 0_u8;
    // SAFETY: there is room for one byte.
    unsafe { libc::read(end, (&raw mut byte).cast(), 1) }
}

#[test]
fn a_task_that_returns_from_a_blocking_call_and_spins_starves_nobody() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let ticks = Arc::new(AtomicU64::new(0));
        let spinners: Vec<_> = (0..4)
            .map(|_| {
                let (reader, writer) = pipe();
                let ticks = ticks.clone();
                let task = runtime.spawn(async move {
                    // In one poll: blocks, and comes back without a processor.
                    assert_eq!(read_byte(reader), 1);
                    let wanted = ticks.load(Ordering::SeqCst) + 20;
                    spin_until("ticks beside a spinner", || {
                        ticks.load(Ordering::SeqCst) >= wanted
                    });
                    // SAFETY: nobody else uses it.
                    unsafe { libc::close(reader) };
                });
                (task, writer)
            })
            .collect();
        let metrics = runtime.metrics();
        let ticker = runtime.spawn({
            let stop = Arc::new(AtomicBool::new(false));
            let stopping = stop.clone();
            let writers: Vec<i32> = spinners.iter().map(|(_, writer)| *writer).collect();
            async move {
                // All of them are in the kernel before the first comes back. As nobody else waits, some
                // may hold processors there, but for the one that this task has.
                while metrics.hand_overs() < (writers.len() + 1 - workers) as u64 {
                    preemptive::time::sleep(Duration::from_millis(1)).await;
                }
                let ticking = Handle::current().spawn(async move {
                    while !stopping.load(Ordering::SeqCst) {
                        preemptive::time::sleep(Duration::from_micros(500)).await;
                        ticks.fetch_add(1, Ordering::SeqCst);
                    }
                });
                for writer in writers {
                    // SAFETY: one byte is there to be written.
                    assert_eq!(unsafe { libc::write(writer, [1_u8].as_ptr().cast(), 1) }, 1);
                    // SAFETY: nobody else uses it.
                    unsafe { libc::close(writer) };
                }
                (stop, ticking)
            }
        });
        let (stop, ticking) = join_all(&runtime, [ticker]).remove(0);
        join_all(&runtime, spinners.into_iter().map(|(task, _)| task));
        stop.store(true, Ordering::SeqCst);
        join_all(&runtime, [ticking]);
        assert!(runtime.metrics().hand_overs() >= 3);
    }
}

#[test]
fn spinners_that_came_back_from_the_kernel_share_the_processors_again() {
    let runtime = runtime(1);
    let hogs = Hogs::crowd(&runtime, 1);
    let flag = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3)
        .map(|_| {
            let flag = flag.clone();
            runtime.spawn(async move {
                while !flag.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(3));
                    let start = std::time::Instant::now();
                    while start.elapsed() < Duration::from_millis(3) {
                        std::hint::spin_loop();
                    }
                }
            })
        })
        .collect();
    join_all(&runtime, [runtime.spawn(stop_after(50, flag))]);
    join_all(&runtime, tasks);
    hogs.stop(&runtime);
    let metrics = runtime.metrics();
    assert!(metrics.hand_overs() > 0 && metrics.asynchronous_preemptions() >= 50);
}
