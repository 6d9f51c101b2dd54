//! A debugger that looks at this process.

use std::process::Command;

/// Is there one, with Python?
pub(crate) fn works() -> bool {
    match Command::new("gdb")
        .args(["-nx", "-batch", "-ex", "python print(6 * 7)"])
        .output()
    {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("42") => true,
        Ok(_) => {
            println!("skipped: this gdb has no Python");
            false
        }
        Err(error) => {
            println!("skipped: no gdb ({error})");
            false
        }
    }
}

/// What gdb makes of the frames of the calling thread.
pub(crate) fn backtrace_of_this_thread() -> String {
    // Where a tracer must be an ancestor, allow any.
    // SAFETY: concerns only who may trace this process.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, usize::MAX) };
    // SAFETY: no arguments, no preconditions.
    let thread = unsafe { libc::gettid() };
    let find = format!(
        "python [t.switch() for t in gdb.selected_inferior().threads() if t.ptid[1] == {thread}]"
    );
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-p", &std::process::id().to_string()])
        .args(["-ex", &find, "-ex", "backtrace"])
        .output()
        .expect("gdb starts");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
