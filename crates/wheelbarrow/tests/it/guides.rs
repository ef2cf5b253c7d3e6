//! The shell blocks of Get started and the guides. Each is run: here, or word for word by `cargo xtask story`. A block that
//! is not run has a reason, on a line of its own before it: `<!-- not run: REASON -->`.
//!
//! The blocks of a page are run by one bash, in their order, in a project that has `mysite-1.4.zip`.
//! What `<!-- first: SCRIPT -->` has is run before the next block. Directories such as /srv are below that of the test, and programs
//! that a test cannot have (systemctl, ssh) have stand-ins.

use std::path::Path;
use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use fs_err as fs;
use wheelbarrow_testing::has;

use crate::site::{cache, is_built};
use crate::support::{Place, wheelbarrow};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
const STORY: &str = include_str!("../../../../xtask/src/story.rs");

/// Places of the machine that a page may write to.
const DIRECTORIES: [&str; 7] =
    ["/srv/", "/etc/", "/usr/local/bin/", "/opt/python3.13/", "/backup/", "/data/", "/var/www/"];

/// What a reader has: the project, its artifacts and programs.
const PRELUDE: &str = r#"
set -eu
mkdir -p "$W"/srv "$W"/etc/systemd/system "$W"/usr/local/bin "$W"/opt/python3.13/bin "$W"/home/.ssh "$W"/home/mysite
ln -s "$(command -v python3)" "$W/opt/python3.13/bin/python3"
cd "$W/home/mysite"
built() { for version; do wheelbarrow build --quiet --version "$version"; done; }
deployed() { for version; do wheelbarrow deploy --quiet "mysite-$version.zip" --root "$W/srv/mysite"; done; }
key() { ssh-keygen -q -t ed25519 -N '' -f "$W/home/.ssh/release"; }
"#;

/// Programs that no test has.
const STAND_INS: [(&str, &str); 6] = [
    ("systemctl", "exit 0"),
    ("dnf", "exit 0"),
    ("useradd", "exit 0"),
    ("scp", "exit 0"),
    ("ssh", "shift; exec bash -ec \"$*\""),
    ("python3.11", "exec python3 \"$@\""),
];

const FILES: [(&str, &str); 5] = [
    (
        "home/mysite/app.py",
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n",
    ),
    ("home/mysite/environment.json", "{}\n"),
    ("home/mysite/pylock.toml", "lock-version = \"1.0\"\ncreated-by = \"test\"\npackages = []\n"),
    ("home/mysite/wheelbarrow.toml", "name = \"mysite\"\nversion = \"1.4\"\n[release]\ncheck = false\n"),
    ("home/.profile", ""),
];

#[derive(Debug, PartialEq, Eq)]
struct Block {
    line: usize,
    text: String,
    first: String,
    reason: Option<String>,
}

/// The shell blocks of a page: those fenced as sh, bash or console, and those that are indented.
fn blocks(page: &str) -> Vec<Block> {
    let lines: Vec<&str> = page.lines().collect();
    let (mut blocks, mut first, mut reason) = (Vec::new(), String::new(), None);
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let begin = at;
        at += 1;
        let comment = |kind: &str| Some(line.trim().strip_prefix(kind)?.strip_suffix(" -->")?.to_owned());
        if let Some(script) = comment("<!-- first: ") {
            first += &(script + "\n");
        } else if let Some(why) = comment("<!-- not run: ") {
            reason = Some(why);
        } else if let Some(language) = line.trim().strip_prefix("```") {
            while lines[at].trim() != "```" {
                at += 1;
            }
            let text = lines[begin + 1..at].join("\n");
            at += 1;
            if ["sh", "bash", "shell", "console"].contains(&language) {
                let (first, reason) = (std::mem::take(&mut first), reason.take());
                blocks.push(Block { line: begin + 1, text, first, reason });
            }
        } else if line.starts_with("    ") && begin > 0 && lines[begin - 1].is_empty() {
            let is_in = |line: &&&str| line.starts_with("    ");
            let length = lines[begin..].iter().take_while(is_in).count();
            let text: Vec<&str> = lines[begin..begin + length].iter().map(|line| line.trim_start()).collect();
            at = begin + length;
            let (first, reason) = (std::mem::take(&mut first), reason.take());
            blocks.push(Block { line: begin + 1, text: text.join("\n"), first, reason });
        }
    }
    blocks
}

/// Whether `cargo xtask story` does it.
fn is_of_story(page: &str, block: &Block) -> bool {
    STORY.contains(&format!("\"docs/{page}\"")) && block.text.starts_with(['$', '#'])
}

