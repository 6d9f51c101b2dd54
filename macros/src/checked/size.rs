//! The value of `red_zone`: a whole number and a unit.

const MIN: usize = 1 << 10;
const MAX: usize = 1 << 30;

const UNITS: [(&str, usize); 3] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];

/// Parses `text`, say `64KiB`, and returns its bytes, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<usize, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(format!(
            "`red_zone` starts with a whole number, not with `{text}`: write it as in \"64KiB\""
        ));
    }
    if unit.is_empty() {
        return Err(format!(
            "`red_zone` needs a unit after `{number}`: one of `B`, `KiB`, `MiB`"
        ));
    }
    if unit.starts_with('.') {
        return Err(
            "`red_zone` is a whole number: use a smaller unit, as in \"1536KiB\"".to_owned(),
        );
    }
    let unit = unit.trim_start_matches(' ');
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(format!(
            "unknown unit `{unit}` in `red_zone`: use `B`, `KiB` or `MiB`"
        ));
    };
    // Digits alone fail to parse only when there are too many of them.
    let bytes = number
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(*scale));
    match bytes {
        Some(bytes) if (MIN..=MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "`red_zone` of {number} {unit} is out of range: use a value from 1 KiB to 1024 MiB"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_unit() {
        assert_eq!(parse("4096B"), Ok(4096));
        assert_eq!(parse("64KiB"), Ok(65_536));
        assert_eq!(parse("2 MiB"), Ok(2_097_152));
    }

    #[test]
    fn bounds_are_included() {
        assert_eq!(parse("1KiB"), Ok(1024));
        assert_eq!(parse("1024MiB"), Ok(1_073_741_824));
    }

    #[test]
    fn out_of_range() {
        for text in [
            "0B",
            "0KiB",
            "1023B",
            "1025MiB",
            "99999999999999999999B",
            "17592186044416MiB",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("out of range"), "{text}: {error}");
        }
    }

    #[test]
    fn malformed() {
        for (text, part) in [
            ("", "starts with a whole number"),
            ("KiB", "starts with a whole number"),
            ("-1KiB", "starts with a whole number"),
            ("64", "needs a unit after `64`"),
            ("1.5MiB", "use a smaller unit"),
            ("64KB", "unknown unit `KB`"),
            ("64kib", "unknown unit `kib`"),
            ("1GiB", "unknown unit `GiB`"),
            ("64KiB ", "unknown unit `KiB `"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
