//! Writes the man pages and the completions of the command line: `pages DIRECTORY [--without-servers]`.
//!
//! `DIRECTORY/man` has a page for each command, `DIRECTORY/completions` a file for each shell.

use std::io;
use std::path::PathBuf;

use clap_complete::Shell;
use clap_complete::generate_to;

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> io::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory =
        directory.ok_or_else(|| io::Error::other("usage: pages DIRECTORY [--without-servers]"))?;
    let without_servers = std::env::args_os().nth(2).is_some_and(|flag| flag == "--without-servers");
    let command = if without_servers { wheelbarrow::command_without_servers } else { wheelbarrow::command };
    let (man, completions) = (directory.join("man"), directory.join("completions"));
    fs_err::create_dir_all(&man)?;
    fs_err::create_dir_all(&completions)?;
    for shell in SHELLS {
        generate_to(shell, &mut command(), "wheelbarrow", &completions)?;
    }
    // `help` repeats every command, and would make a page for each of them again.
    clap_mangen::generate_to(command().disable_help_subcommand(true), man)
}
