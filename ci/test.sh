#!/usr/bin/env bash
# Every test in debug, documentation included; the integration tests in release as well. Unit tests, integration tests
# and those of compat-tests run under an allocator that aborts inside critical sections, so they check rule R1 too;
# HACKING.md says which do not.
#
# A hang is a failure: every test binary gets TEST_LIMIT seconds, every cargo call RUN_LIMIT.
set -euo pipefail
cd "$(dirname "$0")/.."

limit=${TEST_LIMIT:-300}
run_limit=${RUN_LIMIT:-1500}
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="timeout -k 10 $limit"

failed=0
bounded() {
    local status=0
    timeout -k 30 "$run_limit" "$@" || status=$?
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        echo "ci/test.sh: '$*' took more than $run_limit s" >&2
    fi
    [ "$status" = 0 ] || failed=1
}

bounded cargo test --workspace --all-features --no-fail-fast
bounded cargo test --release --features tracing --no-fail-fast --test tracing
bounded cargo test --release --no-fail-fast --test '*'
# Once more without signals: hogs check then (tests/support/load.rs).
PREEMPTIVE_ASYNC_PREEMPT=off bounded cargo test --release --no-fail-fast \
    --test blocked --test cancel --test checked --test drops --test scheduling --test timers
# What tokio-console sees. A build of its own: `console-subscriber` wants a flag, and cargo gives flags to every crate.
RUSTFLAGS="${RUSTFLAGS:-} --cfg console_without_tokio_unstable" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/console" \
    bounded cargo test -p console-tests --no-fail-fast
exit "$failed"
