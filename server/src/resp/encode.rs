//! Replies as bytes: RESP2, or RESP3 for clients that asked for it.

use bytes::{BufMut as _, BytesMut};

use crate::redis::{Reply, format_double};

/// Which version of the protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Resp {
    #[default]
    Two,
    Three,
}

impl Resp {
    /// Its number.
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// How many bytes [`encode`] appends: what is shared within a reply is copied there each time it occurs.
pub(crate) fn encoded_bytes(reply: &Reply, resp: Resp) -> usize {
    let three = resp == Resp::Three;
    let bulk = |len: usize| digits(len as u64) + len + 5;
    let head = |len: usize| digits(len as u64) + 3;
    let sum = |items: &[Reply]| -> usize {
        items
            .iter()
            .fold(head(items.len()), |sum, item| sum.saturating_add(encoded_bytes(item, resp)))
    };
    let flat = |pairs: &[(Reply, Reply)]| -> usize {
        pairs.iter().fold(0, |sum: usize, (left, right)| {
            let both = encoded_bytes(left, resp).saturating_add(encoded_bytes(right, resp));
            sum.saturating_add(both)
        })
    };
    match reply {
        Reply::Simple(text) | Reply::Error(text) => text.len() + 3,
        Reply::Integer(value) => digits(value.unsigned_abs()) + usize::from(*value < 0) + 3,
        Reply::Bulk(bytes) => bulk(bytes.len()),
        Reply::Null | Reply::NullArray => {
            if three {
                3
            } else {
                5
            }
        }
        Reply::Double(value) => {
            let text = format_double(*value).len();
            if three { text + 3 } else { bulk(text) }
        }
        Reply::Array(items) | Reply::Set(items) => sum(items),
        Reply::Map(pairs) if three => head(pairs.len()).saturating_add(flat(pairs)),
        // Each pair has a head of its own, `*2`.
        Reply::Pairs(pairs) if three => {
            (head(pairs.len()) + pairs.len() * 4).saturating_add(flat(pairs))
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            head(pairs.len() * 2).saturating_add(flat(pairs))
        }
        Reply::Text(text) if three => bulk(text.len() + 4),
        Reply::Text(text) => bulk(text.len()),
    }
}

/// How many digits it has.
fn digits(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends the bytes of `reply`.
pub(crate) fn encode(reply: &Reply, resp: Resp, out: &mut BytesMut) {
    match reply {
        Reply::Simple(text) => line(out, b'+', text.as_bytes()),
        Reply::Error(text) => {
            // A line end within would end the reply.
            let text: Vec<u8> = text
                .bytes()
                .map(|byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte })
                .collect();
            line(out, b'-', &text);
        }
        Reply::Integer(value) => number(out, b':', *value),
        Reply::Bulk(bytes) => bulk(out, bytes),
        Reply::Null if resp == Resp::Three => out.put_slice(b"_\r\n"),
        Reply::NullArray if resp == Resp::Three => out.put_slice(b"_\r\n"),
        Reply::Null => out.put_slice(b"$-1\r\n"),
        Reply::NullArray => out.put_slice(b"*-1\r\n"),
        Reply::Double(value) => {
            let text = format_double(*value);
            match resp {
                Resp::Two => bulk(out, text.as_bytes()),
                Resp::Three => line(out, b',', text.as_bytes()),
            }
        }
        Reply::Array(items) => list(out, b'*', items, resp),
        Reply::Set(items) if resp == Resp::Three => list(out, b'~', items, resp),
        Reply::Set(items) => list(out, b'*', items, resp),
        Reply::Map(pairs) if resp == Resp::Three => {
            number(out, b'%', pairs.len() as i64);
            flat(out, pairs, resp);
        }
        Reply::Pairs(pairs) if resp == Resp::Three => {
            number(out, b'*', pairs.len() as i64);
            for (left, right) in pairs {
                out.put_slice(b"*2\r\n");
                encode(left, resp, out);
                encode(right, resp, out);
            }
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            number(out, b'*', pairs.len() as i64 * 2);
            flat(out, pairs, resp);
        }
        Reply::Text(text) if resp == Resp::Three => {
            number(out, b'=', text.len() as i64 + 4);
            out.put_slice(b"txt:");
            out.put_slice(text);
            out.put_slice(b"\r\n");
        }
        Reply::Text(text) => bulk(out, text),
    }
}

fn list(out: &mut BytesMut, tag: u8, items: &[Reply], resp: Resp) {
    number(out, tag, items.len() as i64);
    items.iter().for_each(|item| encode(item, resp, out));
}

fn flat(out: &mut BytesMut, pairs: &[(Reply, Reply)], resp: Resp) {
    for (left, right) in pairs {
        encode(left, resp, out);
        encode(right, resp, out);
    }
}

fn bulk(out: &mut BytesMut, bytes: &[u8]) {
    number(out, b'$', bytes.len() as i64);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

fn line(out: &mut BytesMut, tag: u8, text: &[u8]) {
    out.put_u8(tag);
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

fn number(out: &mut BytesMut, tag: u8, value: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.put_u8(tag);
    if value < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &Reply, two: &str, three: &str) {
        for (resp, expected) in [(Resp::Two, two), (Resp::Three, three)] {
            let mut out = BytesMut::new();
            encode(reply, resp, &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), expected, "{resp:?}");
            assert_eq!(encoded_bytes(reply, resp), out.len(), "{reply:?}, {resp:?}");
        }
    }

    #[test]
    fn every_kind_in_both_versions() {
        let same = |reply: &Reply, bytes: &str| check(reply, bytes, bytes);
        same(&Reply::OK, "+OK\r\n");
        same(&Reply::error("ERR a\r\nb"), "-ERR a  b\r\n");
        same(&Reply::Integer(i64::MIN), ":-9223372036854775808\r\n");
        same(&Reply::Integer(0), ":0\r\n");
        same(&Reply::Integer(i64::MAX), ":9223372036854775807\r\n");
        same(&Reply::bulk("0123456789"), "$10\r\n0123456789\r\n");
        same(&Reply::bulk("a\r\n"), "$3\r\na\r\n\r\n");
        same(&Reply::Array(vec![Reply::ONE]), "*1\r\n:1\r\n");
        check(&Reply::Null, "$-1\r\n", "_\r\n");
        check(&Reply::NullArray, "*-1\r\n", "_\r\n");
        check(&Reply::Double(0.5), "$3\r\n0.5\r\n", ",0.5\r\n");
        check(&Reply::Set(vec![]), "*0\r\n", "~0\r\n");
        let pairs = vec![(Reply::bulk("a"), Reply::ONE)];
        check(&Reply::Map(pairs.clone()), "*2\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:1\r\n");
        check(&Reply::Pairs(pairs), "*2\r\n$1\r\na\r\n:1\r\n", "*1\r\n*2\r\n$1\r\na\r\n:1\r\n");
        check(&Reply::Text("hi".into()), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
    }
}
