//! Frames on a lane's stream: `[length u32 LE][version u8][bytes]`.
//!
//! Sans-IO: [`encode`] turns queued frames into few large chunks, [`FrameReader`] slices frames out
//! of whatever chunks arrive. The length counts the bytes after the version. A reader never
//! allocates what a header announces: it refuses the announcement over its limit, and otherwise
//! grows only with bytes that have arrived.

use bytes::{BufMut, Bytes, BytesMut};

/// The version of the frame layout; a reader refuses any other.
pub(crate) const FRAME_VERSION: u8 = 1;

/// Bytes in front of a frame.
pub(crate) const HEADER_BYTES: usize = 5;

/// Frames up to this length are copied together into one chunk; longer ones travel as they are.
/// quinn walks its unacknowledged chunks linearly, so many tiny chunks cost more than a copy.
const COPY_BYTES_MAX: usize = 4096;

/// What is wrong with an incoming stream of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame of {bytes} bytes announced, limit {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("frame version {0}, expected {FRAME_VERSION}")]
    Version(u8),
}

/// Appends `frames` to `chunks`, ready for one vectored write.
pub(crate) fn encode(frames: impl IntoIterator<Item = Bytes>, chunks: &mut Vec<Bytes>) {
    let mut small = BytesMut::new();
    for frame in frames {
        if frame.len() <= COPY_BYTES_MAX {
            put(&frame, &mut small);
        } else {
            put_header(&frame, &mut small);
            chunks.push(small.split().freeze());
            chunks.push(frame);
        }
    }
    if !small.is_empty() {
        chunks.push(small.freeze());
    }
}

/// Appends `frame`, with its header.
pub(crate) fn put(frame: &[u8], bytes: &mut BytesMut) {
    put_header(frame, bytes);
    bytes.extend_from_slice(frame);
}

fn put_header(frame: &[u8], bytes: &mut BytesMut) {
    // The sender has checked the limit, which is far below 4 GiB.
    bytes.put_u32_le(frame.len() as u32);
    bytes.put_u8(FRAME_VERSION);
}

/// The frame that `bytes` are; `None` if they are not exactly one.
pub(crate) fn only(bytes: Bytes, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let mut reader = FrameReader::new(limit);
    reader.feed(bytes);
    let frame = reader.next()?;
    Ok(frame.filter(|_| reader.input.is_empty()))
}

/// Slices frames out of the chunks of one stream.
#[derive(Debug)]
pub(crate) struct FrameReader {
    limit: usize,
    /// The rest of the last chunk.
    input: Bytes,
    /// The beginning of a frame (header included) whose end has not arrived.
    partial: BytesMut,
}

impl FrameReader {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, input: Bytes::new(), partial: BytesMut::new() }
    }

    /// Gives the reader the next chunk; only after [`FrameReader::next`] returned `None`.
    pub(crate) fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = chunk;
    }

    /// The next whole frame; `None` if it has not all arrived.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.partial.is_empty() {
            if self.input.len() >= HEADER_BYTES {
                let end = HEADER_BYTES + self.body_bytes(&self.input)?;
                if self.input.len() >= end {
                    // The whole frame lies in one chunk: no copy.
                    return Ok(Some(self.input.split_to(end).slice(HEADER_BYTES..)));
                }
            }
            self.take_into_partial(usize::MAX);
            return Ok(None);
        }
        self.take_into_partial(HEADER_BYTES);
        if self.partial.len() < HEADER_BYTES {
            return Ok(None);
        }
        let end = HEADER_BYTES + self.body_bytes(&self.partial)?;
        self.take_into_partial(end);
        if self.partial.len() < end {
            return Ok(None);
        }
        let frame = std::mem::take(&mut self.partial).freeze();
        Ok(Some(frame.slice(HEADER_BYTES..)))
    }

    /// Moves input to `partial` until that holds `want` bytes.
    fn take_into_partial(&mut self, want: usize) {
        let missing = want.saturating_sub(self.partial.len()).min(self.input.len());
        self.partial.extend_from_slice(&self.input.split_to(missing));
    }

    /// Checks a header; returns how many bytes follow it.
    fn body_bytes(&self, header: &[u8]) -> Result<usize, FrameError> {
        let mut length = [0; 4];
        length.copy_from_slice(&header[..4]);
        let bytes = u32::from_le_bytes(length) as usize;
        if header[4] != FRAME_VERSION {
            return Err(FrameError::Version(header[4]));
        }
        if bytes > self.limit {
            return Err(FrameError::TooLarge { bytes, limit: self.limit });
        }
        Ok(bytes)
    }

    /// Memory held for an unfinished frame.
    #[cfg(test)]
    fn capacity(&self) -> usize {
        self.partial.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(frames: &[Bytes]) -> Vec<u8> {
        let mut chunks = Vec::new();
        encode(frames.iter().cloned(), &mut chunks);
        chunks.concat()
    }

    fn read_all(wire: &[u8], cuts: &[usize], limit: usize) -> Result<Vec<Bytes>, FrameError> {
        let mut reader = FrameReader::new(limit);
        let mut frames = Vec::new();
        let mut rest = Bytes::copy_from_slice(wire);
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let cut = cuts.next().copied().unwrap_or(1).clamp(1, rest.len());
            reader.feed(rest.split_to(cut));
            while let Some(frame) = reader.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_frames(
            lengths in prop::collection::vec(0usize..9000, 0..20),
            cuts in prop::collection::vec(1usize..5000, 1..10),
        ) {
            let frames: Vec<Bytes> = lengths
                .iter()
                .enumerate()
                .map(|(i, len)| Bytes::from(vec![i as u8; *len]))
                .collect();
            prop_assert_eq!(read_all(&wire(&frames), &cuts, 9000).unwrap(), frames);
        }

        #[test]
        fn garbage_neither_panics_nor_hoards(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            cuts in prop::collection::vec(1usize..50, 1..10),
        ) {
            let _ = read_all(&bytes, &cuts, 1000);
        }
    }

    #[test]
    fn an_announcement_allocates_nothing() {
        let mut reader = FrameReader::new(1 << 30);
        let mut header = (1u32 << 30).to_le_bytes().to_vec();
        header.push(FRAME_VERSION);
        header.extend_from_slice(&[7; 100]);
        reader.feed(Bytes::from(header));
        assert_eq!(reader.next(), Ok(None));
        assert!(reader.capacity() < 4096, "{}", reader.capacity());
    }

    #[test]
    fn over_the_limit_and_other_versions_are_refused() {
        let frame = [Bytes::from_static(&[1; 11])];
        let refused = read_all(&wire(&frame), &[3], 10);
        assert_eq!(refused, Err(FrameError::TooLarge { bytes: 11, limit: 10 }));
        let mut other = wire(&frame);
        other[4] = 9;
        assert_eq!(read_all(&other, &[64], 100), Err(FrameError::Version(9)));
    }

    #[test]
    fn small_frames_share_a_chunk_and_large_ones_are_not_copied() {
        let large = Bytes::from(vec![9; COPY_BYTES_MAX + 1]);
        let mut chunks = Vec::new();
        let small = Bytes::from_static(b"vote");
        encode([small.clone(), small.clone(), large.clone(), small], &mut chunks);
        assert_eq!(chunks.len(), 3);
        assert_eq!(chunks[1].as_ptr(), large.as_ptr());
    }
}
