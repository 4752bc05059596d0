//! Our own answer to a fault.
//!
//! Inside: the page with its fields, and the count of what went wrong. Kept out: the table of faults (`error.rs`), and how the
//! answer is sent.

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::notice::error_page;
use crate::telemetry::outcome::{Outcome, Rejection};

use super::error::{Fault, PROXY_STATUS, proxy_status};
use super::exchange::Exchange;
use super::settings::Settings;

/// Counts a fault and answers it, in the form that `accept` asks for; none where there is nobody to answer.
pub fn answer(
    fault: Fault,
    accept: &HeaderMap,
    settings: &Settings,
    exchange: &Exchange,
) -> Option<(Response<Bytes>, Outcome)> {
    let row = fault.row()?;
    let outcome = match fault {
        // The stream is reset already: nothing can be said on it.
        Fault::Rejected(Rejection::Protocol) => {
            exchange.reject_midway(Rejection::Protocol);
            return None;
        }
        Fault::Rejected(rejection) => {
            exchange.count_rejection(rejection);
            Outcome::Rejected
        }
        Fault::Failed(failure) => {
            exchange.count_failure(failure);
            Outcome::Failed
        }
        Fault::Aborted => return None,
    };
    let mut response = error_page::answer(row.status, row.sentence, accept);
    let fields = response.headers_mut();
    fields.insert(PROXY_STATUS, proxy_status(&settings.server_name, row.token, fault.details()));
    fault.fields(fields);
    Some((response, outcome))
}
