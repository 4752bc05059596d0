//! Certificates: files to keys, the choice by SNI, and their reload.

pub mod self_signed;

pub mod certificate;
pub mod resolver;
pub mod config;

pub mod status;
pub mod listener;
pub mod reload;
