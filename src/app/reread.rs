//! SIGHUP: everything is read again, and comes into force as a whole or not at all.
//!
//! Inside: what a new configuration changes while the program runs, and what needs a restart. Kept out: reading it.

use jiff::Timestamp;

use crate::config::Config;
use crate::finding::Finding;
use crate::notice::Notices;
use crate::proxy::upstream::resolve;
use crate::tls;

use super::Reread;
use super::parts::{Parts, facts, follow_templates, notice_config, settings, tls_settings};

impl Parts {
    /// Reads the configuration again and puts it in force; one error changes nothing.
    pub(super) async fn reread(&mut self, reread: &Reread) {
        tracing::info!("told to read everything again");
        let outcome = match reread() {
            Ok(config) => self.apply(config).await,
            Err(findings) => Err(findings),
        };
        match &outcome {
            Ok(()) => tracing::info!(generation = self.shared.blocklist.generation(), "everything was read again"),
            Err(findings) => {
                for finding in findings {
                    tracing::error!("the configuration stays as it was: {}", finding.log_line());
                }
            }
        }
        self.admin.set_config_reload(Timestamp::now(), outcome);
    }

    async fn apply(&mut self, config: Config) -> Result<(), Vec<Finding>> {
        for warning in &config.warnings {
            tracing::warn!("{}", warning.log_line());
        }
        // What cannot be undone comes last; everything that may fail has been tried by then.
        let notices = Notices::load(&notice_config(&config))?;
        let before = self.shared.settings.load_full();
        let settings = settings(&config.proxy, &self.shared.metrics, &before.value.upstreams)?;
        resolve::resolve_all(&settings.upstreams).await;
        let config = self.keep_what_needs_a_restart(config);
        self.check_tls(&config)?;
        self.reload.apply(config.blocklist.clone()).await?;
        if let Some(tls) = &self.tls {
            tls.apply(tls_settings(&config)).await?;
        }
        for upstream in &settings.upstreams {
            upstream.retire_other_servers();
        }
        self.accept_limits.configure(&config.proxy.limits, self.open_files);
        for (tls, listener) in self.listener_tls.iter().zip(&config.proxy.listeners) {
            if let (Some(source), Some(tls)) = (tls, &listener.tls) {
                source.sni_mismatch.publish(tls.sni_mismatch);
            }
        }
        self.shared.settings.publish(settings);
        self.shared.notices.publish(notices);
        self.templates.abort();
        self.templates = follow_templates(&self.shared, &config);
        self.admin.set_facts(facts(&config));
        if let Err(error) = self.logging.apply(&config.logging) {
            tracing::error!(%error, "the log stays as it was");
        }
        self.config = config;
        Ok(())
    }

    /// Errors that the certificates in force do not have: a new directory that does not load. What is in force already
    /// keeps its last good, and is no reason to refuse the rest.
    fn check_tls(&self, config: &Config) -> Result<(), Vec<Finding>> {
        let next = tls_settings(config);
        if next.listeners == tls_settings(&self.config).listeners {
            return Ok(());
        }
        let wrong: Vec<Finding> = tls::reload::check(&next.listeners).into_iter().filter(Finding::is_error).collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Addresses and the number of workers stay as they are until a restart, and the log says so where they changed.
    fn keep_what_needs_a_restart(&self, mut config: Config) -> Config {
        let now = &self.config;
        let address_of = |config: &Config| -> Vec<_> {
            config.proxy.listeners.iter().map(|l| (l.name.clone(), l.address, l.tls.is_some())).collect()
        };
        if address_of(&config) != address_of(now) {
            tracing::warn!(
                "the listeners changed; that needs a restart or an upgrade (USR2), until then they stay as they are"
            );
            config.proxy.listeners.clone_from(&now.proxy.listeners);
        }
        if config.workers != now.workers {
            tracing::warn!("`server.workers` changed; that needs a restart or an upgrade (USR2)");
            config.workers = now.workers;
        }
        if config.admin != now.admin || config.metrics != now.metrics {
            tracing::warn!(
                "the address of the admin endpoint or of the metrics changed; that needs a restart or an upgrade (USR2)"
            );
            (config.admin, config.metrics) = (now.admin, now.metrics);
        }
        if config.state_directory != now.state_directory {
            tracing::warn!("`server.state_directory` changed; certificates move there with a restart");
        }
        config
    }
}
