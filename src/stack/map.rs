//! The memory of a fiber: one mapping, four stacks, a guard page below each.
//!
//! ```text
//!   high ┌───────────────────────────────┐
//!        │ the fiber's own stack         │ at its top glibc keeps the identity: TLS block, pthread
//!        │ (2 MiB reserved by default)   │
//!        ├──guard page───────────────────┤
//!        │ preempt stack                 │ registers of an interrupted poll, and the scheduler's frames
//!        ├──guard page───────────────────┤
//!        │ park stack                    │ where the lender waits, and takes glibc's signals 32 and 33
//!        ├──guard page───────────────────┤
//!        │ signal stack                  │ travels with the fiber
//!        ├──guard page───────────────────┤
//!   low  └───────────────────────────────┘
//! ```
//!
//! The kernel commits pages when they are first touched, so a fiber that was never preempted has no pages in
//! its preempt stack. `MADV_GUARD_INSTALL` (Linux 6.13) makes guard pages without splitting the mapping, and
//! neighbouring mappings merge: however many fibers there are, they do not use up `vm.max_map_count`. Where it
//! is refused (older kernels, locked memory), `mprotect` does it at two mappings a guard.

use crate::sys::{self, Errno, PAGE};
use std::io;

const MADV_GUARD_INSTALL: i32 = 102;

/// Room for one signal frame of glibc's own and the wait loop.
const PARK: usize = 32 * 1024;
/// Room for the register state (11 KiB with AMX), the scheduler, and a foreign handler in between.
const PREEMPT: usize = 64 * 1024;
/// Room above the kernel's own frame for handlers, ours and the application's.
const SIGNAL: usize = 64 * 1024;
/// Room for the scheduler, whose frames are small, and for a foreign handler on top of it.
const SYSTEM: usize = 64 * 1024;

/// The stack of a thread that we have not made: no address is below it.
const UNKNOWN: Region = Region { low: 0, high: 0 };

/// A stack inside a [`Map`]: from `low`, its guard page excluded, up to `high`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) low: usize,
    pub(crate) high: usize,
}

impl Region {
    /// Bytes from the lowest usable address to the upper end.
    pub(crate) fn size(&self) -> usize {
        self.high - self.low
    }
}

/// Below which stack a guard page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuardPage {
    /// The fiber's own.
    Stack,
    /// Where an interrupted poll is saved.
    Preempt,
    /// Where the lender waits; a home fiber's system stack.
    Park,
    /// Where handlers run.
    Signal,
    /// A segment on which the fiber's stack goes on.
    Segment,
}

/// The four stacks of a fiber. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Map {
    base: *mut u8,
    size: usize,
    /// What the fiber runs on.
    pub(crate) stack: Region,
    /// What an interrupted poll is saved on.
    pub(crate) preempt: Region,
    /// What the lender waits on.
    pub(crate) park: Region,
    /// What handlers run on.
    pub(crate) signal: Region,
}

// SAFETY: a `Map` owns its memory; the pointer is not shared behind its back.
unsafe impl Send for Map {}

impl Map {
    /// Reserves a fiber's memory with `stack_size` bytes, rounded up to pages, for its own stack.
    pub(crate) fn new(stack_size: usize) -> io::Result<Map> {
        let (base, size, [signal, park, preempt, stack]) =
            reserve([signal_size(), PARK, PREEMPT, stack_size])?;
        Ok(Map {
            base,
            size,
            stack,
            preempt,
            park,
            signal,
        })
    }

    /// The same for a thread that becomes a fiber: it has a stack, of which we know nothing, and no lender. What
    /// is the lender's park stack elsewhere is the system stack that its worker needs.
    pub(crate) fn for_home() -> io::Result<Map> {
        let (base, size, [signal, park, preempt]) = reserve([signal_size(), SYSTEM, PREEMPT])?;
        Ok(Map {
            base,
            size,
            stack: UNKNOWN,
            preempt,
            park,
            signal,
        })
    }

    /// Which stack's guard page this address lies in.
    pub(super) fn guard_at(&self, address: usize) -> Option<GuardPage> {
        let stacks = [
            (GuardPage::Stack, self.stack),
            (GuardPage::Preempt, self.preempt),
            (GuardPage::Park, self.park),
            (GuardPage::Signal, self.signal),
        ];
        // A stack of which nothing is known has no guard page that we know of.
        let hit = |region: &Region| {
            region.low != UNKNOWN.low && (region.low - PAGE..region.low).contains(&address)
        };
        stacks
            .into_iter()
            .find_map(|(guard, region)| hit(&region).then_some(guard))
    }

    /// Was it made by [`for_home`](Self::for_home)?
    pub(crate) fn is_home(&self) -> bool {
        self.stack.high == UNKNOWN.high
    }

    /// Bytes of the fiber's own stack that are in memory.
    pub(crate) fn committed(&self) -> usize {
        sys::resident_pages(self.stack.low, self.stack.size() / PAGE) * PAGE
    }

    /// Gives back the pages of the fiber's own stack below `sp`, but for `keep` bytes (rule R4).
    ///
    /// # Safety
    ///
    /// The fiber is suspended with its stack pointer at `sp` or above, and stays so meanwhile.
    pub(crate) unsafe fn trim(&self, sp: usize, keep: usize) {
        if !(self.stack.low..self.stack.high).contains(&sp) {
            return;
        }
        let top = sp.saturating_sub(keep.max(RED_ZONE)) & !(PAGE - 1);
        if top > self.stack.low {
            // SAFETY: nothing below the stack pointer less the red zone is live (R4).
            let _ = unsafe {
                sys::madvise(
                    self.stack.low as *mut u8,
                    top - self.stack.low,
                    libc::MADV_DONTNEED,
                )
            };
        }
    }
}

