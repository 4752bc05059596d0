//! What is blocked and why: decisions, their sources, the index that answers for one host.

pub mod config;
pub mod decision;
pub mod pattern;
