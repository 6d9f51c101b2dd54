//! Wrong uses of `checked`.

use super::Wrong;

pub(super) const WRONG: &[Wrong] = &[
    (
        "checked_const",
        "#[preemptive::checked]\npub «const» fn f() {}\nMAIN",
        "`#[preemptive::checked]` cannot check a `const fn`, which may run in the compiler: remove the \
         attribute",
    ),
    (
        "checked_const_method",
        "pub struct S;\n#[preemptive::checked]\nimpl S {\n    #[preemptive::checked]\n    \
         pub «const» fn f(&self) {}\n}\nMAIN",
        "`#[preemptive::checked]` cannot check a `const fn`, which may run in the compiler: remove the \
         attribute",
    ),
    (
        "checked_naked",
        "#[preemptive::checked]\n«#[unsafe(naked)]»\npub extern \"C\" fn f() { \
         core::arch::naked_asm!(\"ret\") }\nMAIN",
        "`#[preemptive::checked]` cannot check a naked function, which is all assembler: remove the \
         attribute",
    ),
    (
        "checked_twice",
        "#[preemptive::checked]\n#[inline]\n«#[preemptive::checked(loops = false)]»\npub fn f() {}\nMAIN",
        "`#[preemptive::checked]` is there twice: keep one of them",
    ),
    (
        "checked_struct",
        "#[preemptive::checked]\n/// A comment.\npub «struct» S;\nMAIN",
        "`#[preemptive::checked]` goes on a function, an `impl` block, a trait or a module in braces",
    ),
    (
        "checked_no_body",
        "pub trait T {\n    #[preemptive::checked]\n    fn f(&self)«;»\n}\nMAIN",
        "`#[preemptive::checked]` needs a function with a body",
    ),
    (
        "checked_unknown",
        "#[preemptive::checked(«stack» = 2)]\nfn main() {}",
        "unknown argument `stack`: the known ones are `loops`, `red_zone` and `crate`",
    ),
    (
        "checked_loops_string",
        "#[preemptive::checked(loops = «\"no\"»)]\nfn main() {}",
        "the value of `loops` is of the wrong kind: write `loops = true` or `loops = false`",
    ),
    (
        "checked_no_comma",
        "#[preemptive::checked(loops = false «red_zone» = \"64KiB\")]\nfn main() {}",
        "expected a `,` before this argument",
    ),
    (
        "checked_red_zone_bare",
        "#[preemptive::checked(red_zone = «65536»)]\nfn main() {}",
        "the value of `red_zone` is of the wrong kind: write a string of a whole number and a unit, as \
         in `red_zone = \"64KiB\"`",
    ),
    (
        "checked_red_zone_unit",
        "#[preemptive::checked(red_zone = «\"64KB\"»)]\nfn main() {}",
        "unknown unit `KB` in `red_zone`: use `B`, `KiB` or `MiB`",
    ),
    (
        "checked_red_zone_range",
        "#[preemptive::checked(red_zone = «\"0KiB\"»)]\nfn main() {}",
        "`red_zone` of 0 KiB is out of range: use a value from 1 KiB to 1024 MiB",
    ),
    // From here on the mistake is in the user's own code, and the compiler's own message shows it.
    (
        "checked_body_type",
        "#[preemptive::checked]\nfn main() {\n    «5»\n}",
        "mismatched types",
    ),
    (
        "checked_body_statement",
        "#[preemptive::checked]\nfn main() {\n    for i in 0..3_u8 {\n        let _: u16 = «i»;\n    }\n}",
        "mismatched types",
    ),
    (
        "checked_body_return",
        "#[preemptive::checked]\nfn main() -> Result<(), u8> {\n    if true { return «5»; }\n    Ok(())\n}",
        "mismatched types",
    ),
    (
        "checked_body_no_tail",
        "#[preemptive::checked]\npub fn f(_x: u8) -> «u8» {\n    5;\n}\nMAIN",
        "mismatched types",
    ),
    (
        "checked_loop_type",
        "#[preemptive::checked]\nfn main() {\n    for _ in 0..3 {\n        «5»\n    }\n}",
        "mismatched types",
    ),
    (
        "checked_body_name",
        "#[preemptive::checked]\npub fn f((_, _): (u8, u8)) {\n    «parameter_0»;\n}\nMAIN",
        "cannot find value `parameter_0` in this scope",
    ),
    (
        "checked_borrow",
        "#[preemptive::checked]\npub fn f(text: String) -> usize {\n    drop(text);\n    «text».len()\n}\nMAIN",
        "borrow of moved value: `text`",
    ),
    (
        "checked_not_mutable",
        "#[preemptive::checked]\npub fn f(list: Vec<u8>) {\n    «list».push(1);\n}\nMAIN",
        "cannot borrow `list` as mutable, as it is not declared as mutable",
    ),
    (
        "checked_local_reference",
        "#[preemptive::checked]\npub fn f<'a>() -> &'a str {\n    let text = String::new();\n    «&text»\n}\nMAIN",
        "cannot return reference to local variable `text`",
    ),
    (
        "checked_lifetime",
        "#[preemptive::checked]\npub fn f<'a, 'b>(_: &'a str, y: &'b str) -> &'a str {\n    «y»\n}\nMAIN",
        "lifetime may not live long enough",
    ),
    (
        "checked_opaque",
        "#[preemptive::checked]\npub fn f() -> «impl Iterator<Item = u8>» {\n    5\n}\nMAIN",
        "`{integer}` is not an iterator",
    ),
    // What warns without the attribute does so with it, and in the same place.
    (
        "checked_unused",
        "#![deny(warnings)]\n#[preemptive::checked]\npub fn f(«x»: u8) {}\nMAIN",
        "unused variable: `x`",
    ),
    (
        "checked_unused_in_pattern",
        "#![deny(warnings)]\n#[preemptive::checked]\npub fn f((«x», _): (u8, u8)) {}\nMAIN",
        "unused variable: `x`",
    ),
    (
        "checked_unused_mut",
        "#![deny(warnings)]\n#[preemptive::checked]\npub fn f(«mut x»: u8) -> u8 {\n    x\n}\nMAIN",
        "variable does not need to be mutable",
    ),
    (
        "checked_unused_mut_self",
        "#![deny(warnings)]\npub struct S;\n#[preemptive::checked]\nimpl S {\n    \
         pub fn f(«mut self») -> Self {\n        self\n    }\n}\nMAIN",
        "variable does not need to be mutable",
    ),
    (
        "checked_unused_label",
        "#![deny(warnings)]\n#[preemptive::checked]\npub fn f() {\n    «'a»: for _ in 0..3 {}\n}\nMAIN",
        "unused label",
    ),
    (
        "checked_unreachable",
        "#![deny(warnings)]\n#[preemptive::checked]\npub fn f() -> u8 {\n    return 1;\n    «2»\n}\nMAIN",
        "unreachable expression",
    ),
];
