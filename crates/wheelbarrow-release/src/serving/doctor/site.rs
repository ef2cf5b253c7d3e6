//! The facts about a site that its configuration is checked against.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wheelbarrow_artifact::release::Server;
use wheelbarrow_install::policy::names;

use crate::root::settings::Settings;
use crate::serving::{server, services};
use crate::{ReleaseId, Root};

/// What is known of the site when something is judged.
pub(super) struct JudgedSite<'r> {
    pub(super) root: &'r Root,
    /// Where the root really is.
    pub(super) real: PathBuf,
    pub(super) settings: Option<Settings>,
    pub(super) live: Option<ReleaseId>,
    /// Without which the Python of the live release does not start.
    pub(super) variables: BTreeMap<String, String>,
}

impl JudgedSite<'_> {
    pub(super) fn server(&self) -> &Server {
        self.settings.as_ref().map_or(&Server::None, |settings| &settings.server)
    }

    /// Whether a deploy starts the server anew, process and all.
    pub(super) fn restarts(&self) -> bool {
        server::restarts(self.server())
    }

    /// The same of a process in a unit, which may be that of a service.
    pub(super) fn restarts_unit(&self, unit: Option<&str>) -> bool {
        let is_restarted = |settings: &Settings, live: &ReleaseId, unit: &str| {
            services::of(self.root, settings, live).iter().any(|served| {
                let server = &served.settings.server;
                matches!(server, Server::Systemd { unit: its, .. } if its.trim_end_matches(".service") == unit)
                    && server::restarts(server)
            })
        };
        let known = self.settings.as_ref().zip(self.live.as_ref()).zip(unit);
        known.is_some_and(|((settings, live), unit)| {
            services::of_release(unit) || is_restarted(settings, live, unit.trim_end_matches(".service"))
        }) || self.restarts()
    }

    /// Below `ROOT/current`: followed anew at each use.
    pub(super) fn in_current(&self, path: &Path) -> bool {
        [self.root.path(), &self.real].iter().any(|root| path.starts_with(root.join("current")))
    }

    /// Below one release, whatever is live.
    pub(super) fn in_one_release(&self, path: &Path) -> bool {
        [self.root.path(), &self.real].iter().any(|root| path.starts_with(root.join("releases")))
    }

    /// Whether a text speaks of the root, and not of one whose name only begins like it.
    pub(super) fn is_named_in(&self, text: &str) -> bool {
        [self.root.path(), &self.real].iter().any(|root| names(text, root))
    }
}
