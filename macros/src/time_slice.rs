//! The value of `time_slice`: a whole number and a unit.

const MIN_NANOS: u64 = 50_000;
const MAX_NANOS: u64 = 10_000_000_000;

/// The units, and their nanoseconds. Both micro signs of Unicode are there: keyboards differ.
const UNITS: [(&str, u64); 5] = [
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
];

/// Parses `text`, say `1ms`, and returns its nanoseconds, or what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!(
            "`time_slice` starts with a whole number, not with `{text}`: write it as in \"1ms\""
        ));
    }
    if unit.is_empty() {
        return Err(format!(
            "`time_slice` needs a unit after `{number}`: one of `us`, `µs`, `ms`, `s`"
        ));
    }
    if unit.starts_with('.') {
        return Err(
            "`time_slice` is a whole number: use a smaller unit, as in \"1500us\"".to_owned(),
        );
    }
    let unit = unit.trim_start_matches(' ');
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!(
            "unknown unit `{unit}` in `time_slice`: use `us`, `µs`, `ms` or `s`"
        ));
    };
    // Digits alone fail to parse only when there are too many of them.
    let nanos = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*scale));
    match nanos {
        Some(nanos) if (MIN_NANOS..=MAX_NANOS).contains(&nanos) => Ok(nanos),
        _ => Err(format!(
            "`time_slice` of {number} {unit} is out of range: use a value from 50 µs to 10 s"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_unit() {
        assert_eq!(parse("100us"), Ok(100_000));
        assert_eq!(parse("100µs"), Ok(100_000));
        assert_eq!(parse("100μs"), Ok(100_000));
        assert_eq!(parse("1ms"), Ok(1_000_000));
        assert_eq!(parse("2s"), Ok(2_000_000_000));
        assert_eq!(parse("20 ms"), Ok(20_000_000));
    }

    #[test]
    fn bounds_are_included() {
        assert_eq!(parse("50us"), Ok(50_000));
        assert_eq!(parse("10s"), Ok(10_000_000_000));
        assert_eq!(parse("10000000µs"), Ok(10_000_000_000));
    }

    #[test]
    fn out_of_range() {
        for text in [
            "49us",
            "0s",
            "11s",
            "10001ms",
            "99999999999999999999s",
            "18446744073709551s",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("out of range"), "{text}: {error}");
        }
    }

    #[test]
    fn malformed() {
        for (text, part) in [
            ("", "starts with a whole number"),
            ("ms", "starts with a whole number"),
            ("-1ms", "starts with a whole number"),
            ("+1ms", "starts with a whole number"),
            (" 1ms", "starts with a whole number"),
            ("1", "needs a unit after `1`"),
            ("1.5ms", "use a smaller unit"),
            ("1ns", "unknown unit `ns`"),
            ("1MS", "unknown unit `MS`"),
            ("1ms ", "unknown unit `ms `"),
            ("1_000us", "unknown unit `_000us`"),
            ("1 ", "unknown unit ``"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
