//! A client that sends what it is told to and reads raw replies.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A connection.
pub(crate) struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Raw {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).unwrap())
    }

    /// Over a connection that is there already.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are. False if the server has closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a command.
    pub(crate) fn command<A: AsRef<[u8]>>(&mut self, words: &[A]) {
        assert!(self.send(&encoded(words)));
    }

    /// The bytes of the next reply.
    pub(crate) fn reply(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = length(&self.buffer, 0) {
                return self.buffer.drain(..end).collect();
            }
            let mut space = [0; 16 << 10];
            let count = self.stream.read(&mut space).unwrap();
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.buffer));
            self.buffer.extend_from_slice(&space[..count]);
        }
    }

    /// Sends a command given as words, and reads its reply.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.command(&words(command));
        String::from_utf8_lossy(&self.reply()).into_owned()
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.buffer);
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

/// The words of a command, in which `''` is an empty one.
pub(crate) fn words(command: &str) -> Vec<Vec<u8>> {
    let word = |word: &str| if word == "''" { Vec::new() } else { word.as_bytes().to_vec() };
    command.split(' ').map(word).collect()
}

/// A command as a client sends it.
pub(crate) fn encoded<A: AsRef<[u8]>>(words: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
        bytes.extend_from_slice(word.as_ref());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Where the reply that begins at `at` ends, if it is whole.
fn length(bytes: &[u8], at: usize) -> Option<usize> {
    let line = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let behind = at + line + 2;
    let number =
        || -> i64 { std::str::from_utf8(&bytes[at + 1..at + line]).unwrap().parse().unwrap() };
    let items = match bytes[at] {
        b'$' | b'=' => {
            let length = number();
            let end = if length < 0 { behind } else { behind + length as usize + 2 };
            return (end <= bytes.len()).then_some(end);
        }
        b'*' | b'~' | b'>' => number().max(0),
        b'%' => number() * 2,
        _ => return Some(behind),
    };
    (0..items).try_fold(behind, |at, _| length(bytes, at))
}
