//! What a literal's source text says.

/// The text between the quotes of a string literal; `None` if `source` is no plain string.
///
/// A string with an escape is refused too: no argument needs one.
pub(crate) fn string(source: &str) -> Option<&str> {
    let (hashes, quoted) = match source.strip_prefix('r') {
        Some(rest) => {
            let quoted = rest.trim_start_matches('#');
            (&rest[..rest.len() - quoted.len()], quoted)
        }
        None if source.contains('\\') => return None,
        None => ("", source),
    };
    quoted
        .strip_prefix('"')?
        .strip_suffix(hashes)?
        .strip_suffix('"')
}

/// The value of an integer literal; `None` if `source` is no integer, or exceeds a `usize`.
pub(crate) fn integer(source: &str) -> Option<usize> {
    const SUFFIXES: [&str; 12] = [
        "usize", "isize", "u128", "i128", "u64", "i64", "u32", "i32", "u16", "i16", "u8", "i8",
    ];
    if !source.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let bare = SUFFIXES
        .iter()
        .find_map(|suffix| source.strip_suffix(suffix))
        .unwrap_or(source);
    let digits = bare.replace('_', "");
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ => (&digits[..], 10),
    };
    usize::from_str_radix(digits, radix).ok()
}

/// A path as `crate` takes it: whether it starts with `::`, and its segments.
pub(crate) fn path(text: &str) -> Option<(bool, Vec<&str>)> {
    let (global, rest) = match text.strip_prefix("::") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let segments: Vec<&str> = rest.split("::").collect();
    segments
        .iter()
        .all(|segment| is_identifier(segment))
        .then_some((global, segments))
}

fn is_identifier(text: &str) -> bool {
    let text = text.strip_prefix("r#").unwrap_or(text);
    let starts = |c: char| c == '_' || c.is_alphabetic();
    text != "_" && text.starts_with(starts) && text.chars().all(|c| starts(c) || c.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::{integer, path, string};

    #[test]
    fn strings() {
        assert_eq!(string(r#""1ms""#), Some("1ms"));
        assert_eq!(string(r##"r"1ms""##), Some("1ms"));
        assert_eq!(string(r###"r#"1ms"#"###), Some("1ms"));
        assert_eq!(string(r#""""#), Some(""));
        assert_eq!(string(r#"b"1ms""#), None);
        assert_eq!(string(r#""1\u{6d}s""#), None);
        assert_eq!(string(r#""1ms"x"#), None);
        assert_eq!(string("'m'"), None);
        assert_eq!(string("1"), None);
    }

    #[test]
    fn integers() {
        assert_eq!(integer("4"), Some(4));
        assert_eq!(integer("4usize"), Some(4));
        assert_eq!(integer("1_6u8"), Some(16));
        assert_eq!(integer("0x1F"), Some(31));
        assert_eq!(integer("0b11"), Some(3));
        assert_eq!(integer("0o17"), Some(15));
        assert_eq!(integer("0"), Some(0));
        assert_eq!(integer("1.0"), None);
        assert_eq!(integer("1e3"), None);
        assert_eq!(integer("99999999999999999999"), None);
        assert_eq!(integer("\"4\""), None);
        assert_eq!(integer("4ms"), None);
    }

    #[test]
    fn paths() {
        assert_eq!(path("preemptive"), Some((false, vec!["preemptive"])));
        assert_eq!(path("::a::b"), Some((true, vec!["a", "b"])));
        assert_eq!(path("crate::r#dyn"), Some((false, vec!["crate", "r#dyn"])));
        for text in ["", "::", "a::", "a:b", "a b", "a-b", "3a", "_", "a<b>"] {
            assert_eq!(path(text), None, "{text}");
        }
    }
}
