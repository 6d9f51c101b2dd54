"""Backtraces of suspended fibers, for gdb.

    gdb -p PID -ex 'source tools/gdb.py' -ex preemptive-fibers
    (gdb) handle SIGURG nostop noprint pass      # do this in every session: preemption is a signal

A fiber that no worker runs (preempted, or spare) belongs to no thread that gdb knows: its registers are in
memory. But its lender, an ordinary thread, waits in the kernel with the fiber as an argument of
`wait_on_park_stack`. So the command goes through all threads, and for each lender loads the saved
registers for as long as a backtrace takes. A fiber that runs right now is printed by `thread apply all bt`,
with the worker that runs it; here it is named only.

The layout of the saved frame is `CallFrame` in src/arch/x86_64/mod.rs: control words, r15, r14, r13, r12, rbx, rbp,
return address. Types are needed, so build with full debug information (`debug = true`); for a core file, whose registers
cannot be set, the command does not work.
"""

import gdb

SAVED = ("r15", "r14", "r13", "r12", "rbx", "rbp", "rip")
FIBER = "preemptive::stack::fiber::Fiber"
LENDER = "wait_on_park_stack"


def lender_frame():
    """The selected thread's frame of the lender's wait, or None."""
    frame = gdb.newest_frame()
    for _ in range(64):
        if frame is None:
            return None
        name = frame.name()
        if name and LENDER in name:
            return frame
        try:
            frame = frame.older()
        except gdb.error:
            return None
    return None


def fiber_of(frame):
    """The fiber that a lender has lent, as an address."""
    frame.select()
    for name in ("fiber", "argument"):
        try:
            value = frame.read_var(name)
        except (ValueError, gdb.error):
            continue
        if value.is_optimized_out:
            continue
        if value.type.strip_typedefs().code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_REF):
            return int(value.cast(gdb.lookup_type("unsigned long")))
    return None


def field(address, path):
    """The address of a field of a fiber."""
    fiber = gdb.lookup_type(FIBER)
    value = gdb.Value(address).cast(fiber.pointer()).dereference()
    for name in path.split("."):
        value = value[name]
    return int(value.address)


def word(address):
    """Eight bytes of the program's memory."""
    data = gdb.selected_inferior().read_memory(address, 8)
    return int.from_bytes(bytes(data), "little")


def backtrace_from(sp):
    """A backtrace as if the selected thread were suspended with its frame at `sp`."""
    # Registers are those of the selected frame, and setting them in another than the newest changes its caller's.
    gdb.newest_frame().select()
    names = ("rsp",) + SAVED
    before = {name: gdb.parse_and_eval("$" + name) for name in names}
    values = {name: word(sp + 8 * (index + 1)) for index, name in enumerate(SAVED)}
    # The frame is popped before the return address is.
    values["rsp"] = sp + 8 * (len(SAVED) + 1)
    try:
        for name in names:
            gdb.execute(f"set ${name} = {values[name]:#x}", to_string=True)
        return gdb.execute("backtrace", to_string=True)
    finally:
        gdb.newest_frame().select()
        for name in names:
            gdb.execute(f"set ${name} = {int(before[name]) & 2**64 - 1:#x}", to_string=True)


class PreemptiveFibers(gdb.Command):
    """Print a backtrace of every fiber that is suspended: preempted in the middle of a poll, or spare."""

    def __init__(self):
        super().__init__("preemptive-fibers", gdb.COMMAND_STACK)

    def invoke(self, _argument, _from_tty):
        try:
            gdb.lookup_type(FIBER)
        except gdb.error:
            print(f"no type information for {FIBER}: build with debug = true")
            return
        selected = gdb.selected_thread()
        count = 0
        try:
            for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
                thread.switch()
                frame = lender_frame()
                address = fiber_of(frame) if frame else None
                if address is None:
                    continue
                count += 1
                self.show(thread, address)
        finally:
            if selected:
                selected.switch()
        print(f"{count} lent fibers")

    def show(self, thread, address):
        worker = word(field(address, "worker"))
        head = f"fiber {address:#x} of thread {thread.num} ({thread.name})"
        if worker:
            print(f"{head}: runs on worker {worker:#x}")
            return
        print(f"{head}: suspended")
        print(backtrace_from(word(field(address, "saved"))))


PreemptiveFibers()
