//! Templates that change while the program runs come into force like a list: whole, or not at all.
//!
//! Inside: following the operator's directory of templates. Kept out: what a template may say (`notice`).

use std::sync::Arc;
use std::time::Duration;

use crate::file_watch::{FileWatch, Target};
use crate::notice::{self, Notices};
use crate::proxy::context::Shared;

/// Follows the directory until it is dropped; an error keeps the templates in force.
pub(super) async fn follow(shared: Arc<Shared>, config: notice::Config, settle: Duration, poll: Duration) {
    let Some(templates) = config.templates.clone() else { return std::future::pending().await };
    let mut watch = FileWatch::new(vec![Target::Directory(templates)], settle, poll);
    loop {
        watch.changed().await;
        match Notices::load(&config) {
            Ok(notices) => {
                shared.notices.publish(notices);
                tracing::info!("notice templates were read again");
            }
            Err(findings) => {
                for finding in findings {
                    tracing::error!("notice templates stay as they were: {}", finding.log_line());
                }
            }
        }
    }
}
