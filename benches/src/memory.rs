//! Who holds how many bytes.

/// Bytes in use, by owner.
#[derive(Clone, Copy, Debug)]
pub struct Memory([f64; 5]);

impl Memory {
    /// The owners: the process's own pages, whole and shared fairly; the kernel's, for stacks and for everything
    /// small, both of the whole system; the page tables of the process.
    pub const NAMES: [&str; 5] = [
        "user_rss",
        "user_pss",
        "kernel_stack",
        "kernel_slab",
        "page_tables",
    ];

    /// As it is now.
    pub fn now() -> Memory {
        let own = read("/proc/self/smaps_rollup");
        let status = read("/proc/self/status");
        let system = read("/proc/meminfo");
        Memory([
            bytes(&own, "Rss:"),
            bytes(&own, "Pss:"),
            // The next two are the whole system's: hence several samples.
            bytes(&system, "KernelStack:"),
            bytes(&system, "Slab:"),
            bytes(&status, "VmPTE:"),
        ])
    }

    /// What has been added since `before`, for each of `count`, in the order of [`NAMES`](Memory::NAMES).
    pub fn since(&self, before: &Memory, count: usize) -> [f64; 5] {
        std::array::from_fn(|at| (self.0[at] - before.0[at]) / count as f64)
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// The number of kilobytes in the line that begins with `name`.
fn bytes(text: &str, name: &str) -> f64 {
    let kilobytes = text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    1024.0 * kilobytes.unwrap_or(f64::NAN)
}
