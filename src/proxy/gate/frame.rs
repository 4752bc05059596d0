//! Following the frames of HTTP/2 by their heads, without keeping them.
//!
//! Inside: where frames begin and end (RFC 9113 section 4.1), which of them have no content, which complete the head of a
//! new stream, which reset one. Kept out: what is in a head, which only HPACK can tell, and what follows (`frames.rs`).

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in the frames of one direction we are.
#[derive(Debug, Default)]
pub struct Frames {
    /// What is left of the preface or of a frame's payload.
    skip: usize,
    /// What has come of the next frame's head.
    head: [u8; FRAME_HEAD_BYTES],
    head_bytes: usize,
    /// The last four bytes of the payload: all of RST_STREAM's.
    tail: [u8; 4],
}

/// A frame that is whole.
#[derive(Debug)]
pub struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    tail: [u8; 4],
}

impl Frames {
    /// What a client sends, from the preface on.
    pub fn of_client() -> Self {
        Self { skip: PREFACE_BYTES, ..Self::default() }
    }

    /// What a server sends.
    pub fn of_server() -> Self {
        Self::default()
    }

    /// Tells of each frame that is whole with these bytes.
    pub fn pass(&mut self, mut bytes: &[u8], mut whole: impl FnMut(&Frame)) {
        while !bytes.is_empty() {
            let (payload, rest) = bytes.split_at(self.skip.min(bytes.len()));
            self.skip -= payload.len();
            bytes = rest;
            for byte in &payload[payload.len().saturating_sub(self.tail.len())..] {
                self.tail.rotate_left(1);
                self.tail[3] = *byte;
            }
            if self.skip > 0 {
                return;
            }
            if self.head_bytes == FRAME_HEAD_BYTES {
                self.head_bytes = 0;
                whole(&self.frame());
            }
            let (part, rest) = bytes.split_at((FRAME_HEAD_BYTES - self.head_bytes).min(bytes.len()));
            self.head[self.head_bytes..self.head_bytes + part.len()].copy_from_slice(part);
            self.head_bytes += part.len();
            bytes = rest;
            if self.head_bytes == FRAME_HEAD_BYTES {
                let [a, b, c, ..] = self.head;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if self.skip == 0 {
                    self.head_bytes = 0;
                    whole(&self.frame());
                }
            }
        }
    }

    fn frame(&self) -> Frame {
        let [_, _, _, kind, flags, stream @ ..] = self.head;
        Frame { kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff, tail: self.tail }
    }
}

impl Frame {
    /// Whether it brings part of a body.
    pub fn is_data(&self) -> bool {
        self.kind == DATA
    }

    /// Whether it brings neither a request nor a body (RFC 9113 section 6).
    pub fn is_without_content(&self) -> bool {
        !matches!(self.kind, DATA | HEADERS | CONTINUATION)
    }

    /// PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, REFUSED_STREAM (RFC 9113 section 7): what `h2` resets streams
    /// with by itself, and nothing that we tell it to. STREAM_CLOSED answers what comes late, on a stream that is over.
    pub fn resets_for_a_broken_rule(&self) -> bool {
        self.kind == RST_STREAM && matches!(u32::from_be_bytes(self.tail), 1 | 3 | 6 | 7)
    }
}

/// Which heads are of new streams.
#[derive(Debug, Default)]
pub struct Heads {
    /// A new stream's head goes on in CONTINUATION.
    is_open: bool,
    last_stream: u32,
}

