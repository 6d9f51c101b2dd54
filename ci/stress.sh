#!/usr/bin/env bash
# Loops the integration tests of the root package in release until something fails or the time is over.
#
#   bash ci/stress.sh [MINUTES] [TEST...]       default: 10 minutes, all of them
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:-10}
shift || true
tests=("$@")
if [ ${#tests[@]} = 0 ]; then
    for file in tests/*.rs; do
        tests+=("$(basename "$file" .rs)")
    done
fi
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="timeout -k 10 ${TEST_LIMIT:-300}"

arguments=()
for test in "${tests[@]}"; do
    arguments+=(--test "$test")
done
cargo test --release --no-run "${arguments[@]}"

end=$((SECONDS + minutes * 60))
rounds=0
while [ "$SECONDS" -lt "$end" ]; do
    for test in "${tests[@]}"; do
        if ! output=$(cargo test --quiet --release --test "$test" 2>&1); then
            printf '%s\n' "$output"
            echo "stress: $test failed in round $((rounds + 1))" >&2
            exit 1
        fi
    done
    rounds=$((rounds + 1))
done
echo "stress: $rounds rounds of ${#tests[@]} test files, none failed"
