//! What concerns the whole process while identities are lent: user ids, forks, new programs, the dynamic loader.

mod support;

use std::ffi::{CStr, CString};
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::hostile::{Hogs, churn, join_all, metrics, runtime, spin_until};
use support::isolated;

unsafe extern "C" {
    fn setresuid(real: u32, effective: u32, saved: u32) -> i32;
}

/// Real, effective and saved user of every thread of this process, with the thread's name.
fn users() -> Vec<(String, String)> {
    let entries = std::fs::read_dir("/proc/self/task").expect("procfs is mounted");
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("status")).ok())
        .filter_map(|status| {
            let line = status.lines().find(|line| line.starts_with("Uid:"))?;
            let ids: Vec<_> = line.split_whitespace().skip(1).take(3).collect();
            Some((status.lines().next()?.to_owned(), ids.join(" ")))
        })
        .collect()
}

fn is_root() -> bool {
    // SAFETY: it has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped: changing user ids needs root");
    }
    root
}

/// Changes the effective id, `rounds` times there and back, and looks at all threads after each.
fn change_users(rounds: u32) {
    for round in 0..rounds {
        for user in [1000 + round, 0] {
            // SAFETY: it has no preconditions.
            assert_eq!(unsafe { setresuid(0, user, 0) }, 0);
            // SAFETY: as above.
            assert_eq!(unsafe { libc::geteuid() }, user);
            let wanted = format!("0 {user} 0");
            // Threads that run code have it when the call returns; those that only lend their identities
            // may follow a moment later.
            let start = std::time::Instant::now();
            loop {
                let mut others = users();
                others.retain(|(_, ids)| *ids != wanted);
                if others.is_empty() {
                    break;
                }
                assert!(
                    start.elapsed() < Duration::from_secs(20),
                    "after round {round}, user {user}: {others:?}"
                );
            }
        }
    }
}

#[test]
fn a_thread_outside_changes_the_user_of_every_thread() {
    isolated::run("a_thread_outside_changes_the_user_of_every_thread", || {
        if !is_root() {
            return;
        }
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::start(&runtime, 3);
            change_users(40);
            hogs.stop(&runtime);
            assert!(runtime.metrics().preemptions() > 0);
        }
    });
}

#[test]
fn a_task_changes_the_user_of_every_thread() {
    isolated::run("a_task_changes_the_user_of_every_thread", || {
        if !is_root() {
            return;
        }
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::start(&runtime, 3);
            join_all(
                &runtime,
                [runtime.spawn(async {
                    change_users(40);
                })],
            );
            hogs.stop(&runtime);
            assert!(runtime.metrics().preemptions() > 0);
        }
    });
}

/// Waits for a child and returns its wait status.
fn wait(child: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: there is room for a status.
    let ended = unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(ended, child, "{}", std::io::Error::last_os_error());
    status
}

/// Forks; the child uses malloc and ends with status 7.
fn fork_and_allocate() {
    // SAFETY: the child calls what glibc allows after a fork of threads: malloc, write, _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let strings: Vec<String> = (0..500)
            .map(|number| format!("{number}").repeat(30))
            .collect();
        let length: usize = strings.iter().map(String::len).sum();
        // SAFETY: it has no preconditions.
        unsafe { libc::_exit(if length > 0 { 7 } else { 8 }) };
    }
    let status = wait(child);
    assert!(libc::WIFEXITED(status), "status {status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 7);
}

#[test]
fn a_forked_child_can_allocate_whatever_was_preempted() {
    isolated::run("a_forked_child_can_allocate_whatever_was_preempted", || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let stop = Arc::new(AtomicBool::new(false));
            let hogs = Hogs::start(&runtime, 1);
            // Preempted inside malloc as often as not.
            let allocating: Vec<_> = (0..3)
                .map(|_| {
                    let stop = stop.clone();
                    runtime.spawn(async move {
                        let mut blocks = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            blocks.push(vec![1_u8; 1 + blocks.len() % 5000]);
                            if blocks.len() > 100 {
                                blocks.clear();
                            }
                        }
                    })
                })
                .collect();
            let forking = (0..2).map(|_| {
                runtime.spawn(async {
                    for _ in 0..10 {
                        churn(3, 0, || ());
                        fork_and_allocate();
                    }
                })
            });
            join_all(&runtime, forking);
            stop.store(true, Ordering::SeqCst);
            join_all(&runtime, allocating);
            hogs.stop(&runtime);
        }
    });
}

#[test]
fn tasks_start_programs_beside_hogs() {
    isolated::run("tasks_start_programs_beside_hogs", || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let hogs = Hogs::start(&runtime, 2);
            let tasks = (0..3).map(|task| {
                runtime.spawn(async move {
                    for round in 0..8 {
                        let text = format!("{task}-{round}");
                        // `output` polls two pipes; a pre-exec hook makes std fork rather than spawn.
                        let mut command = Command::new("/bin/echo");
                        command.arg(&text);
                        if round % 2 == 1 {
                            use std::os::unix::process::CommandExt;
                            // SAFETY: the hook does nothing.
                            unsafe { command.pre_exec(|| Ok(())) };
                        }
                        let output = command.output().expect("echo runs");
                        assert!(output.status.success());
                        assert_eq!(output.stdout, format!("{text}\n").into_bytes());
                    }
                    let name = c"/bin/true".as_ptr().cast_mut();
                    let arguments = [name, std::ptr::null_mut()];
                    let none = [std::ptr::null_mut()];
                    let mut child = 0;
                    // SAFETY: the name and both arrays live, and end in null.
                    let answer = unsafe {
                        libc::posix_spawn(
                            &mut child,
                            name,
                            std::ptr::null(),
                            std::ptr::null(),
                            arguments.as_ptr(),
                            none.as_ptr(),
                        )
                    };
                    assert_eq!(answer, 0);
                    assert_eq!(wait(child), 0);
                })
            });
            join_all(&runtime, tasks);
            hogs.stop(&runtime);
        }
    });
}

#[test]
fn names_are_resolved_beside_hogs() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let hogs = Hogs::start(&runtime, 2);
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
            let hogs = Hogs::start(&runtime, 2);
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
            let hogs = Hogs::start(&runtime, 2);
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