/// Reserves regions of at least these sizes, lowest first, with a guard page below each.
pub(super) fn reserve<const COUNT: usize>(
    sizes: [usize; COUNT],
) -> io::Result<(*mut u8, usize, [Region; COUNT])> {
    let sizes = sizes.map(|size| size.next_multiple_of(PAGE));
    let size = sizes.iter().map(|size| size + PAGE).sum();
    let base = sys::map(size).map_err(|error| cannot_reserve(error, size))?;
    let mut low = base as usize;
    let regions = sizes.map(|size| {
        let region = Region {
            low: low + PAGE,
            high: low + PAGE + size,
        };
        low = region.high;
        region
    });
    for region in &regions {
        // SAFETY: the page below each region is part of the mapping that was just made, and unused.
        let guarded = unsafe { install_guard((region.low - PAGE) as *mut u8) };
        if let Err(error) = guarded {
            // SAFETY: mapped above, and nobody has got it.
            unsafe { sys::unmap(base, size) };
            return Err(error.with("cannot protect a fiber's guard page (raise vm.max_map_count)"));
        }
    }
    Ok((base, size, regions))
}

/// Where the C library says that the calling thread's stack is.
pub(super) fn thread_stack() -> Option<Region> {
    // SAFETY: all-zero is a valid value to initialise.
    let mut attributes: libc::pthread_attr_t = unsafe { std::mem::zeroed() };
    let (mut low, mut size, mut guard) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: the attributes are initialised by the first call and live through the others.
    let found = unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return None;
        }
        let found = libc::pthread_attr_getstack(&attributes, &mut low, &mut size) == 0
            && libc::pthread_attr_getguardsize(&attributes, &mut guard) == 0;
        libc::pthread_attr_destroy(&mut attributes);
        found
    };
    // Whether the guard is part of what was reported has changed between releases of glibc.
    (found && size > 2 * guard).then(|| Region {
        low: low as usize + guard,
        high: low as usize + size,
    })
}

/// The bytes below a stack pointer that leaf functions may use without moving it.
pub(crate) const RED_ZONE: usize = 128;

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: whoever drops the map vouches that no thread runs on it any more.
        unsafe { sys::unmap(self.base, self.size) };
    }
}

/// A signal stack must hold the kernel's frame (11,952 bytes with AMX) and what handlers need.
pub(crate) fn signal_size() -> usize {
    // SAFETY: getauxval only reads what the kernel passed to this process.
    let frame = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    (frame + SIGNAL).next_multiple_of(PAGE)
}

fn cannot_reserve(error: Errno, size: usize) -> io::Error {
    error.with(format_args!(
        "cannot reserve {} KiB for a fiber's stack (lower Builder::thread_stack_size, \
         raise RLIMIT_AS or allow more overcommit)",
        size / 1024
    ))
}

/// # Safety
///
/// Nobody uses the page.
unsafe fn install_guard(page: *mut u8) -> Result<(), Errno> {
    // SAFETY: the caller's debt.
    if unsafe { sys::madvise(page, PAGE, MADV_GUARD_INSTALL) }.is_ok() {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { sys::protect_none(page, PAGE) }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn regions_are_writable_disjoint_and_as_large_as_asked() {
        let map = Map::new(100_000).expect("reserve");
        assert_eq!(map.stack.size(), 100_000_usize.next_multiple_of(PAGE));
        for region in [map.signal, map.park, map.preempt, map.stack] {
            for address in [region.low, region.high - 8] {
                // SAFETY: both words lie inside a region that nobody else uses.
                unsafe { (address as *mut u64).write_volatile(1) };
            }
        }
        assert!(map.signal.high < map.park.low && map.park.high < map.preempt.low);
        assert!(map.preempt.high < map.stack.low);
    }

    #[test]
    fn each_stack_has_a_guard_page_of_its_own() {
        let map = Map::new(100_000).expect("reserve");
        let stacks = [
            (GuardPage::Signal, map.signal),
            (GuardPage::Park, map.park),
            (GuardPage::Preempt, map.preempt),
            (GuardPage::Stack, map.stack),
        ];
        for (guard, region) in stacks {
            assert_eq!(map.guard_at(region.low), None);
            assert_eq!(map.guard_at(region.low - 1), Some(guard));
            assert_eq!(map.guard_at(region.low - PAGE), Some(guard));
            assert_ne!(map.guard_at(region.low - PAGE - 1), Some(guard));
        }
        let home = Map::for_home().expect("reserve");
        assert_eq!(home.guard_at(0), None);
        assert_eq!(home.guard_at(home.park.low - 1), Some(GuardPage::Park));
    }

    #[test]
    fn trimming_keeps_what_lies_above() {
        let map = Map::new(1 << 20).expect("reserve");
        let sp = map.stack.high - 64 * 1024;
        let (kept, lost) = (sp as *mut u64, map.stack.low as *mut u64);
        // SAFETY: both words lie inside the region, which no thread runs on.
        unsafe {
            kept.write_volatile(7);
            lost.write_volatile(7);
            map.trim(sp, 16 * 1024);
            assert_eq!(kept.read_volatile(), 7);
            assert_eq!(lost.read_volatile(), 0);
        }
    }
}
