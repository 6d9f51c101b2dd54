//! Nothing but a place for `tests/console.rs`, which has a build of its own: `ci/test.sh` says how.
