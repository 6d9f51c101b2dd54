//! What the environment says about every runtime of a program, for debugging and soak tests.

use super::config::bad;
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

/// `off` turns asynchronous preemption off.
const ASYNC_PREEMPT: &str = "PREEMPTIVE_ASYNC_PREEMPT";
/// The time slice of runtimes whose builder names none, as `50us`, `1ms` or `2s`.
const TIME_SLICE: &str = "PREEMPTIVE_TIME_SLICE";

/// Whether polls may be preempted at any instruction.
pub(crate) fn allows_async_preempt() -> bool {
    std::env::var_os(ASYNC_PREEMPT).is_none_or(|value| value != "off")
}

/// The time slice that is asked for, if one is.
pub(crate) fn time_slice() -> io::Result<Option<Duration>> {
    let Some(value) = std::env::var_os(TIME_SLICE) else {
        return Ok(None);
    };
    match duration(&value) {
        Some(slice) => Ok(Some(slice)),
        None => Err(bad(format!(
            "{TIME_SLICE}={} is no duration: use a whole number and us, ms or s, as in 50us",
            value.to_string_lossy()
        ))),
    }
}

fn duration(value: &OsStr) -> Option<Duration> {
    let value = value.to_str()?;
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match &value[digits.len()..] {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        let read = |value: &str| duration(OsStr::new(value));
        assert_eq!(read("50us"), Some(Duration::from_micros(50)));
        assert_eq!(read("10ms"), Some(Duration::from_millis(10)));
        assert_eq!(read("2s"), Some(Duration::from_secs(2)));
        for wrong in ["", "us", "50", "50 us", "1.5ms", "-1ms", "1m", "µs", "1us2"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
