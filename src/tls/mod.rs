//! Certificates: files to keys, the choice by SNI, and their reload.

pub mod certificate;
pub mod config;
pub mod listener;
pub mod reload;
pub mod resolver;
pub mod self_signed;
pub mod status;
