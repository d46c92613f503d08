//! Requests out of the bytes of a connection.
//!
//! A parser of our own: requests are all alike (an array of strings, or a line), while general RESP
//! parsers read nested values by recursion and begin again with every packet. This one goes on where
//! it was, believes no length before it was checked, reserves nothing for a length alone, and speaks
//! of errors in the words of Redis.

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;

use super::inline::split;
use crate::redis::parse_integer;

/// Longest line: a length, or a request typed by hand.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Most arguments of a request.
const ARGUMENTS_MAX: i64 = 1 << 20;
/// Room made for arguments before any has come.
const ARGUMENTS_AHEAD: i64 = 16;
/// The same for a client that has not said who it is, as in Redis; and its longest argument.
const UNTRUSTED_ARGUMENTS_MAX: i64 = 10;
const UNTRUSTED_BULK_BYTES_MAX: usize = 16 << 10;
/// What an argument takes beside its bytes.
const ARGUMENT_COST: usize = 48;

/// A command and its arguments; never empty.
pub(crate) type Request = Vec<Bytes>;

/// Why a connection cannot go on: what follows would not be understood.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum ProtocolError {
    #[error("too big mbulk count string")]
    ArrayLine,
    #[error("too big bulk count string")]
    BulkLine,
    #[error("too big inline request")]
    InlineLine,
    #[error("invalid multibulk length")]
    ArrayLength,
    #[error("invalid bulk length")]
    BulkLength,
    #[error("expected '$', got '{0}'")]
    NoBulk(char),
    #[error("unbalanced quotes in request")]
    Quotes,
    #[error("a request may take {0} bytes")]
    TooLarge(usize),
    #[error("unauthenticated multibulk length")]
    UntrustedArray,
    #[error("unauthenticated bulk length")]
    UntrustedBulk,
}

/// Where in a request the parser is.
#[derive(Debug)]
pub(crate) struct Parser {
    /// Arguments that came.
    arguments: Request,
    /// How many are missing; 0 between requests.
    missing: usize,
    /// The length of the argument that is coming.
    bulk: Option<usize>,
    /// How far the input was searched for the end of a line.
    searched: usize,
    /// What the arguments take.
    bytes: usize,
    bytes_max: usize,
    /// Whether the client has said who it is.
    trusted: bool,
}

