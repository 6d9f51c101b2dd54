//! Panics that belong to a test are not to be mistaken for its failure.

use std::sync::Once;

/// What Tokio says where it refuses, and what tests say themselves.
const EXPECTED: [&str; 3] = [
    "Cannot block the current thread from within a runtime",
    "Cannot start a runtime from within a runtime",
    "expected:",
];

/// Panics with such messages are not reported any more.
pub(crate) fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let message = compat_tests::message(info.payload()).unwrap_or_default();
            if !EXPECTED.iter().any(|text| message.starts_with(text)) {
                before(info);
            }
        }));
    });
}
