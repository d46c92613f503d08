//! A client that sends what it is told to and reads raw replies.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};

/// A connection.
pub(crate) struct Raw {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
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
        Self { stream, tls: None, buffer: Vec::new() }
    }

    /// Over TLS, to `localhost`.
    pub(crate) fn connect_tls(addr: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut raw = Self::connect(addr);
        let name = "localhost".try_into().unwrap();
        let mut tls = ClientConnection::new(config.clone(), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut raw.stream)?;
        }
        raw.tls = Some(Box::new(tls));
        Ok(raw)
    }

    pub(crate) fn tls(&self) -> &ClientConnection {
        self.tls.as_ref().expect("over TLS")
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(&mut **tls, &mut self.stream);
                stream.write_all(bytes).and_then(|()| stream.flush())
            }
            None => self.stream.write_all(bytes),
        }
    }

    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(space),
            None => self.stream.read(space),
        }
    }

    /// Sends bytes as they are. False if the server has closed the connection.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.write(bytes).is_ok()
    }

    /// Sends a command.
    pub(crate) fn command<A: AsRef<[u8]>>(&mut self, words: &[A]) {
        assert!(self.send(&encoded(words)));
    }

    /// The bytes of the next reply.
    pub(crate) fn reply(&mut self) -> Vec<u8> {
        self.try_reply()
            .unwrap_or_else(|e| panic!("{e} after {:?}", String::from_utf8_lossy(&self.buffer)))
    }

    /// The bytes of the next reply, unless the connection ends before.
    pub(crate) fn try_reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = length(&self.buffer, 0) {
                return Ok(self.buffer.drain(..end).collect());
            }
            let mut space = [0; 16 << 10];
            let count = self.read(&mut space)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.buffer.extend_from_slice(&space[..count]);
        }
    }

    /// Whether the next bytes are `expected`; not if the connection ends instead.
    pub(crate) fn at_once(&mut self, expected: &[u8]) -> bool {
        let mut space = vec![0; expected.len()];
        matches!(self.read(&mut space), Ok(count) if &space[..count] == expected)
    }

    /// Sends a command given as words, and reads its reply.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.command(&words(command));
        String::from_utf8_lossy(&self.reply()).into_owned()
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.buffer);
        let mut space = [0; 16 << 10];
        while let Ok(count @ 1..) = self.read(&mut space) {
            rest.extend_from_slice(&space[..count]);
        }
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
