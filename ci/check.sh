#!/usr/bin/env bash
# Everything that needs no test run: formatting, lints, documentation, and who may name whom.
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0

# forbid WHY PATTERN PATH... : lines that match are violations. Comment lines do not count.
forbid() {
    local why=$1 pattern=$2 found
    shift 2
    found=$(grep -rnE --include='*.rs' -e "$pattern" -- "$@" | grep -vE '^[^:]+:[0-9]+:[[:space:]]*//' || true)
    if [ -n "$found" ]; then
        printf '%s\n%s\n\n' "$why:" "$found" >&2
        failed=1
    fi
}

mapfile -t outside_arch < <(find src -name '*.rs' ! -path 'src/arch/*')
mapfile -t outside_primitives < <(find src -name '*.rs' ! -path src/primitives.rs ! -path src/sys.rs ! -name tests.rs ! -path '*/tests/*')

# The layers: src/arch <- src/stack <- src/preempt <- src/executor.
forbid 'arch names a layer above it' 'crate::(\{[^}]*)?\b(stack|preempt|executor)\b' src/arch
forbid 'stack names a layer above it' 'crate::(\{[^}]*)?\b(preempt|executor)\b' src/stack
forbid 'preempt names a layer above it' 'crate::(\{[^}]*)?\bexecutor\b' src/preempt
# Registers have names in arch only.
forbid 'machine code outside src/arch' '\b(naked_asm|global_asm|asm)!|\bucontext_t\b' "${outside_arch[@]}"
# Atomics and locks come from crate::primitives, so that loom can take their place. (Orderings are plain values.
# sys.rs lies below primitives.rs and hands words to the kernel.)
forbid 'an atomic that does not come from crate::primitives' \
    '\b(std|core)::sync::atomic::(\{[^}]*)?(Atomic[A-Z]|fence|compiler_fence|\*)' "${outside_primitives[@]}"
forbid 'a lock that does not come from crate::primitives' \
    '\bstd::sync::(\{[^}]*)?(Mutex|RwLock|Condvar|Barrier|Once|LazyLock|mpsc)' "${outside_primitives[@]}"
[ "$failed" = 0 ] || exit 1
echo "layers: ok"

cargo fmt --all --check
cargo clippy --workspace --all-targets --all-features -- -D warnings
# And as most people build it.
cargo clippy -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features
