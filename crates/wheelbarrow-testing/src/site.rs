//! Small artifacts for the Python of this machine.

use std::path::{Path, PathBuf};

use wheelbarrow_artifact::interpreter::Interpreter;
use wheelbarrow_artifact::manifest::{self, Manifest, MemberKind, Project, Sha256, Target, Unpacked};
use wheelbarrow_artifact::python;
use wheelbarrow_artifact::release::ReleaseSettings;
use wheelbarrow_artifact::zip::{DosTime, Method, ZipWriter};

/// Never opened: releases are made without pip here.
const PIP: &str = "bootstrap_wheels/pip-1-py3-none-any.whl";

/// The directory in the code for static files that were collected at build.
pub const COLLECTED: &str = "collected";

/// A site of one version: what its settings say, and the files of its code, by path and text.
pub struct Site<'a> {
    pub version: &'a str,
    pub release: ReleaseSettings,
    pub code: Vec<(&'a str, String)>,
}

impl Site<'_> {
    /// Writes `DIRECTORY/VERSION.zip`.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("{}.zip", self.version));
        let file = fs_err::File::create(&path).unwrap().into_parts().0;
        let mut writer = ZipWriter::new(file, "#!/usr/bin/env python3", DosTime::FIRST).unwrap();
        let mut add = |path: &str, text: &str| writer.add(path, MemberKind::File, text.as_bytes()).unwrap();
        add("__main__.py", python::MAIN);
        python::MODULES.iter().for_each(|(name, text)| add(&format!(".wheelbarrow/python/{name}"), text));
        add("loadenv-init.pth", python::LOADENV_PTH);
        add("loadenv.py", python::LOADENV);
        add("loadenv.start", python::LOADENV_START);
        add("code.pth", "../../../../code\n");
        self.code.iter().for_each(|(path, text)| add(&format!("code/{path}"), text));
        let pip = tempfile::NamedTempFile::new().unwrap();
        let mut pip = fs_err::File::open(pip.path()).unwrap();
        writer.add_file(PIP, MemberKind::File, Method::Stored, &mut pip).unwrap();
        let pip = manifest::Wheel {
            path: PIP.to_owned(),
            name: "pip".to_owned(),
            version: "1".to_owned(),
            direct_url: None,
            built: false,
            needs: Default::default(),
        };
        let facts = interpreter();
        let has_statics = self.code.iter().any(|(path, _)| path.starts_with(COLLECTED));
        let manifest = Manifest {
            version: Some(self.version.to_owned()),
            targets: vec![Target {
                python: facts.minor_version(),
                abi: facts.abi.clone(),
                platform: "any".parse().unwrap(),
                wheels: Vec::new(),
                pip: PIP.to_owned(),
                bytecode: None,
                unpacked: Unpacked::default(),
                needs: Default::default(),
                collisions: Vec::new(),
            }],
            release: Some(self.release.clone()),
            wheels: vec![pip],
            members: writer.members().to_vec(),
            ..Manifest::of_project(
                "site",
                "a test",
                Project {
                    directory: "code".to_owned(),
                    import_path: "code".to_owned(),
                    static_root: has_statics.then(|| format!("code/{COLLECTED}")),
                    digest: Sha256::of(b""),
                },
            )
        };
        let text = serde_json::to_vec(&manifest).unwrap();
        writer.add(manifest::MANIFEST_PATH, MemberKind::File, &text).unwrap();
        writer.finish().unwrap();
        path
    }
}

/// Settings as TOML has them below `[release]`. A site without an application has none to check.
pub fn settings(text: &str) -> ReleaseSettings {
    let mut settings: ReleaseSettings = toml::from_str(text).unwrap();
    if settings.application.is_none() {
        settings.check.get_or_insert_default().enabled.get_or_insert(false);
    }
    settings
}

pub fn interpreter() -> &'static Interpreter {
    static FOUND: std::sync::OnceLock<Interpreter> = std::sync::OnceLock::new();
    FOUND.get_or_init(|| Interpreter::probe(Path::new("python3"), None).unwrap())
}

/// In memory where there is such a place: what is tested here syncs a lot.
pub fn place() -> tempfile::TempDir {
    crate::in_memory()
}