/// Runs the blocks of a page that have no reason against it.
fn follow(page: &str) {
    let text = fs::read_to_string(Path::new(DOCS).join(page)).unwrap();
    let place = Place::with(&FILES);
    let w = place.path();
    for (name, script) in STAND_INS {
        place.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(w.join("bin").join(name), mode).unwrap();
    }
    std::os::unix::fs::symlink(cargo_bin!("wheelbarrow"), w.join("bin/wheelbarrow")).unwrap();
    let own = |script: &str| {
        let below = |script: String, directory: &&str| {
            script.replace(*directory, &format!("{}{directory}", w.display()))
        };
        DIRECTORIES.iter().fold(script.to_owned(), below)
    };
    let mut script = PRELUDE.to_owned();
    let is_run = |block: &Block| block.reason.is_none() && !is_of_story(page, block);
    for block in blocks(&text).into_iter().filter(is_run) {
        script += &format!("line={}\n{}{}\n", block.line, own(&block.first), own(&block.text));
    }
    script.insert_str(
        0,
        &format!(
            "line=0; trap 'test $? = 0 || echo \"docs/{page}, the block of line $line failed\" >&2' EXIT\n"
        ),
    );
    if ["unzip", "ssh-keygen"].iter().any(|program| script.contains(program) && !has(program)) {
        return;
    }
    place.write("script", &script);
    let mut build = wheelbarrow(&w.join("home/mysite"));
    if !is_built(&place.finish(build.args(["build", "--quiet", "--cache-dir"]).arg(cache()))) {
        return;
    }
    let mut bash = Command::new("bash");
    let plain = wheelbarrow(&w);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    let path = format!("{}:{}", w.join("bin").display(), std::env::var("PATH").unwrap());
    bash.arg(w.join("script")).current_dir(&w).env("PATH", path).env("W", &w).env("HOME", w.join("home"));
    bash.env("WHEELBARROW_CACHE_DIR", cache()).env("SSH_ASKPASS", "true").env("SSH_ASKPASS_REQUIRE", "force");
    let input = fs::File::open(w.join("home/mysite/environment.json")).unwrap().into_parts().0;
    let said = place.finish(bash.stdin(input));
    assert_eq!(said.code, 0, "{}\n{script}", said.all());
}

/// One test for each page, so that they run beside each other.
macro_rules! followed {
    ($($name:ident: $page:literal,)*) => {
        const FOLLOWED: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $name() {
                follow($page);
            }
        )*
    };
}

followed! {
    air_gapped: "guides/air-gapped.md",
    backup: "guides/backup.md",
    django: "guides/django.md",
    enterprise_linux: "guides/enterprise-linux.md",
    fastapi: "guides/fastapi.md",
    first_deploy: "get-started/first-deploy.md",
    flask: "guides/flask.md",
    home: "index.md",
    install: "install.md",
    moving: "guides/moving.md",
    operations: "operations.md",
    python: "guides/python.md",
    servers: "guides/servers.md",
    signing: "guides/signing.md",
}

#[test]
fn every_block_is_run_or_has_a_reason() {
    let mut pages: Vec<String> = ["index.md", "install.md", "operations.md"].map(str::to_owned).to_vec();
    for directory in ["get-started", "guides"] {
        for entry in fs::read_dir(Path::new(DOCS).join(directory)).unwrap() {
            pages.push(format!("{directory}/{}", entry.unwrap().file_name().to_str().unwrap()));
        }
    }
    let mut problems = Vec::new();
    for page in &pages {
        let blocks = blocks(&fs::read_to_string(Path::new(DOCS).join(page)).unwrap());
        for block in blocks {
            let is_run = is_of_story(page, &block) || FOLLOWED.contains(&page.as_str());
            let Block { line, text, reason, .. } = block;
            match reason {
                None if is_run => {}
                None => problems.push(format!("docs/{page}:{line}: neither run nor with a reason: {text}")),
                Some(reason) if reason.split(' ').count() < 3 => {
                    problems.push(format!("docs/{page}:{line}: no reason: {reason}"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let unknown: Vec<_> = FOLLOWED.iter().filter(|page| !pages.iter().any(|found| found == *page)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn blocks_are_found() {
    let page = "text\n\n    one\n    two\n\n<!-- not run: it is too slow -->\n\n```sh\nthree\n```\n\n```toml\nx = 1\n```\n\n\
                <!-- first: four -->\n1. item\n\n        five\n";
    let block = |line, text: &str, first: &str, reason: Option<&str>| Block {
        line,
        text: text.to_owned(),
        first: first.to_owned(),
        reason: reason.map(str::to_owned),
    };
    assert_eq!(
        blocks(page),
        [
            block(3, "one\ntwo", "", None),
            block(8, "three", "", Some("it is too slow")),
            block(19, "five", "four\n", None),
        ]
    );
}
