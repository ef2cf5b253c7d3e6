//! What a Flask site needs beside its application: migrations of its database, and its instance folder.

use wheelbarrow_build::project::ProjectFile;

use super::load;
use super::source::{PythonModule, Token};

/// `flask db upgrade` of Flask-Migrate, run in the import path, if one directory of the project has its migrations.
pub(super) fn upgrade(
    modules: &[PythonModule<'_>],
    files: &[ProjectFile],
    application: Option<&str>,
    import_path: &str,
) -> Option<String> {
    let application = application?.trim_end_matches("()");
    if !modules.iter().any(|module| has_name(module, "flask_migrate")) {
        return None;
    }
    let mut directories =
        files.iter().filter_map(|file| file.path.strip_suffix("/env.py")).filter(|directory| {
            let script = format!("{directory}/script.py.mako");
            files.iter().any(|file| file.path == script)
        });
    let (directory, None) = (directories.next()?, directories.next()) else { return None };
    let directory = match directory.strip_prefix(import_path).map(|below| below.trim_start_matches('/')) {
        Some(below) if load::join(import_path, below) == directory => below.to_owned(),
        _ => "../".repeat(import_path.split('/').count()) + directory,
    };
    let option = if directory == "migrations" { String::new() } else { format!(" -d {directory}") };
    Some(format!("flask --app {application} db upgrade{option}"))
}

/// Whether the site uses its instance folder: beside its package or module, in the directory on `sys.path`.
pub(super) fn has_instance_folder(modules: &[PythonModule<'_>]) -> bool {
    let names = ["instance_path", "instance_relative_config"];
    modules.iter().any(|module| names.iter().any(|name| has_name(module, name)))
}

/// Whether a database may be in the instance folder: Flask-SQLAlchemy 3 puts those with relative paths there.
pub(super) fn has_relative_database(modules: &[PythonModule<'_>]) -> bool {
    let is_relative = |token: &Token| {
        let Token::Text(url) = token else { return false };
        let path = url.strip_prefix("sqlite").and_then(|rest| rest.split_once(":///")).map(|(_, path)| path);
        path.is_some_and(|path| !path.is_empty() && !path.starts_with(['/', ':']))
    };
    modules.iter().any(|module| has_name(module, "flask_sqlalchemy"))
        && modules.iter().filter(|module| module.text.contains("sqlite:///")).any(|module| {
            module.statements().iter().any(|statement| statement.tokens.iter().any(is_relative))
        })
}

/// Where a database may be whose URL the code makes of its own directory, such as `"sqlite:///" + os.path.join(basedir, "app.db")`.
pub(super) fn database_beside_code(modules: &[PythonModule<'_>]) -> Option<String> {
    let is_name = |text: &&String| {
        let extension = text.rsplit_once('.').map(|(_, extension)| extension);
        !text.starts_with(['/', '.']) && matches!(extension, Some("db" | "sqlite" | "sqlite3"))
    };
    modules.iter().filter(|module| module.text.contains("sqlite:///")).find_map(|module| {
        let statements = module.statements();
        let name = statements.iter().find_map(|statement| {
            let is_url = |token: &Token| match token {
                Token::Text(text) => text == "sqlite:///",
                token => *token == Token::Opaque,
            };
            let texts = statement.tokens.iter().filter_map(|token| match token {
                Token::Text(text) => Some(text),
                _ => None,
            });
            let mut names = texts.filter(|text| !text.contains(':')).filter(is_name);
            names.next().filter(|_| statement.tokens.iter().any(is_url))
        })?;
        Some(load::join(module.path.rsplit_once('/').map_or("", |(directory, _)| directory), name))
    })
}

fn has_name(module: &PythonModule<'_>, name: &str) -> bool {
    let is_name = |token: &Token| matches!(token, Token::Name(it) if it == name);
    module.text.contains(name)
        && module.statements().iter().any(|statement| statement.tokens.iter().any(is_name))
}
