//! A connection of a Redis client: several commands out at once, their replies in.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::net::TcpStream;

/// Longest reply that is read.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// Read at once.
const READ_BYTES: usize = 8 << 10;
/// Replies in replies in replies.
const DEPTH_MAX: usize = 8;

/// A reply, as far as a load needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A status, a number, a text.
    Text(Bytes),
    /// Nothing.
    Nil,
    /// Several.
    Array(Vec<Reply>),
    /// What went wrong, in the server's words.
    Error(String),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    read: BytesMut,
    out: BytesMut,
}

impl Client {
    /// Connects to `addr`, as `user` with a password if there is one.
    pub(super) async fn connect(
        addr: SocketAddr,
        user: Option<&(String, String)>,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, read: BytesMut::new(), out: BytesMut::new() };
        if let Some((name, password)) = user {
            let auth = [&b"AUTH"[..], name.as_bytes(), password.as_bytes()];
            if let [Reply::Error(why)] = &client.ask(&[&auth[..]]).await?[..] {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why.clone()));
            }
        }
        Ok(client)
    }

    /// The replies to `commands`, which are sent together.
    pub(super) async fn ask<'a>(
        &mut self,
        commands: &[impl AsRef<[&'a [u8]]>],
    ) -> io::Result<Vec<Reply>> {
        self.out.clear();
        for command in commands {
            let words = command.as_ref();
            self.out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                self.out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                self.out.extend_from_slice(word);
                self.out.extend_from_slice(b"\r\n");
            }
        }
        write_all(&self.stream, &self.out).await?;
        let mut replies = Vec::with_capacity(commands.len());
        while replies.len() < commands.len() {
            match parse(&self.read, 0)? {
                Some((reply, length)) => {
                    self.read.advance(length);
                    replies.push(reply);
                }
                None if self.read.len() > REPLY_BYTES_MAX => return Err(broken("too long")),
                None => {
                    read_some(&self.stream, &mut self.read).await?;
                }
            }
        }
        Ok(replies)
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn read_some(stream: &TcpStream, into: &mut BytesMut) -> io::Result<()> {
    let mut space = [0; READ_BYTES];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut space) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                into.extend_from_slice(&space[..count]);
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a reply is no Redis reply: {why}"))
}

/// The reply at the beginning of `bytes` and its length, if it is whole.
fn parse(bytes: &[u8], depth: usize) -> io::Result<Option<(Reply, usize)>> {
    let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (text, behind) = (&bytes[1.min(line)..line], line + 2);
    let number = || {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
        number.filter(|number| *number <= REPLY_BYTES_MAX as i64).ok_or_else(|| broken("a length"))
    };
    let reply = match bytes.first() {
        Some(b'+' | b':') => Reply::Text(Bytes::copy_from_slice(text)),
        Some(b'-') => Reply::Error(String::from_utf8_lossy(text).into_owned()),
        Some(b'$') => {
            let Ok(length) = usize::try_from(number()?) else {
                return Ok(Some((Reply::Nil, behind)));
            };
            if bytes.len() < behind + length + 2 {
                return Ok(None);
            }
            let text = Bytes::copy_from_slice(&bytes[behind..behind + length]);
            return Ok(Some((Reply::Text(text), behind + length + 2)));
        }
        Some(b'*') => {
            let Ok(count) = usize::try_from(number()?) else {
                return Ok(Some((Reply::Nil, behind)));
            };
            if depth == DEPTH_MAX {
                return Err(broken("too deep"));
            }
            let (mut replies, mut at) = (Vec::new(), behind);
            for _ in 0..count {
                let Some((reply, length)) = parse(&bytes[at..], depth + 1)? else {
                    return Ok(None);
                };
                replies.push(reply);
                at += length;
            }
            return Ok(Some((Reply::Array(replies), at)));
        }
        _ => return Err(broken("an unknown kind")),
    };
    Ok(Some((reply, behind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whole_or_not_yet() {
        let text = |text: &str| Reply::Text(Bytes::copy_from_slice(text.as_bytes()));
        for (bytes, reply) in [
            ("+OK\r\n", text("OK")),
            (":-3\r\n", text("-3")),
            ("$3\r\na\r\n\r\n", text("a\r\n")),
            ("$-1\r\n", Reply::Nil),
            ("*-1\r\n", Reply::Nil),
            ("-ERR no\r\n", Reply::Error("ERR no".into())),
            (
                "*2\r\n$1\r\nx\r\n*1\r\n:1\r\n",
                Reply::Array(vec![text("x"), Reply::Array(vec![text("1")])]),
            ),
        ] {
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes.as_bytes()[..cut], 0).unwrap(), None, "{bytes:?} {cut}");
            }
            let found = parse(format!("{bytes}+more").as_bytes(), 0).unwrap();
            assert_eq!(found, Some((reply, bytes.len())));
        }
        for bytes in ["hello\r\n", "$x\r\n", "*99999999999\r\n", "\r\n"] {
            assert!(parse(bytes.as_bytes(), 0).is_err(), "{bytes:?}");
        }
        assert!(parse("*1\r\n".repeat(20).as_bytes(), 0).is_err());
    }
}
