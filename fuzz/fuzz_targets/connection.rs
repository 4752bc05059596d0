//! Any bytes as a whole client connection, in any pieces: what is forwarded and answered is what the reference says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluis_fuzz::agreement::check;
use sluis_fuzz::edge::Plan;

fuzz_target!(|input: ([u8; 3], u8, &[u8])| {
    let (pieces, flags, bytes) = input;
    let capacity = [3, 16, 64, 256 * 1_024][usize::from(flags & 3)];
    let pieces = pieces.map(usize::from).into_iter().filter(|length| *length > 0).collect();
    check(bytes, &Plan { pieces, capacity, ends: flags & 4 == 0 });
});
