//! Fetches repositories before the first build begins.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use super::builder::Builder;
use crate::Result;
use crate::select::{ChosenDistribution, DistributionSource};
use crate::target::BuildTarget;

impl Builder<'_> {
    /// Checks out every commit that has to be built, all at once: a repository that cannot be reached is known before
    /// anything long begins. The first failure ends the others.
    pub(crate) fn check_out(&self, chosen: &[(&BuildTarget, &[ChosenDistribution])]) -> Result<()> {
        let mut wanted = BTreeMap::new();
        for (target, chosen) in chosen {
            for one in *chosen {
                let DistributionSource::Git { url, commit, .. } = &one.source else {
                    if matches!(one.source, DistributionSource::Archive { .. }) {
                        // Refuses what nothing here can build.
                        self.is_remembered(one, target)?;
                    }
                    continue;
                };
                // Offline, what is missing is an error later: the build names it.
                let out_of_reach = self.index.offline && !url.starts_with("file:");
                if !out_of_reach && !self.is_remembered(one, target)? {
                    wanted.insert((url.clone(), commit.clone()), one.name.as_str());
                }
            }
        }
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            let threads: Vec<_> = wanted
                .iter()
                .map(|((url, commit), name)| {
                    let failure = &failure;
                    scope.spawn(move || {
                        if let Err(error) = self.check_out_one(name, url, commit) {
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            self.stop.store(true, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn check_out_one(&self, name: &str, url: &str, commit: &str) -> Result<()> {
        let workspace = self.cache.workspace()?;
        self.checkout(name, url, commit).run(&workspace.path().join("source"))?;
        self.checkouts.put(url, commit, workspace);
        Ok(())
    }
}
