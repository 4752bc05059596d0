//! What fuzz targets and the ordinary tests share: the edge in memory, and an independent reading of the same bytes.
//!
//! Inside: a strict reader of requests and of responses that shares no code with the program, an edge between two
//! streams in memory, and the comparison of both. Kept out: making inputs (the targets, and `tests/agreement.rs`).

pub mod reader;
pub mod host;
pub mod elsewhere;
pub mod message;
pub mod verdict;
pub mod edge;
pub mod agreement;
pub mod response;
