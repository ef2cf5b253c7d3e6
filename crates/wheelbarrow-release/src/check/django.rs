//! Facts about a Django site that are detected: its settings module, its application, and whether commands
//! migrate its database.

use wheelbarrow_artifact::release::{Server, Words};
use wheelbarrow_base::json;

use crate::ReleaseError;
use crate::check::application::{FoundApplication, SiteCode, VARIABLE, find};
use crate::command::identity;
use crate::environment::without_mark;
use crate::root::release::{CompleteRelease, SiteRecord};
use crate::root::settings::Settings;

/// The value of `DJANGO_SETTINGS_MODULE` that a command of this release should get: none where its environment.json has
/// one, or where no file of the site names one.
pub(crate) fn settings_module(
    release: &CompleteRelease,
    site: &SiteRecord,
    settings: &Settings,
) -> Result<Option<String>, ReleaseError> {
    if sets_variable(release) {
        return Ok(None);
    }
    if let Some(module) = &settings.declared.settings {
        return Ok(Some(module.clone()));
    }
    let is_inherited = identity::other_user(settings.identity.as_ref()).is_none()
        || settings.pass_environment.iter().any(|name| name == VARIABLE);
    if is_inherited && let Some(module) = std::env::var_os(VARIABLE) {
        return Ok(module.into_string().ok());
    }
    Ok(code_of(release, site)?.settings_modules().into_iter().next())
}

/// The same for the services of a release, which inherit nothing from a command.
pub(crate) fn settings_of_services(
    release: &CompleteRelease,
    site: &SiteRecord,
    settings: &Settings,
) -> Option<String> {
    if sets_variable(release) {
        return None;
    }
    let declared = settings.declared.settings.clone();
    declared.or_else(|| code_of(release, site).ok()?.common_settings())
}

/// The same for the check of a release: the settings of its services if they are all that serves, and if Wheelbarrow
/// writes their units. Else what a server sets is unknown.
pub(crate) fn settings_of_check(
    release: &CompleteRelease,
    site: &SiteRecord,
    settings: &Settings,
) -> Option<String> {
    let serving: Vec<_> = settings.services.iter().filter(|service| service.is_constant()).collect();
    let is_own = !serving.is_empty() && serving.iter().all(|service| service.own().is_some());
    if settings.server != Server::None || !is_own {
        return None;
    }
    settings_of_services(release, site, settings)
}

fn code_of(release: &CompleteRelease, site: &SiteRecord) -> Result<SiteCode<'static>, ReleaseError> {
    let path = release.path().join(&site.project.import_path);
    let code = release.open()?.sub(&site.project.import_path).map_err(ReleaseError::io("open", &path))?;
    Ok(SiteCode::beneath(code))
}

/// The application of a release: what its settings name, else what is found in its code.
pub(crate) fn application(
    release: &CompleteRelease,
    site: &SiteRecord,
    settings: &Settings,
) -> FoundApplication {
    let Ok(code) = code_of(release, site) else { return FoundApplication::Nothing };
    if let Some(name) = settings.declared.application.clone() {
        return FoundApplication::One(code.named(name));
    }
    let module = variable(release).or_else(|| settings.declared.settings.clone());
    find(&code, module.as_deref())
}

/// Whether the release's own environment.json, which wins over what a command inherits, has the variable.
fn sets_variable(release: &CompleteRelease) -> bool {
    variable(release).is_some()
}

fn variable(release: &CompleteRelease) -> Option<String> {
    let text = release.read(crate::environment::ENVIRONMENT).unwrap_or_default();
    let values = json::from_slice::<serde_json::Map<String, serde_json::Value>>(without_mark(&text));
    values.ok()?.get(VARIABLE)?.as_str().map(str::to_owned)
}

/// Whether it is a command of Django's: `django-admin X`, `python manage.py X`.
pub(crate) fn is_command(words: &Words) -> bool {
    let words: Vec<&str> = words.as_slice().iter().map(String::as_str).collect();
    matches!(words[..], ["django-admin", _, ..] | ["python" | "python3", "manage.py", _, ..])
}

/// Whether one of the commands is a `migrate` of Django's.
pub(crate) fn migrates<'w>(commands: impl IntoIterator<Item = &'w Words>) -> bool {
    commands.into_iter().any(|words| Migrating::of(words).by_django)
}

/// What a command does to databases, also in the text of a shell.
pub(crate) struct Migrating {
    /// It is `migrate`, or `migrate_schemas` of django-tenants.
    pub(crate) by_django: bool,
    /// It may change more than the migrations that Django names for its default database.
    pub(crate) others: bool,
    /// It is that of another tool.
    by_another_tool: bool,
}

impl Migrating {
    pub(crate) fn of(words: &Words) -> Self {
        let text =
            format!(" {} ", words.as_slice().join(" ")).replace(['(', ')', '|', ';', '&', '\n', '\t'], " ");
        let has = |known: &[&str]| known.iter().any(|known| text.contains(known));
        let by_another_tool =
            has(&[" alembic ", " db upgrade ", " aerich upgrade ", " yoyo apply ", " piccolo migrations "]);
        Self {
            by_django: has(&[" migrate ", " migrate_"]),
            others: by_another_tool || has(&[" migrate_", " --database"]),
            by_another_tool,
        }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.by_django || self.by_another_tool
    }
}
