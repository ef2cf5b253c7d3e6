//! Addresses of hosts; one thread looks up each host once, while the others wait.
//!
//! ureq looks up the host before every request, even on a kept connection: a hundred files mean a hundred
//! lookups, most of them at the same moment. Small name servers drop some of them, and each drop costs five
//! seconds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// A host that moves is found again after that long.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// What was looked up, for all agents that hold a clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    hosts: Arc<Mutex<HashMap<String, Arc<Mutex<Host>>>>>,
    lookup: Arc<DefaultResolver>,
}

/// Locked while it is looked up.
#[derive(Debug, Default)]
struct Host {
    found: Option<(Instant, Vec<SocketAddr>)>,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let origin = format!("{:?}//{:?}", uri.scheme(), uri.authority());
        let host = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(origin).or_default())
        };
        let mut host = host.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, known)) = &host.found
            && when.elapsed() < GOOD_FOR
        {
            let mut addresses = self.empty();
            known.iter().for_each(|address| addresses.push(*address));
            return Ok(addresses);
        }
        let addresses = self.lookup.resolve(uri, config, timeout)?;
        host.found = Some((Instant::now(), addresses.iter().copied().collect()));
        Ok(addresses)
    }
}
