#!/usr/bin/env bash
# What a change must pass.
set -euo pipefail
here=$(dirname "$0")
bash "$here/check.sh"
bash "$here/test.sh"