impl Parser {
    /// For requests that take up to `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            arguments: Vec::new(),
            missing: 0,
            bulk: None,
            searched: 0,
            bytes: 0,
            bytes_max,
            trusted: true,
        }
    }

    /// Whether requests may be larger than it takes to say who one is.
    pub(crate) fn trust(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    /// Whether it is between two requests.
    pub(crate) fn is_idle(&self) -> bool {
        self.missing == 0
    }

    /// What the part of a request takes that has come.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much is missing, as far as that is known: worth reading at once.
    pub(crate) fn wanted(&self, input: &BytesMut) -> usize {
        self.bulk.map_or(0, |length| (length + 2).saturating_sub(input.len()))
    }

    /// The next whole request at the front of `input`, which is taken out of it.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        loop {
            if self.missing == 0 {
                match input.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        let Some(line) = self.line(input, ProtocolError::ArrayLine)? else {
                            return Ok(None);
                        };
                        let count = parse_integer(&line[1..]).filter(|n| *n <= ARGUMENTS_MAX);
                        let count = count.ok_or(ProtocolError::ArrayLength)?;
                        if !self.trusted && count > UNTRUSTED_ARGUMENTS_MAX {
                            return Err(ProtocolError::UntrustedArray);
                        }
                        // An empty array asks for nothing.
                        self.missing = usize::try_from(count).unwrap_or(0);
                        self.arguments =
                            Vec::with_capacity(count.clamp(0, ARGUMENTS_AHEAD) as usize);
                    }
                    Some(_) => {
                        let Some(line) = self.line(input, ProtocolError::InlineLine)? else {
                            return Ok(None);
                        };
                        let arguments = split(&line).ok_or(ProtocolError::Quotes)?;
                        if !arguments.is_empty() {
                            return Ok(Some(arguments));
                        }
                    }
                }
                continue;
            }
            if !self.argument(input)? {
                return Ok(None);
            }
            if self.missing == 0 {
                self.bytes = 0;
                return Ok(Some(std::mem::take(&mut self.arguments)));
            }
        }
    }

    /// Takes one more argument, if it is whole.
    fn argument(&mut self, input: &mut BytesMut) -> Result<bool, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => {
                let Some(line) = self.line(input, ProtocolError::BulkLine)? else {
                    return Ok(false);
                };
                let [b'$', digits @ ..] = &line[..] else {
                    let found = line.first().copied().unwrap_or(b'\r');
                    return Err(ProtocolError::NoBulk(found.into()));
                };
                let length = parse_integer(digits).and_then(|length| usize::try_from(length).ok());
                let length = length.ok_or(ProtocolError::BulkLength)?;
                self.bytes = self.bytes.saturating_add(length).saturating_add(ARGUMENT_COST);
                if length > self.bytes_max {
                    return Err(ProtocolError::BulkLength);
                }
                if !self.trusted && length > UNTRUSTED_BULK_BYTES_MAX {
                    return Err(ProtocolError::UntrustedBulk);
                }
                if self.bytes > self.bytes_max {
                    return Err(ProtocolError::TooLarge(self.bytes_max));
                }
                *self.bulk.insert(length)
            }
        };
        if input.len() < length + 2 {
            return Ok(false);
        }
        self.arguments.push(input.split_to(length).freeze());
        input.advance(2);
        self.bulk = None;
        self.missing -= 1;
        Ok(true)
    }

    /// The next line, without its end; `None` if it is not whole yet.
    fn line(
        &mut self,
        input: &mut BytesMut,
        too_long: ProtocolError,
    ) -> Result<Option<Bytes>, ProtocolError> {
        let from = self.searched.min(input.len());
        let Some(at) = input[from..].iter().position(|byte| *byte == b'\n') else {
            self.searched = input.len();
            return if input.len() > LINE_BYTES_MAX { Err(too_long) } else { Ok(None) };
        };
        self.searched = 0;
        let line = input.split_to(from + at + 1).freeze();
        if line.len() > LINE_BYTES_MAX {
            return Err(too_long);
        }
        let end = line.len() - 1;
        let end = if end > 0 && line[end - 1] == b'\r' { end - 1 } else { end };
        Ok(Some(line.slice(..end)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BYTES_MAX: usize = 1 << 20;

    /// Feeds `bytes` in pieces of `step`; everything that comes out, and the error at the end.
    fn parse(bytes: &[u8], step: usize) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let (mut parser, mut input) = (Parser::new(BYTES_MAX), BytesMut::new());
        let mut requests = Vec::new();
        for piece in bytes.chunks(step.max(1)) {
            input.extend_from_slice(piece);
            loop {
                match parser.next(&mut input) {
                    Ok(Some(request)) => {
                        assert!(!request.is_empty());
                        requests.push(request.iter().map(|argument| argument.to_vec()).collect());
                    }
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    fn written(request: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
        for argument in request {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_in_whatever_pieces_it_comes(
            requests in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6), 0..6),
            step in 1usize..50,
        ) {
            let bytes: Vec<u8> = requests.iter().flat_map(|request| written(request)).collect();
            prop_assert_eq!(parse(&bytes, step), (requests, None));
        }

        #[test]
        fn garbage_is_refused_or_read_the_same_whatever_its_pieces(
            bytes in prop::collection::vec(
                prop::sample::select(b"*$0123456789-\r\n\"' ab\\x\xff".to_vec()), 0..300),
            step in 1usize..20,
        ) {
            prop_assert_eq!(parse(&bytes, step), parse(&bytes, bytes.len().max(1)));
        }
    }

    #[test]
    fn errors_are_in_the_words_of_redis() {
        for (bytes, text) in [
            ("*x\r\n", "invalid multibulk length"),
            ("*2000000\r\n", "invalid multibulk length"),
            ("*1\r\n:1\r\n", "expected '$', got ':'"),
            ("*1\r\n$x\r\n", "invalid bulk length"),
            ("*1\r\n$-1\r\n", "invalid bulk length"),
            ("*1\r\n$1073741824\r\n", "invalid bulk length"),
            ("GET \"a\r\n", "unbalanced quotes in request"),
        ] {
            assert_eq!(parse(bytes.as_bytes(), 3).1.unwrap().to_string(), text, "{bytes:?}");
        }
        let long = "x".repeat(LINE_BYTES_MAX + 2);
        assert_eq!(parse(long.as_bytes(), 9_000).1, Some(ProtocolError::InlineLine));
        let many = format!("*1000000\r\n{}", "$0\r\n\r\n".repeat(100_000));
        assert_eq!(parse(many.as_bytes(), 9_000).1, Some(ProtocolError::TooLarge(BYTES_MAX)));
    }

    #[test]
    fn lines_typed_by_hand_and_empty_arrays_are_fine() {
        let (requests, error) = parse(b"\r\n*0\r\n*-1\r\nset  a 'b c'\nPING\r\n", 1);
        assert_eq!(error, None);
        let expected: [&[&[u8]]; 2] = [&[b"set", b"a", b"b c"], &[b"PING"]];
        assert_eq!(requests, expected);
    }
}
