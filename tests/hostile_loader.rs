//! The dynamic loader, and what loads libraries by itself, while identities are lent.

mod support;

use std::ffi::{CStr, CString};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::process::Command;
use support::hostile::{join_all, metrics, runtime};
use support::isolated;
use support::load::{Hogs, spin_until};

#[test]
fn names_are_resolved_beside_hogs() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::crowd(&runtime, 2);
        let tasks = (0..4).map(|_| {
            runtime.spawn(async {
                for _ in 0..20 {
                    let mut addresses = ("localhost", 80)
                        .to_socket_addrs()
                        .expect("localhost is known");
                    assert!(addresses.all(|address| address.ip().is_loopback()));
                }
            })
        });
        join_all(&runtime, tasks);
        hogs.stop(&runtime);
        assert!(runtime.metrics().preemptions() > 0);
    }
}

/// A directory that goes with its value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("preemptive-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Compiles C into a shared library; none where there is no compiler.
fn compile(scratch: &Scratch, source: &str) -> Option<PathBuf> {
    let input = scratch.0.join("library.c");
    let output = scratch.0.join("library.so");
    std::fs::write(&input, source).expect("the directory is ours");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-w", "-Wl,-z,lazy", "-o"])
        .arg(&output)
        .arg(&input)
        .args(["-lm"])
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "cc failed");
            Some(output)
        }
        Err(error) => {
            println!("skipped: there is no C compiler: {error}");
            None
        }
    }
}

/// A library opened by `dlopen`.
#[derive(Clone, Copy)]
struct Library(usize);

impl Library {
    fn open(path: &std::path::Path) -> Library {
        let name = CString::new(path.to_str().expect("a plain name")).expect("no zero in it");
        // SAFETY: the test's own library, without constructors.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "dlopen failed");
        Library(handle as usize)
    }

    fn function(self, name: &CStr) -> extern "C" fn(i32) -> i32 {
        // SAFETY: the handle is open.
        let address = unsafe { libc::dlsym(self.0 as *mut libc::c_void, name.as_ptr()) };
        assert!(!address.is_null(), "{name:?} is missing");
        // SAFETY: every function of the tests' libraries has this signature.
        unsafe { std::mem::transmute(address) }
    }

    fn close(self) {
        // SAFETY: it is open, and nobody is inside.
        assert_eq!(unsafe { libc::dlclose(self.0 as *mut libc::c_void) }, 0);
    }
}

#[test]
fn static_thread_locals_of_a_library_opened_late_are_there_in_every_identity() {
    isolated::run(
        "static_thread_locals_of_a_library_opened_late_are_there_in_every_identity",
        || {
            let scratch = Scratch::new("static-tls");
            let source = "static __thread int x __attribute__((tls_model(\"initial-exec\"))) = 42;
                          int get(int unused) { return x; }
                          int bump(int by) { x += by; return x; }";
            let Some(path) = compile(&scratch, source) else {
                return;
            };
            let runtime = runtime(2);
            let hogs = Hogs::crowd(&runtime, 2);
            assert!(runtime.metrics().fibers() > 2);
            // By a task, while others are preempted: glibc fills in every thread's block.
            let opened = runtime.spawn(async move { Library::open(&path) });
            let library = join_all(&runtime, [opened]).remove(0);
            let tasks = (0..16).map(|_| {
                runtime.spawn(async move {
                    let (get, bump) = (library.function(c"get"), library.function(c"bump"));
                    let before = get(0);
                    // What tasks before this one have left under the same identity.
                    assert!(before >= 42 && (before - 42) % 1000 == 0, "{before}");
                    let metrics = metrics();
                    let wanted = metrics.asynchronous_preemptions() + 20;
                    for step in 1..=1000 {
                        assert_eq!(bump(1), before + step);
                    }
                    spin_until("preemptions", || {
                        assert_eq!(get(0), before + 1000);
                        metrics.asynchronous_preemptions() >= wanted
                    });
                })
            });
            join_all(&runtime, tasks);
            hogs.stop(&runtime);
        },
    );
}

#[test]
fn functions_are_bound_lazily_under_preemption() {
    isolated::run("functions_are_bound_lazily_under_preemption", || {
        let scratch = Scratch::new("lazy");
        // Each calls another function of libc or libm for the first time.
        let functions = [
            (
                "f0",
                "#include <stdlib.h>\nint f0(int n) { return (int)labs(-n); }",
            ),
            (
                "f1",
                "#include <string.h>\nint f1(int n) { char b[40]; memset(b, 'a', 39); b[39] = 0; b[n] = 0; return (int)strlen(b); }",
            ),
            (
                "f2",
                "#include <ctype.h>\nint f2(int n) { return tolower(toupper('a')) - 'a' + n; }",
            ),
            (
                "f3",
                "#include <stdio.h>\nint f3(int n) { char b[40]; snprintf(b, 40, \"%d\", n); return atoi(b); }",
            ),
            (
                "f4",
                "#include <math.h>\nint f4(int n) { return (int)lround(cbrt((double)n * n * n)); }",
            ),
            (
                "f5",
                "#include <math.h>\nint f5(int n) { return (int)lround(hypot(3.0 * n, 4.0 * n) / 5); }",
            ),
            (
                "f6",
                "#include <wchar.h>\nint f6(int n) { wchar_t b[40]; wmemset(b, L'a', 39); b[n] = 0; return (int)wcslen(b); }",
            ),
            (
                "f7",
                "#include <string.h>\nint f7(int n) { char b[40] = {0}; b[n] = 'x'; return (int)((char*)memchr(b, 'x', 40) - b); }",
            ),
        ];
        let source: Vec<_> = functions.iter().map(|(_, source)| *source).collect();
        let Some(path) = compile(&scratch, &source.join("\n")) else {
            return;
        };
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::crowd(&runtime, 2);
            for _ in 0..25 {
                // Closed and opened again, its calls are unbound again.
                let library = Library::open(&path);
                let tasks = (0..4_usize).map(|task| {
                    runtime.spawn(async move {
                        for (index, _) in functions.iter().enumerate().cycle().skip(task).take(16) {
                            let name = CString::new(functions[index].0).expect("no zero in it");
                            let function = library.function(&name);
                            assert_eq!(function(17), 17, "{name:?}");
                        }
                    })
                });
                join_all(&runtime, tasks);
                library.close();
            }
            hogs.stop(&runtime);
            assert!(runtime.metrics().preemptions() > 0);
        }
    });
}
