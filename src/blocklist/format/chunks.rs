//! A feed's file in pieces of some tens of kilobytes, cut where the text itself says so.
//!
//! Inside: where the cuts are. Kept out: what is in a piece, and which pieces are known already.
//!
//! A cut is after a line that a hash of that line picks out, so that an edit moves the cuts around it and no others: all
//! other pieces have the same bytes as before, wherever in the file they are now.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;

/// A piece has at least this many bytes, unless it is the last.
const MIN_BYTES: usize = 16 << 10;

/// A piece has at most this many bytes, unless a single line has more.
const MAX_BYTES: usize = 64 << 10;

/// One line in so many ends a piece that is long enough.
const CUT_ONE_IN: u64 = 1 << 9;

/// What of a line is hashed: enough to tell lines apart.
const HASHED_BYTES: usize = 32;

/// The pieces of a text, which together are the text. Every piece but the last ends with a line.
pub(super) fn chunks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (chunk, after) = rest.split_at(cut(rest));
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Where the first piece ends.
fn cut(bytes: &[u8]) -> usize {
    let mut line_start = bytes.len().min(MIN_BYTES);
    let mut last = None;
    while let Some(length) = bytes.get(line_start..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let end = line_start + length + 1;
        if end > MAX_BYTES
            && let Some(last) = last
        {
            return last;
        }
        if end >= MAX_BYTES || ends_chunk(bytes.get(line_start..end).unwrap_or_default()) {
            return end;
        }
        last = Some(end);
        line_start = end;
    }
    match last {
        Some(last) if bytes.len() > MAX_BYTES => last,
        _ => bytes.len(),
    }
}

fn ends_chunk(line: &[u8]) -> bool {
    let mut state = FixedState::with_seed(0).build_hasher();
    state.write(line.get(..HASHED_BYTES).unwrap_or(line));
    state.finish().is_multiple_of(CUT_ONE_IN)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn list(names: u32) -> Vec<u8> {
        (0..names).flat_map(|number| format!("name-{number}.example\n").into_bytes()).collect()
    }

    #[test]
    fn pieces_have_their_sizes() {
        let text = list(200_000);
        let pieces: Vec<&[u8]> = chunks(&text).collect();
        assert!(pieces.iter().rev().skip(1).all(|piece| (MIN_BYTES..=MAX_BYTES).contains(&piece.len())));
        assert!(pieces.len() > text.len() / MAX_BYTES && pieces.iter().all(|piece| piece.ends_with(b"\n")));
        assert_eq!(chunks(b"").count(), 0);
    }

    #[test]
    fn a_line_longer_than_a_piece_is_not_cut() {
        let long = [list(10).as_slice(), &vec![b'a'; 3 * MAX_BYTES], b"\n", &list(10_000)].concat();
        let cuts: Vec<u8> = chunks(&long).filter_map(|piece| piece.last().copied()).collect();
        assert!(cuts.len() > 2 && cuts.iter().all(|last| *last == b'\n'), "{cuts:?}");
        let endless = vec![b'a'; 3 * MAX_BYTES];
        assert_eq!(chunks(&endless).collect::<Vec<_>>(), [endless.as_slice()]);
    }

    #[test]
    fn an_edit_changes_few_pieces() {
        let text = list(100_000);
        let before: HashSet<&[u8]> = chunks(&text).collect();
        for at in [0, text.len() / 2, text.len()] {
            let line = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let edited = [&text[..line], b"inserted.example\n", &text[line..]].concat();
            let changed = chunks(&edited).filter(|piece| !before.contains(piece)).count();
            assert!((1..=4).contains(&changed), "{changed} of {} at {at}", before.len());
        }
    }

    proptest! {
        #[test]
        fn pieces_together_are_the_text(lines in proptest::collection::vec((0..3_000_usize, any::<u8>()), 0..120)) {
            let text: Vec<u8> =
                lines.iter().flat_map(|(length, byte)| [vec![*byte; *length], vec![b'\n']].concat()).collect();
            let pieces: Vec<&[u8]> = chunks(&text).collect();
            prop_assert_eq!(&pieces.concat(), &text);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= MAX_BYTES));
        }
    }
}
