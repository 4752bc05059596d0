//! Which upstream connection takes a request, and how often it is tried.
//!
//! Inside: the choice, and what a lost attempt means. Kept out: what is sent on it (`forwarding.rs`).

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use crate::proxy::context::{HeldSettings, Worker};
use crate::proxy::forward::MAX_ATTEMPTS;
use crate::proxy::upstream::Upstream;
use crate::proxy::upstream::admission::Permit;
use crate::proxy::upstream::connect::connect;
use crate::proxy::upstream::connection::Connection;
use crate::proxy::upstream::server::{Server, ServerId};
use crate::telemetry::outcome::Failure;

/// The attempts at one request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempts {
    begun: usize,
    last_server: Option<ServerId>,
}

/// What a search for a connection comes to.
pub(super) struct Found {
    pub(super) attempts: Attempts,
    pub(super) permit: Option<Permit>,
    pub(super) connection: Result<Connection, Failure>,
}

/// A search for a connection. Boxed, since it is rare and large.
pub(super) type Search = Pin<Box<dyn Future<Output = Found>>>;

/// Whom a search is for.
#[derive(Debug, Clone)]
pub(super) struct Errand {
    pub(super) worker: Rc<Worker>,
    pub(super) settings: Rc<HeldSettings>,
    pub(super) upstream: Arc<Upstream>,
}

impl Errand {
    /// The connection that is there already; else the search for one.
    pub(super) fn begin(&self, attempts: &mut Attempts, now: Instant) -> Result<Connection, Search> {
        if self.settings.limits.upstream_in_flight != 0 {
            return Err(self.search_with_turn());
        }
        let Ok(server) = self.choose(attempts) else { return Err(self.search(*attempts, None)) };
        match self.worker.pools.take(server, now) {
            Some(connection) => Ok(connection),
            None => Err(self.search(*attempts, Some(Arc::clone(server)))),
        }
    }

    /// The search for another connection, after one was lost.
    pub(super) fn search_again(&self, attempts: Attempts) -> Search {
        self.search(attempts, None)
    }

    fn choose(&self, attempts: &mut Attempts) -> Result<&Arc<Server>, Failure> {
        let server = self.worker.pools.choose(&self.upstream, attempts.last_server)?;
        *attempts = Attempts { begun: attempts.begun + 1, last_server: Some(server.id()) };
        Ok(server)
    }

    /// Waits for a turn first.
    fn search_with_turn(&self) -> Search {
        let errand = self.clone();
        Box::pin(async move {
            let mut attempts = Attempts::default();
            let permit = match errand.worker.pools.admit(&errand.upstream, &errand.settings.limits).await {
                Ok(permit) => permit,
                Err(failure) => return Found { attempts, permit: None, connection: Err(failure) },
            };
            let connection = match errand.choose(&mut attempts).cloned() {
                Ok(server) => match errand.worker.pools.take(&server, Instant::now()) {
                    Some(connection) => Ok(connection),
                    None => errand.connect(&mut attempts, Some(server)).await,
                },
                Err(failure) => Err(failure),
            };
            Found { attempts, permit, connection }
        })
    }

    fn search(&self, mut attempts: Attempts, chosen: Option<Arc<Server>>) -> Search {
        let errand = self.clone();
        Box::pin(async move {
            let connection = errand.connect(&mut attempts, chosen).await;
            Found { attempts, permit: None, connection }
        })
    }

    /// Connects to the server that was chosen, then to others.
    async fn connect(&self, attempts: &mut Attempts, chosen: Option<Arc<Server>>) -> Result<Connection, Failure> {
        let (pools, mut failure) = (&self.worker.pools, Failure::UpstreamClosed);
        let mut chosen = chosen;
        loop {
            let server = match chosen.take() {
                Some(server) => server,
                None if attempts.begun >= MAX_ATTEMPTS => return Err(failure),
                None => {
                    let is_first = attempts.begun == 0;
                    let server = Arc::clone(self.choose(attempts)?);
                    if !is_first {
                        if pools.is_down(&server) {
                            return Err(failure);
                        }
                        self.upstream.metrics().retries.increment(self.worker.id);
                    }
                    server
                }
            };
            match connect(&server, &self.upstream, pools, self.settings.limits.upstream_connect_timeout).await {
                Ok(connection) => return Ok(connection),
                // Another server would need what is short, too.
                Err(Failure::OutOfResources) => return Err(Failure::OutOfResources),
                Err(reason) => failure = reason,
            }
        }
    }
}
