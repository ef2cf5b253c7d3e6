//! Where an operation asks what a release is worth: before the switch its application, after it what really serves.

use std::time::{Duration, Instant};

use wheelbarrow_artifact::progress::Progress;
use wheelbarrow_artifact::release::Server;

use crate::check::{self, Request};
use crate::proof::{self, Verdict};
use crate::release::CompleteRelease;
use crate::settings::Settings;
use crate::work::Work;
use crate::{ReleaseError, django};

/// What an application may answer where nobody says otherwise: most first pages are one, or lead to one.
const EXPECTED: [u16; 7] = [200, 204, 301, 302, 303, 307, 308];
const DEADLINE: u64 = 30;
/// Between two looks at what serves.
const PAUSE: Duration = Duration::from_millis(100);

/// How far the check of an application goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Before commands prepare the release: it is only imported.
    Before,
    /// After that.
    After,
    /// There are no such commands.
    Once,
}

/// Whether the release's application can be imported and, if it is asked, answers a request, in process.
pub(crate) fn check(
    work: &Work<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    look: Look,
) -> Result<(), ReleaseError> {
    let asked = settings.said.check.clone().unwrap_or_default();
    if asked.enabled == Some(false) {
        return Ok(());
    }
    let site = release.site()?;
    let code = release.path().join(&site.project.import_path);
    let Some(application) = django::application(&code, settings) else {
        // Said once where it is looked at twice.
        if look != Look::After {
            work.operator
                .progress
                .note("no application was found, so none was checked; `application` names one");
        }
        return Ok(());
    };
    let request = Request {
        application,
        interface: None,
        path: asked.path.unwrap_or_else(|| "/".to_owned()),
        host: asked.host,
        scheme: asked.scheme.unwrap_or_else(|| "https".to_owned()),
        ask: look != Look::Before,
        expected: asked.expected.unwrap_or_else(|| EXPECTED.to_vec()),
        limit: settings.check_timeout,
    };
    let identity = settings.identity.as_ref();
    check::check(release.path(), &code, &request, identity, work.operator.progress).map(drop)
}

/// Whether it is this release that serves: every process of the unit, as the kernel tells it. Of servers that are no
/// units nobody knows which processes are theirs.
pub(crate) fn prove(
    work: &Work<'_>,
    release: &CompleteRelease,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(), ReleaseError> {
    let Server::Systemd { unit, .. } = &settings.server else { return Ok(()) };
    let deadline = settings.probe.as_ref().and_then(|probe| probe.deadline).unwrap_or(DEADLINE);
    let begun = Instant::now();
    loop {
        let service = proof::service(work.root, Some(unit))?;
        // Where systemd knows of no such unit that runs, other processes of the root prove nothing.
        if service.unit.is_some() && matches!(&service.verdict, Verdict::One { id } if id == release.id()) {
            return Ok(());
        }
        if progress.is_cancelled() {
            return Err(ReleaseError::Cancelled);
        }
        if begun.elapsed() >= Duration::from_secs(deadline) {
            let (unit, id) = (unit.clone(), release.id().clone());
            return Err(ReleaseError::Unproved { unit, id, deadline, found: service.verdict.to_string() });
        }
        std::thread::sleep(PAUSE);
    }
}
