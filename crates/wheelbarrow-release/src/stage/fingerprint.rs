//! The fingerprint that machines of one site must have in common: code, dependencies, environment, and the
//! state of the database.

use serde::Serialize;
use wheelbarrow_artifact::manifest::Sha256;
use wheelbarrow_base::progress::Progress;
use wheelbarrow_wheel::order;

use crate::command::deadline;
use crate::root::distributions;
use crate::root::receipt::Receipt;
use crate::root::release::CompleteRelease;
use crate::root::settings::Settings;
use crate::steps::check::{CheckLog, CheckTime, inspect};
use crate::{ReleaseError, Root};

/// Of the live release.
#[derive(Clone, Debug, Serialize)]
pub struct Fingerprint {
    /// Of the artifact's manifest.
    pub artifact: Sha256,
    /// Of code and static files.
    pub code: Sha256,
    /// The Python that it was installed for, as `3.11`. One artifact may have other dependencies for another.
    pub python: String,
    /// Of [`Self::distributions`], each with a line end.
    pub dependencies: Sha256,
    /// What is installed, as `name==version`, ordered.
    pub distributions: Vec<String>,
    /// Of its environment.json; none for whoever may not read that.
    pub environment: Option<Sha256>,
    /// None where it was not asked for, or the site is not Django's.
    pub schema: Option<Schema>,
}

/// What a default database of Django's was made into.
#[derive(Clone, Debug, Serialize)]
pub struct Schema {
    /// Of the names of the applied migrations, ordered, each with a line end; none where nobody knows.
    pub sha256: Option<Sha256>,
    /// How many migrations are applied.
    pub applied: usize,
    /// Those that this release has and the database has not, as `app.name`.
    pub due: Vec<String>,
    /// Why it is not known.
    pub unknown: Option<String>,
}

/// Whether the site is asked what its database was made into, which starts its Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskSchema {
    Yes,
    No,
}

pub(crate) fn of(
    root: &Root,
    release: &CompleteRelease,
    ask: AskSchema,
    progress: &dyn Progress,
) -> Result<Fingerprint, ReleaseError> {
    let record = release.record();
    let receipt = Receipt::of(release)?;
    let distributions = distributions(release, &receipt)?;
    Ok(Fingerprint {
        artifact: record.manifest_sha256,
        code: release.site()?.project.digest,
        python: receipt.target.python,
        dependencies: lines(&distributions),
        distributions,
        environment: record.environment_sha256,
        schema: match ask {
            AskSchema::Yes => schema(root, release, progress)?,
            AskSchema::No => None,
        },
    })
}

fn distributions(release: &CompleteRelease, receipt: &Receipt) -> Result<Vec<String>, ReleaseError> {
    let installed = distributions::installed(release, receipt)?;
    let mut names: Vec<_> =
        installed.iter().map(|wheel| format!("{}=={}", wheel.name, wheel.version)).collect();
    order::sort(&mut names);
    Ok(names)
}

/// A site that cannot be imported now has no schema that is known.
fn schema(
    root: &Root,
    release: &CompleteRelease,
    progress: &dyn Progress,
) -> Result<Option<Schema>, ReleaseError> {
    let mut settings = Settings::of(root, release, &Default::default())?;
    settings.check_timeout = deadline::left(settings.check_timeout);
    let unknown = |reason| Schema { sha256: None, applied: 0, due: Vec::new(), unknown: Some(reason) };
    match inspect(release, &settings, CheckTime::Before, CheckLog::Forgotten, None, progress) {
        Ok(None) => Ok(None),
        Ok(Some(report)) => Ok(Some(match report.unknown {
            Some(reason) => unknown(reason),
            None => Schema {
                sha256: Some(lines(&report.applied)),
                applied: report.applied.len(),
                due: report.migrations,
                unknown: None,
            },
        })),
        Err(ReleaseError::Check { error }) => Ok(Some(unknown(error.to_string()))),
        Err(error) => Err(error),
    }
}

fn lines(names: &[String]) -> Sha256 {
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    Sha256::of(text.as_bytes())
}
