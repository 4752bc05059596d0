//! Any bytes as what an origin sends: the codec has one verdict however they are cut up, and what it finds others find too;
//! what reaches the client is one well-formed message a request, a 502, or a cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sluis_fuzz::edge::Plan;
use sluis_fuzz::response::{Asked, check, check_codec};

fuzz_target!(|input: (u8, &[u8])| {
    let (flags, script) = input;
    let asked = [Asked::Get, Asked::Head, Asked::Post, Asked::Upgrade][usize::from(flags & 3)];
    let capacity = [7, 256 * 1_024][usize::from(flags >> 2 & 1)];
    let times = 1 + usize::from(flags >> 3 & 1);
    check_codec(script, asked == Asked::Head, 1 + usize::from(flags >> 5));
    check(script, asked, times, &Plan { pieces: Vec::new(), capacity, ends: flags & 16 == 0 });
});