impl Heads {
    /// Whether the head of a new stream is whole with this frame. Trailers come on a stream that is open already (RFC 9113
    /// section 5.1.1).
    pub fn completes(&mut self, frame: &Frame) -> bool {
        if frame.kind == HEADERS && frame.stream > self.last_stream {
            self.last_stream = frame.stream;
            self.is_open = true;
        }
        let completes = self.is_open && matches!(frame.kind, HEADERS | CONTINUATION) && frame.flags & END_HEADERS != 0;
        self.is_open &= !completes;
        completes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn heads_of_new_streams_are_counted_wherever_the_bytes_are_cut() {
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0; 6]),
            frame(HEADERS, 5, 1, b"x"),
            frame(HEADERS, 0, 3, b"x"),
            frame(CONTINUATION, 0, 3, b""),
            frame(CONTINUATION, END_HEADERS, 3, b"xx"),
            frame(0, 0, 3, &frame(HEADERS, 5, 9, b"x")),
            // Trailers, and what looks like a head of a stream that is over.
            frame(HEADERS, 5, 3, b"x"),
            frame(HEADERS, 5, 1, b"x"),
            frame(HEADERS, 5, 0x8000_0007, b""),
        ]
        .concat();
        let count = |frames: &mut Frames, heads: &mut Heads, bytes: &[u8]| {
            let mut count = 0;
            frames.pass(bytes, |frame| count += u32::from(heads.completes(frame)));
            count
        };
        for size in 1..bytes.len() {
            let (mut frames, mut heads) = (Frames::of_client(), Heads::default());
            let counts: Vec<u32> = bytes.chunks(size).map(|part| count(&mut frames, &mut heads, part)).collect();
            assert_eq!(counts.iter().sum::<u32>(), 3, "in parts of {size}");
        }
        let mut frames = Frames::of_client();
        assert_eq!(
            count(&mut frames, &mut Heads::default(), &bytes[..24 + 15 + 9]),
            0,
            "a head of which a byte is missing is not whole"
        );
    }

    #[test]
    fn resets_are_told_apart_by_their_code_wherever_the_bytes_are_cut() {
        let codes = [0_u32, 1, 2, 3, 5, 6, 7, 8, 11, 0x0100_0000];
        let resets = codes.iter().map(|code| frame(RST_STREAM, 0, 1, &code.to_be_bytes()));
        let bytes: Vec<u8> = resets.chain([frame(0, 0, 1, &[1, 0, 0, 0, 1]), frame(0, 1, 1, b"")]).flatten().collect();
        for size in 1..=bytes.len() {
            let (mut frames, mut count) = (Frames::of_server(), 0);
            for part in bytes.chunks(size) {
                frames.pass(part, |frame| count += u32::from(frame.resets_for_a_broken_rule()));
            }
            assert_eq!(count, 4, "in parts of {size}");
        }
    }

    /// A whole frame of some bytes.
    fn sized(kind: u8, payload: usize) -> Vec<u8> {
        frame(kind, 0, 1, &vec![b'x'; payload])
    }

    #[test]
    fn frames_without_content_are_counted_and_others_are_not() {
        let mut frames = Frames::of_client();
        let mut count = |bytes: &[u8]| {
            let mut count = 0;
            frames.pass(bytes, |frame| count += u64::from(frame.is_without_content()));
            count
        };
        assert_eq!(count(&[b'x'; PREFACE_BYTES]), 0);
        for (kind, payload, expected) in
            [(0, 300, 0), (1, 0, 0), (9, 5, 0), (2, 5, 1), (3, 4, 1), (4, 0, 1), (6, 8, 1), (8, 4, 1), (250, 70_000, 1)]
        {
            assert_eq!(count(&sized(kind, payload)), expected, "{kind}");
        }
    }

    proptest! {
        #[test]
        fn frames_are_counted_the_same_however_they_are_cut_up(
            kinds in proptest::collection::vec((0_u8..12, 0_usize..40), 0..40),
            cut in 1_usize..30,
        ) {
            let mut bytes = vec![b'x'; PREFACE_BYTES];
            bytes.extend(kinds.iter().flat_map(|(kind, payload)| sized(*kind, *payload)));
            let expected = kinds.iter().filter(|(kind, _)| ![DATA, HEADERS, CONTINUATION].contains(kind)).count();
            let (mut frames, mut count) = (Frames::of_client(), 0);
            for piece in bytes.chunks(cut) {
                frames.pass(piece, |frame| count += usize::from(frame.is_without_content()));
            }
            prop_assert_eq!(count, expected);
        }
    }
}
