//! `[build] collectstatic`: the facts about a Django site, and the secrets, that the build needs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_base::{LARGEST_ENVIRONMENT, read_regular};
use wheelbarrow_build::{BuildEnvironment, CollectRequest};

#[cfg(target_os = "linux")]
use wheelbarrow_release as site;

use crate::failure::{CommandResult, Refusal};
use crate::settings::{BuildSettings, BuildVariables};

/// None if nothing is to be collected.
pub(super) fn request(
    build: &BuildSettings,
    release: Option<&ReleaseSettings>,
) -> CommandResult<Option<CollectRequest>> {
    if !build.collectstatic {
        return Ok(None);
    }
    let environment = match &build.environment {
        None => BTreeMap::new(),
        Some(BuildVariables::Table(variables)) => variables.clone(),
        Some(BuildVariables::File(path)) => read(path)?,
    };
    Ok(Some(CollectRequest {
        environment: BuildEnvironment(environment),
        environment_file: match &build.environment {
            Some(BuildVariables::File(path)) => Some(path.clone()),
            _ => None,
        },
        settings: release.and_then(|release| release.settings.clone()),
        find_settings: site::settings_module_in,
        hide: site::hide_secrets,
    }))
}

/// What other systems know of sites and secrets: no settings are found, and every value is hidden.
#[cfg(not(target_os = "linux"))]
mod site {
    use std::collections::BTreeMap;
    use std::path::Path;

    pub(super) fn settings_module_in(_code: &Path) -> Option<String> {
        None
    }

    pub(super) fn hide_secrets(environment: &BTreeMap<String, String>, text: &str) -> String {
        let values = environment.values().filter(|value| !value.is_empty());
        values.fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }
}

/// Errors name no value.
fn read(path: &Path) -> CommandResult<BTreeMap<String, String>> {
    const HINT: &str = "it is an object of strings, as `{\"SECRET_KEY\": \"for the build\"}`";
    let refused = |reason: String| {
        Refusal::project(
            format!("cannot use {}, the environment of the build: {reason}", path.display()),
            HINT,
        )
    };
    let text = read_regular(path, LARGEST_ENVIRONMENT).map_err(|error| refused(error.to_string()))?;
    let values: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| refused(place(&error)))?;
    let mut variables = BTreeMap::new();
    for (name, value) in values {
        let Value::String(value) = value else {
            return Err(refused(format!("the value of {name} is not a string")).into());
        };
        variables.insert(name, value);
    }
    Ok(variables)
}

fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}: not an object in JSON", error.line(), error.column())
}
