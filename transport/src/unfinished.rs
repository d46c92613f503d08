//! A stream that is reset, not finished, when it is let go before its end.
//!
//! quinn finishes a stream that is dropped. Whoever reads it would then take the part that was
//! written before the writer gave up (or panicked, or was cancelled) for all of it.

use std::ops::{Deref, DerefMut};

use quinn::SendStream;

use crate::close::CloseCode;

/// A stream to write to, up to [`Unfinished::finish`].
pub(crate) struct Unfinished {
    stream: SendStream,
    ended: bool,
}

impl Unfinished {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self { stream, ended: false }
    }

    /// Everything is written.
    pub(crate) fn finish(&mut self) {
        self.ended = true;
        // Cannot have been finished before; that the other end stopped it shows elsewhere.
        let _ = self.stream.finish();
    }

    /// Breaks the stream off, with a reason.
    pub(crate) fn reset(&mut self, code: CloseCode) {
        self.ended = true;
        // An error means that the stream is gone already.
        let _ = self.stream.reset(code.into());
    }
}

impl Deref for Unfinished {
    type Target = SendStream;

    fn deref(&self) -> &SendStream {
        &self.stream
    }
}

impl DerefMut for Unfinished {
    fn deref_mut(&mut self) -> &mut SendStream {
        &mut self.stream
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.ended {
            self.reset(CloseCode::Dropped);
        }
    }
}
