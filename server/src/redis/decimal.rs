//! `INCRBYFLOAT`: sums of decimals as people expect them.
//!
//! Redis adds in the 80-bit format of one processor family and prints 17 decimals. Here two
//! numbers with up to 17 decimals are added exactly, which gives the same digits for all sums that
//! people write down, on every machine; whatever has more digits is added as doubles.

use super::number::parse_double;

/// Digits behind the point.
const DECIMALS: usize = 17;
/// Whole numbers up to here have room for that.
const WHOLE_DIGITS_MAX: usize = 19;

/// The sum of two numbers in text form. `None` if one is none, `Err` if the sum is not finite.
pub(super) fn add(left: &[u8], right: &[u8]) -> Option<Result<String, ()>> {
    if let (Some(left), Some(right)) = (parse(left), parse(right)) {
        return Some(Ok(print(left + right)));
    }
    let sum = parse_double(left)? + parse_double(right)?;
    if !sum.is_finite() {
        return Some(Err(()));
    }
    Some(Ok(trim(format!("{sum:.DECIMALS$}"))))
}

/// A number in units of 10^-17.
fn parse(text: &[u8]) -> Option<i128> {
    let mark = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e'));
    let (text, exponent) = match mark {
        None => (text, 0),
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse::<i32>().ok()?),
    };
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let point = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let (whole, part) = (&text[..point], text.get(point + 1..).unwrap_or_default());
    if whole.len() + part.len() == 0 || whole.len() > WHOLE_DIGITS_MAX || part.len() > DECIMALS {
        return None;
    }
    let mut value = 0i128;
    for byte in whole.iter().chain(part) {
        value = value * 10 + i128::from((*byte as char).to_digit(10)?);
    }
    let shift = (DECIMALS - part.len()) as i32;
    let shift = u32::try_from(shift.checked_add(exponent)?).ok()?;
    value = value.checked_mul(10i128.checked_pow(shift)?)?;
    // So that sums fit, too.
    if value > i128::MAX / 2 {
        return None;
    }
    Some(if negative { -value } else { value })
}

fn print(value: i128) -> String {
    let unit = 10u128.pow(DECIMALS as u32);
    let (whole, part) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    let sign = if value < 0 { "-" } else { "" };
    trim(format!("{sign}{whole}.{part:0DECIMALS$}"))
}

/// Without zeros that say nothing.
fn trim(text: String) -> String {
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_decimals() {
        let sum = |left: &str, right: &str| add(left.as_bytes(), right.as_bytes());
        assert_eq!(sum("0.1", "0.2"), Some(Ok("0.3".into())));
        assert_eq!(sum("10.50", "-10.5"), Some(Ok("0".into())));
        assert_eq!(sum("-1", "0.75"), Some(Ok("-0.25".into())));
        assert_eq!(sum("5.0e3", "200.1"), Some(Ok("5200.1".into())));
        assert_eq!(sum("25e-2", "-1E0"), Some(Ok("-0.75".into())));
        assert_eq!(sum("1e-300", "1"), Some(Ok("1".into())));
        assert_eq!(sum("1e99999999999", "1"), Some(Err(())));
        assert_eq!(sum("3", ".5"), Some(Ok("3.5".into())));
        assert_eq!(sum("1e308", "1e308"), Some(Err(())));
        assert_eq!(sum("x", "1"), None);
        assert_eq!(sum("1", "."), None);
        assert_eq!(sum("", "1"), None);
    }
}
