//! Closing a connection so that the client gets what was sent, and not a reset because of what it is still sending.
//!
//! Inside: the end of a stream. Kept out: when it comes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::proxy::context::Client;
use crate::proxy::sweep::Alarm;

use super::due_or_cut;

/// How long, and how many bytes, a client that is still sending is read from after its answer, so that it gets the answer
/// and not a reset (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(3);
const LINGER_BYTES: usize = 1_024 * 1_024;

/// Ends our side, and reads on for a while where the client may still be sending.
pub async fn close<S>(stream: &mut S, client: &Client, alarm: &Alarm, may_be_sending: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    alarm.set(LINGER);
    let linger = async {
        // It may have been done already; a second time does no harm.
        if stream.shutdown().await.is_err() || !may_be_sending {
            return;
        }
        let mut scratch = vec![0; 8_192];
        let mut left = LINGER_BYTES;
        while let Ok(read @ 1..) = stream.read(&mut scratch).await {
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
        }
    };
    tokio::select! {
        () = linger => {}
        () = due_or_cut(alarm, &client.worker) => {}
    }
}
