//! Requests typed by hand: words, which may be quoted.

use bytes::Bytes;

/// The words of a line, as Redis splits it; `None` if quotes are not closed, or closed in the middle
/// of a word.
pub(super) fn split(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        rest = &rest[blank..];
        if rest.is_empty() {
            return Some(words);
        }
        let (word, behind) = word(rest)?;
        words.push(word.into());
        rest = behind;
    }
}

/// The word at the front of `text`, and what is behind it.
fn word(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match text {
            [] => return Some((word, text)),
            [byte, ..] if byte.is_ascii_whitespace() => return Some((word, text)),
            [b'"', rest @ ..] => {
                text = double_quoted(rest, &mut word)?;
                return ends_a_word(text).then_some((word, text));
            }
            [b'\'', rest @ ..] => {
                text = single_quoted(rest, &mut word)?;
                return ends_a_word(text).then_some((word, text));
            }
            [byte, rest @ ..] => {
                word.push(*byte);
                text = rest;
            }
        }
    }
}

fn ends_a_word(text: &[u8]) -> bool {
    text.first().is_none_or(u8::is_ascii_whitespace)
}

fn double_quoted<'a>(mut text: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    loop {
        text = match text {
            [] => return None,
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'x', high, low, rest @ ..]
                if digit(*high).is_some() && digit(*low).is_some() =>
            {
                word.push(digit(*high)? << 4 | digit(*low)?);
                rest
            }
            [b'\\', escaped, rest @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest
            }
            [byte, rest @ ..] => {
                word.push(*byte);
                rest
            }
        };
    }
}

fn single_quoted<'a>(mut text: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        text = match text {
            [] => return None,
            [b'\'', rest @ ..] => return Some(rest),
            [b'\\', b'\'', rest @ ..] => {
                word.push(b'\'');
                rest
            }
            [byte, rest @ ..] => {
                word.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_unquoted() {
        let check = |line: &str, words: Option<&[&[u8]]>| {
            let found = split(line.as_bytes());
            let found =
                found.as_ref().map(|words| words.iter().map(|w| &w[..]).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), words, "{line}");
        };
        check("  a\tb  ", Some(&[b"a", b"b"]));
        check(r#""\x41\n\"" 'it\'s' c"#, Some(&[b"A\n\"", b"it's", b"c"]));
        check(r#"a"b c""#, Some(&[b"ab c"]));
        check(r#""a"b"#, None);
        check("'a", None);
        check(r#""\"#, None);
        check("", Some(&[]));
    }
}
