//! The flags and settings of targets, and of the containers that build sources.

use clap::Args;
use wheelbarrow_base::Exit;
use wheelbarrow_build::target::{ContainerRequest, TargetRequest};
use wheelbarrow_build::{BuildError, Error};
use wheelbarrow_platform::TargetSpec;

use crate::failure::{CommandResult, Refusal};
use crate::settings::{BuildSettings, TargetSettings};

#[derive(Args)]
#[command(next_help_heading = "Targets and containers")]
pub(super) struct TargetArguments {
    /// A target to pack for, such as debian-12, el8/aarch64:3.11 or 3.11@manylinux_2_28_x86_64; may be repeated
    #[arg(long = "target", value_name = "TARGET")]
    target: Vec<String>,
    /// An image to build sources in, for one target or for all; may be repeated
    #[arg(long, value_name = "[TARGET=]IMAGE")]
    container: Vec<String>,
    /// The container engine: podman, docker, or a path [default: the first that answers]
    #[arg(long, value_name = "NAME|PATH", env = "WHEELBARROW_CONTAINER_ENGINE", hide_env_values = true)]
    container_engine: Option<String>,
    /// Run the whole build in a container of this image
    #[arg(long, value_name = "IMAGE")]
    pub(super) in_container: Option<String>,
}

/// What flags and settings amount to.
pub(super) struct Targets {
    pub(super) targets: Vec<TargetRequest>,
    /// For targets that are this machine.
    pub(super) container: Option<ContainerRequest>,
    pub(super) engine: Option<String>,
    /// Which Python was chosen for targets that name none.
    pub(super) notes: Vec<String>,
}

/// An image, and for which target where not for all.
struct Container {
    target: Option<TargetSpec>,
    image: String,
}

impl TargetArguments {
    /// podman or docker, where one was named.
    pub(super) fn engine(&self, settings: &BuildSettings) -> Option<String> {
        self.container_engine.clone().or_else(|| settings.container_engine.clone())
    }

    /// `--target` replaces the targets of the settings, but what these say about the same target counts.
    pub(super) fn resolve(
        &self,
        settings: &[TargetSettings],
        build: &BuildSettings,
        pythons_are_named: bool,
    ) -> CommandResult<Targets> {
        let set = settings
            .iter()
            .map(|target| Ok((parse(&target.target)?, target)))
            .collect::<CommandResult<Vec<_>>>()?;
        let mut specs =
            self.target.iter().map(|text| parse(text)).collect::<CommandResult<Vec<TargetSpec>>>()?;
        let mut notes: Vec<_> = self.target.iter().zip(&specs).filter_map(chosen).collect();
        // Naming a Python on the command line is another answer to the same question.
        if specs.is_empty() && !pythons_are_named {
            specs = set.iter().map(|(spec, _)| spec.clone()).collect();
            notes = set.iter().filter_map(|(spec, set)| chosen((&set.target, spec))).collect();
        }
        let containers = self.containers(&specs)?;
        let default = containers.iter().find(|container| container.target.is_none());
        let default = default.map(|container| &container.image).or(build.container.as_ref());
        let container = |image: &String, packages: Option<&Vec<String>>| ContainerRequest {
            image: image.clone(),
            packages: packages.unwrap_or(&build.packages).clone(),
        };
        let request = |spec: TargetSpec| {
            let set = set.iter().find(|(other, _)| *other == spec).map(|(_, set)| *set);
            let named = containers.iter().find(|container| container.target.as_ref() == Some(&spec));
            let named = named.map(|container| &container.image);
            let image = named.or(set.and_then(|set| set.container.as_ref())).or(default);
            let packages = set.and_then(|set| set.packages.as_ref());
            TargetRequest {
                container: image.map(|image| container(image, packages)),
                libraries: set.map(|set| set.libraries.clone()).unwrap_or_default(),
                spec,
            }
        };
        Ok(Targets {
            targets: specs.into_iter().map(request).collect(),
            container: default.map(|image| container(image, None)),
            engine: self.engine(build),
            notes,
        })
    }

    fn containers(&self, specs: &[TargetSpec]) -> CommandResult<Vec<Container>> {
        let mut containers = Vec::new();
        for text in &self.container {
            let Some((target, image)) = text.split_once('=') else {
                containers.push(Container { target: None, image: text.clone() });
                continue;
            };
            let target = parse(target)?;
            if !specs.contains(&target) {
                let hint = "give the same target with --target";
                let message = format!("--container {text}: {target} is not among the targets");
                return Err(Refusal { message, hint: Some(hint.to_owned()), exit: Exit::Usage }.into());
            }
            containers.push(Container { target: Some(target), image: image.to_owned() });
        }
        Ok(containers)
    }
}

/// Of a system that has several Pythons, and a text that names none of them.
fn chosen((text, spec): (&String, &TargetSpec)) -> Option<String> {
    let pythons = spec.system?.pythons;
    let [_, .., newest] = pythons else { return None };
    let others: Vec<_> = pythons.iter().map(|minor| format!("3.{minor}")).collect();
    (!text.contains(':')).then(|| {
        format!(
            "the target {text} is packed for Python {}, the system's first; `{text}:3.{newest}` names another: it has {}",
            spec.python,
            others.join(", ")
        )
    })
}

fn parse(text: &str) -> CommandResult<TargetSpec> {
    text.parse().map_err(|error| BuildError::Wheels(Error::Target(error)).into())
}
