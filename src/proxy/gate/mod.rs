//! The gate before hyper's HTTP/1 server: only heads that were checked as a whole get through.
//!
//! Inside: the rules of a head and of a body's framing (pure, on byte slices), and the stream that applies them and
//! follows each body to find the next head. Kept out: what a host is (`target.rs`), answering (`service.rs`), and
//! time, which the connection brings (`connection.rs`).

pub mod field;
pub mod head;
pub mod framing;
pub mod http2;
pub mod state;
pub mod stream;
pub mod frame;
pub mod frames;

use std::error::Error;
use std::io;

/// The client broke the framing of its request's body after the head was let through (RFC 9112 section 7.1). It comes
/// out of the request's body, inside hyper's error; see [`is_broken_framing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the framing of the request body is malformed")]
pub struct BrokenFraming;

/// Whether a request body failed because the client broke its framing, and not because the client left.
pub fn is_broken_framing(error: &(dyn Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<BrokenFraming>() || inner.is_some_and(|inner| inner.is::<BrokenFraming>()) {
            return true;
        }
        current = error.source();
    }
    false
}
