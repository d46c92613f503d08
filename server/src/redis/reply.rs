//! What a client is answered, before it is known which version of the protocol it speaks.

use std::borrow::Cow;

use bytes::Bytes;

/// A reply. Its bytes, in RESP2 and RESP3, are made by the connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// A status, as `OK`.
    Simple(Cow<'static, str>),
    /// An error: a word in capitals, then a sentence.
    Error(Cow<'static, str>),
    /// A number.
    Integer(i64),
    /// A string of bytes.
    Bulk(Bytes),
    /// Nothing, in the place of a string.
    Null,
    /// Nothing, in the place of an array.
    NullArray,
    /// A floating-point number; a string in RESP2.
    Double(f64),
    /// Several.
    Array(Vec<Reply>),
    /// Several, of which none comes twice; an array in RESP2.
    Set(Vec<Reply>),
    /// Names and what they stand for; a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// Pairs: an array of arrays, but a flat one in RESP2.
    Pairs(Vec<(Reply, Reply)>),
    /// A text for people; a string in RESP2.
    Text(Bytes),
}

impl Reply {
    pub(crate) const OK: Self = Self::Simple(Cow::Borrowed("OK"));
    pub(crate) const QUEUED: Self = Self::Simple(Cow::Borrowed("QUEUED"));
    pub(crate) const ZERO: Self = Self::Integer(0);
    pub(crate) const ONE: Self = Self::Integer(1);

    /// An error.
    pub(crate) fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(text.into())
    }

    /// A string.
    pub(crate) fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// How many there are.
    pub(crate) fn count(count: usize) -> Self {
        Self::Integer(count as i64)
    }

    /// 1 for yes and 0 for no.
    pub(crate) fn flag(yes: bool) -> Self {
        Self::Integer(i64::from(yes))
    }

    /// A string, or nothing.
    pub(crate) fn optional(bytes: Option<Bytes>) -> Self {
        bytes.map_or(Self::Null, Self::Bulk)
    }

    /// Strings.
    pub(crate) fn bulks(items: impl IntoIterator<Item = Bytes>) -> Self {
        Self::Array(items.into_iter().map(Self::Bulk).collect())
    }

    /// Whether it is an error.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// About how much memory it takes, in bytes; strings are shared with whoever holds the value.
    pub(crate) fn cost(&self) -> usize {
        let inside = match self {
            Self::Text(bytes) => bytes.len(),
            Self::Array(items) | Self::Set(items) => items.iter().map(Self::cost).sum(),
            Self::Map(pairs) | Self::Pairs(pairs) => {
                pairs.iter().map(|(a, b)| a.cost() + b.cost()).sum()
            }
            Self::Simple(text) | Self::Error(text) => text.len(),
            Self::Bulk(_) | Self::Integer(_) | Self::Null | Self::NullArray | Self::Double(_) => 0,
        };
        inside + size_of::<Self>()
    }
}
