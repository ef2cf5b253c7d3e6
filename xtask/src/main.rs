//! `cargo xtask`: what people and CI run, in Rust instead of shell.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program for terminals and logs")]

mod ansible;
mod ansible_pages;
mod bare;
mod children;
mod circles;
mod conformance;
mod containers;
mod demo;
mod deploys;
mod dist;
mod docs;
mod fleet;
mod fuzz;
mod licences;
mod mac;
mod own_python;
mod pythons;
mod reference;
mod selinux;
mod server;
mod servers;
mod story;
mod test;
mod tools;
mod words;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test                      format, lints, tests, the Python suite, the licences of dependencies
  circles                   modules that import each other, in Rust and in Python; `test` looks too
  torture                   installs, stores and releases that fail or are killed at each system call that changes something:
                            all of them, where `test` takes a sample; members of 3 GB; an hour or so
  demo [--python PATH]... [--all-pythons] [--keep-serving]
                            a site made by `wagtail start`: built, installed, served, asked
  words                     patterns of language that pages, help and messages must not have, and errors that
                            docs/troubleshooting.md does not explain; `test` looks too
  reference                 environment variables and files that the pages of the reference lack, or have and no source names;
                            `test` looks too
  docs [--serve]            the documentation site, in target/docs/site: links, anchors and navigation are checked; --serve shows it
                            at http://localhost:8000 while pages are edited
  bare [demo] [test]        README's commands in a container with nothing but what README names, from a clean clone; minutes
  containers [--rootless-user NAME]
                            one artifact for three systems: sources built in containers of them, installed and served in
                            each; by podman, by docker, and without root as the user NAME; minutes
  conformance               wheels and zips of other projects, and a site of 106 wheels, by the release build; a minute
  servers [--suite bookworm|trixie|forky] [PART OF A TITLE]...
                            releases switched under load in a container with systemd: gunicorn, uvicorn, uWSGI, Apache; minutes
  own-python [SUITE]...     artifacts that bundle a Python, deployed on Debian 11 to sid and on musl without any Python, in bare containers; minutes
  selinux                   a site with SELinux enforcing and fapolicyd, in a virtual machine without KVM; minutes
  story [--write] [get-started] [SUITE]
                            the pages of Get started, and docs/guides/wagtail.md on Debian 12 and 11 in containers, done word
                            for word; minutes; --write puts into the pages what was seen
  ansible pages             docs/reference/ansible.md from what ansible-doc says
  ansible [--all]           the Ansible collection: ansible-test, build, install, documentation; --all with the oldest ansible-core and
                            the oldest Python of hosts too
  fleet [--all] [--oldest]  the Ansible collection with a balancer, three hosts and a database in containers; minutes; --all with what
                            takes long, --oldest by the oldest ansible-core
  dist [--target TRIPLE]... [--program PATH] [--key PATH] [--no-collection] [--try [SUITE]...]
                            everything that a release publishes, in target/dist: archives, wheels, packages, the collection, SBOMs,
                            sums; --program packs one that is built for this machine, --key signs, --try installs and uses each package
                            in bare containers of Debian; programs for macOS are linked by zig, and are not run
  mac                       whether the half that builds compiles for macOS, by zig (from PyPI, into target/tools); a minute or two
  fuzz [--minutes N | --executions N] [--seed N] [--target NAME]... [FILE]
                            every parser with mutated inputs: no panic, at most 1 s and 200 MB for each [default: 100,000 executions]
  fuzz --compare N          N inputs for each reader of environment.json and of artifacts, on every Python found
  fuzz --libfuzzer SECONDS [NAME]...
                            libFuzzer for so long on each target, or on those that are named; a C++ compiler builds it
  bench [ARGUMENT]...       speed against the peers and the floor, and sizes
  bench deploys [--rounds N]
                            deploys of other code against fujin and the steps of Capistrano, in a container with systemd; minutes
  sizes [--site NAME]       the sizes of artifacts and of the standalone binary in them; fails if one passes its budget";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((command, [])) if command == "test" => test::run(),
        Some((command, rest)) if command == "bare" => bare::run(rest),
        Some((command, rest)) if command == "docs" => docs::run(rest),
        Some((command, [])) if command == "words" => words::check(),
        Some((command, [])) if command == "reference" => reference::check(),
        Some((command, [])) if command == "circles" => circles::check(),
        Some((command, [])) if command == "torture" => test::torture(),
        Some((command, [])) if command == "conformance" => conformance::run(),
        Some((command, [])) if command == "containers" => containers::run(None),
        Some((command, [flag, user])) if command == "containers" && flag == "--rootless-user" => {
            containers::run(Some(user))
        }
        Some((command, rest)) if command == "servers" => servers::run(rest),
        Some((command, rest)) if command == "own-python" => own_python::run(rest),
        Some((command, rest)) if command == "selinux" => selinux::run(rest),
        Some((command, rest)) if command == "story" => story::run(rest),
        Some((command, [word])) if command == "ansible" && word == "pages" => ansible_pages::write(),
        Some((command, rest)) if command == "ansible" => ansible::run(rest),
        Some((command, rest)) if command == "fleet" => fleet::run(rest),
        Some((command, rest)) if command == "demo" => {
            demo::Options::parse(rest).and_then(|options| demo::run(&options))
        }
        Some((command, rest)) if command == "dist" => dist::run(rest),
        Some((command, [])) if command == "mac" => mac::check(),
        Some((command, rest)) if command == "fuzz" => fuzz::run(rest),
        Some((command, [what, rest @ ..])) if command == "bench" && what == "deploys" => deploys::run(rest),
        Some((command, rest)) if command == "bench" => children::bench(rest),
        Some((command, rest)) if command == "sizes" => children::sizes(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
