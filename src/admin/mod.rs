//! The admin endpoint: health, API, status page, metrics.
