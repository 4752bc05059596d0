//! How long a client may take, by what its connection waits for.
//!
//! Inside: the deadlines of a connection between answers. Kept out: the alarm that keeps them, and what follows.

use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::limits::Limits;

/// How long a client that has ended its side is answered without anything going out to it, before it is taken as gone.
pub const HALF_CLOSE_GRACE: Duration = Duration::from_secs(1);

/// How long a connection that waits for a request is kept when a stop begins: one may be on its way, and would meet a closed
/// connection (RFC 9112 section 9.5). Its answer says that it was the last.
const REQUEST_GRACE: Duration = Duration::from_secs(1);

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// A request.
    Request,
    /// The rest of a head.
    Head,
    /// An answer.
    Answer,
    /// An answer, and the client has ended its side.
    AnswerToHalf,
}

/// What the deadlines of one connection are counted from.
#[derive(Debug)]
pub struct Patience {
    /// When it was accepted.
    pub began: Instant,
    /// A stop has begun.
    pub is_draining: bool,
}

impl Patience {
    /// Until when it is waited for from now on. `is_closing`: there is no further request after those that were begun.
    pub fn until(
        &self,
        waiting: Waiting,
        is_first: bool,
        is_closing: bool,
        limits: &Limits,
        now: Instant,
    ) -> Option<Instant> {
        let Limits { request_head_timeout, keep_alive_timeout, .. } = *limits;
        match waiting {
            Waiting::Answer => None,
            Waiting::AnswerToHalf => Some(now + HALF_CLOSE_GRACE),
            Waiting::Request if is_first && self.is_draining => {
                Some((self.began + request_head_timeout).min(now + REQUEST_GRACE))
            }
            Waiting::Request if self.is_draining => Some(now + keep_alive_timeout.min(REQUEST_GRACE)),
            Waiting::Request if is_closing => Some(now),
            // From accept, whether or not a byte has come.
            Waiting::Request | Waiting::Head if is_first => Some(self.began + request_head_timeout),
            Waiting::Request => Some(now + keep_alive_timeout),
            Waiting::Head => Some(now + request_head_timeout),
        }
    }
}
