//! Numbers as Redis reads and writes them.

/// A decimal integer without a plus sign, leading zeros or spaces: the only form in which Redis
/// takes one.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 20 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A floating-point number, infinities included, but no NaN and no spaces.
pub(super) fn parse_double(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (!value.is_nan()).then_some(value)
}

/// The shortest decimal that reads back as `value`, laid out as Redis does: whole numbers without
/// an exponent up to 2^52, others with one where that is shorter.
pub(crate) fn format_double(value: f64) -> String {
    const WHOLE_MAX: f64 = (1u64 << 52) as f64;
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.into();
    }
    if value.fract() == 0.0 && value.abs() < WHOLE_MAX {
        return (value as i64).to_string();
    }
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let laid_out = lay_out(&digits, exponent);
    if value < 0.0 { format!("-{laid_out}") } else { laid_out }
}

/// `digits` with a point behind the first, times ten to the `exponent`.
fn lay_out(digits: &str, exponent: i32) -> String {
    let count = digits.len() as i32;
    // The number is the digits as a whole number, times ten to this.
    let shift = exponent - (count - 1);
    if shift >= 0 && exponent < count + 7 {
        return format!("{digits}{}", "0".repeat(shift as usize));
    }
    if shift < 0 && (shift > -7 || exponent.abs() < 4) {
        let before = count + shift;
        if before <= 0 {
            return format!("0.{}{digits}", "0".repeat(-before as usize));
        }
        let (whole, part) = digits.split_at(before as usize);
        return format!("{whole}.{part}");
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_read() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("-", None),
            ("1e3", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_laid_out_as_redis_does() {
        for (value, text) in [
            (3.0, "3"),
            (-2.5, "-2.5"),
            (0.1, "0.1"),
            (1e15, "1000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (1.5e-9, "1.5e-9"),
            (f64::INFINITY, "inf"),
            (-0.0, "-0"),
            (17179869184.5, "17179869184.5"),
        ] {
            assert_eq!(format_double(value), text);
            assert_eq!(parse_double(text.as_bytes()), Some(value));
        }
        assert_eq!(parse_double(b"nan"), None);
        assert_eq!(parse_double(b" 1"), None);
    }
}
