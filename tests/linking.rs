//! What the linker makes of the names that assembly calls by.

use std::ops::Range;

fn number(bytes: &[u8], at: Range<usize>) -> usize {
    let number = bytes[at].iter().rev();
    number.fold(0, |sum, &byte| sum << 8 | usize::from(byte))
}

/// The symbols of an ELF file: each one's name, binding and visibility.
fn symbols(file: &[u8]) -> Vec<(String, usize, usize)> {
    let (sections, size) = (number(file, 0x28..0x30), number(file, 0x3a..0x3c));
    let count = number(file, 0x3c..0x3e);
    let section = |index: usize| &file[sections + index * size..][..size];
    let content = |header: &[u8]| {
        let start = number(header, 0x18..0x20);
        &file[start..start + number(header, 0x20..0x28)]
    };
    let table = (0..count)
        .map(section)
        .find(|header| number(header, 4..8) == 2)
        .expect("it is not stripped");
    let names = content(section(number(table, 0x28..0x2c)));
    let read = |symbol: &[u8]| {
        let name = names[number(symbol, 0..4)..]
            .split(|&byte| byte == 0)
            .next();
        let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        (
            name,
            usize::from(symbol[4] >> 4),
            usize::from(symbol[5] & 3),
        )
    };
    content(table).chunks_exact(24).map(read).collect()
}

/// Two libraries with this crate in one process would otherwise use each other's: the guard words of one, and the slow path
/// that knows those of the other.
#[test]
fn names_that_assembly_uses_are_not_exported() {
    const LOCAL: usize = 0;
    const HIDDEN: usize = 2;
    // So that both are linked in.
    preemptive::safepoint();
    let file = std::fs::read("/proc/self/exe").expect("procfs is mounted");
    let symbols = symbols(&file);
    for prefix in ["preemptive_own_", "preemptive_slow_path_"] {
        let mut of_this_name = symbols
            .iter()
            .filter(|(name, ..)| name.starts_with(prefix))
            .peekable();
        assert!(of_this_name.peek().is_some(), "there is no {prefix}");
        for (name, binding, visibility) in of_this_name {
            assert!(
                *binding == LOCAL || *visibility == HIDDEN,
                "{name} could be exported"
            );
        }
    }
}
