//! `--help` of the building program: commands in groups, and examples at the end of each command. The
//! standalone binary has neither, to stay small.

use std::fmt::Write;

use clap::Command;

/// Every command is in one group.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Build", &["init", "build", "targets", "audit", "sbom", "sign", "thin", "cache"]),
    ("Install", &["install", "verify", "store"]),
    ("Release", &["deploy", "activate", "rollback", "check", "migrate", "env", "exec", "unit"]),
    ("Inspect", &["inspect", "diff", "status", "list", "history", "find", "doctor"]),
    ("Maintain", &["prune", "remove", "pin", "unpin", "rescue", "singletons", "recover"]),
];

/// One or two for each command: what people type most.
const EXAMPLES: [(&str, &[&str]); 33] = [
    ("init", &["wheelbarrow init", "wheelbarrow init --dry-run"]),
    ("build", &["wheelbarrow build", "wheelbarrow build --target debian-12 --target el9:3.11 -o mysite.zip"]),
    ("targets", &["wheelbarrow targets", "wheelbarrow targets --probe"]),
    ("audit", &["wheelbarrow audit mysite-1.4.zip --target debian-12"]),
    ("sbom", &["wheelbarrow sbom mysite-1.4.zip -o sbom.cdx.json"]),
    ("sign", &["wheelbarrow sign mysite-1.4.zip --key ~/.ssh/release"]),
    ("thin", &["wheelbarrow thin mysite-1.5.zip --base mysite-1.4.zip -o thin.zip"]),
    ("cache", &["wheelbarrow cache size", "wheelbarrow cache prune"]),
    ("install", &["wheelbarrow install mysite-1.4.zip -d /srv/mysite", "./mysite-1.4.zip -d /srv/mysite"]),
    (
        "verify",
        &[
            "wheelbarrow verify --root /srv/mysite",
            "wheelbarrow verify mysite-1.4.zip --allowed-signers FILE",
        ],
    ),
    ("store", &["wheelbarrow store verify /srv/mysite/store"]),
    (
        "deploy",
        &[
            "wheelbarrow deploy mysite-1.4.zip --root /srv/mysite",
            "./mysite-1.4.zip deploy --root /srv/mysite",
        ],
    ),
    ("activate", &["wheelbarrow activate 7 --root /srv/mysite"]),
    (
        "rollback",
        &["wheelbarrow rollback --root /srv/mysite", "wheelbarrow rollback --to 5 --root /srv/mysite"],
    ),
    ("check", &["wheelbarrow check 7 --root /srv/mysite"]),
    ("migrate", &["wheelbarrow migrate 7 --dry-run --root /srv/mysite"]),
    ("env", &["wheelbarrow env set SECRET_KEY --root /srv/mysite", "wheelbarrow env check environment.json"]),
    ("exec", &["wheelbarrow exec --root /srv/mysite -- django-admin shell"]),
    ("unit", &["wheelbarrow unit --root /srv/mysite --owner www-data"]),
    (
        "inspect",
        &["wheelbarrow inspect mysite-1.4.zip", "wheelbarrow inspect --html page.html mysite-1.4.zip"],
    ),
    ("diff", &["wheelbarrow diff mysite-1.4.zip mysite-1.5.zip"]),
    ("status", &["wheelbarrow status --root /srv/mysite", "wheelbarrow status --check --root /srv/mysite"]),
    ("list", &["wheelbarrow list --root /srv/mysite"]),
    ("history", &["wheelbarrow history --root /srv/mysite", "wheelbarrow history 7 --root /srv/mysite"]),
    ("find", &["wheelbarrow find mysite-1.4.zip --root /srv/mysite"]),
    ("doctor", &["wheelbarrow doctor --root /srv/mysite"]),
    ("prune", &["wheelbarrow prune --keep 3 --root /srv/mysite"]),
    ("remove", &["wheelbarrow remove 4 --root /srv/mysite"]),
    ("pin", &["wheelbarrow pin 4 --root /srv/mysite"]),
    ("unpin", &["wheelbarrow unpin 4 --root /srv/mysite"]),
    ("rescue", &["wheelbarrow rescue 4 --root /srv/mysite"]),
    ("singletons", &["wheelbarrow singletons --root /srv/mysite"]),
    ("recover", &["wheelbarrow recover --root /srv/mysite"]),
];

/// The command line, with groups and examples.
pub(crate) fn decorated(command: Command) -> Command {
    let template = template(&command);
    EXAMPLES.iter().fold(command.help_template(template), |command, (name, lines)| {
        if command.find_subcommand(name).is_none() {
            return command;
        }
        let heading = command.get_styles().get_header();
        let has_servers = command.find_subcommand("deploy").is_some();
        let lines: Vec<&str> =
            lines.iter().copied().filter(|line| has_servers || !line.contains("--root")).collect();
        let title = if lines.len() == 1 { "Example" } else { "Examples" };
        let text = format!("{heading}{title}:{heading:#}\n  {}", lines.join("\n  "));
        command.mut_subcommand(name, |subcommand| subcommand.after_help(text))
    })
}

fn template(command: &Command) -> String {
    let (heading, literal) = (command.get_styles().get_header(), command.get_styles().get_literal());
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (group, names) in GROUPS {
        // Where there are no servers, their commands are missing.
        let found: Vec<&Command> = names.iter().filter_map(|name| command.find_subcommand(name)).collect();
        if !found.is_empty() {
            let _ = write!(text, "\n{heading}{group}:{heading:#}\n");
        }
        for subcommand in found {
            let name = subcommand.get_name();
            let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name:<10}{literal:#}  {about}");
        }
    }
    text + &format!("\n{heading}Options:{heading:#}\n{{options}}")
        + "\n\n`wheelbarrow help COMMAND` shows the options and examples of a command."
}

/// Whether this is a command on some system.
pub(crate) fn is_command(word: &str) -> bool {
    EXAMPLES.iter().any(|(name, _)| *name == word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Arg, CommandFactory};
    use wheelbarrow_testing::generated::assert_part;

    use super::*;
    use crate::Cli;
    use crate::commands::WithoutServers;

    #[test]
    fn every_command_is_in_one_group_and_has_an_example() {
        let command = <Cli>::command();
        let visible = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
        let visible: Vec<&str> = visible.map(Command::get_name).collect();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(set(&visible), set(&grouped));
        assert_eq!(grouped.len(), visible.len());
        assert_eq!(set(&visible), set(&EXAMPLES.map(|(name, _)| name)));
    }

    #[test]
    fn the_help_without_servers_has_what_is_there() {
        let command = decorated(Cli::<WithoutServers>::command());
        let help = command.clone().render_help().to_string();
        assert!(help.contains("\n  build ") && help.contains("\n  verify "), "{help}");
        assert!(!help.contains("deploy ") && !help.contains("Maintain"), "{help}");
        for name in GROUPS[0].1 {
            assert!(command.find_subcommand(name).is_some(), "{name}");
        }
        let verify = command.find_subcommand("verify").and_then(Command::get_after_help).unwrap().to_string();
        assert!(!verify.contains("--root"), "{verify}");
    }

    #[test]
    fn examples_are_accepted() {
        for (name, lines) in EXAMPLES {
            for line in lines.iter().filter(|line| line.starts_with("wheelbarrow ")) {
                let parsed = <Cli>::command().try_get_matches_from(line.split(' '));
                let found = parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(found.subcommand_name(), Some(name));
            }
        }
    }

    #[test]
    fn lines_of_the_list_fit_a_terminal() {
        for line in decorated(<Cli>::command()).render_help().to_string().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }

    #[test]
    fn the_page_has_every_command() {
        let mut command = <Cli>::command();
        command.build();
        let mut page = String::new();
        for (group, names) in GROUPS {
            let _ = write!(page, "\n## {group}\n");
            for name in names {
                let subcommand = command.find_subcommand(name).unwrap();
                let below: Vec<_> =
                    subcommand.get_subcommands().filter(|one| one.get_name() != "help").collect();
                section(&mut page, &format!("wheelbarrow {name}"), subcommand);
                if let Some((_, lines)) = EXAMPLES.iter().find(|(example, _)| example == name) {
                    let _ = write!(page, "\n    {}\n", lines.join("\n    "));
                }
                for one in below {
                    section(&mut page, &format!("wheelbarrow {name} {}", one.get_name()), one);
                }
            }
        }
        let begin = "<!-- from the command line's own definitions -->\n";
        assert_part("docs/reference/commands.md", begin, "<!-- end -->", &page);
    }

    fn section(page: &mut String, name: &str, command: &Command) {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").replace('\n', "\n    ");
        let _ = write!(page, "\n### {name}\n\n{about}.\n\n    {usage}\n");
        let own = |argument: &&Arg| {
            !argument.is_hide_set() && !argument.is_global_set() && argument.get_id() != "help"
        };
        let rows: Vec<String> = command.get_arguments().filter(own).map(row).collect();
        if !rows.is_empty() {
            let _ = write!(page, "\n| | |\n|---|---|\n{}", rows.concat());
        }
    }

    fn row(argument: &Arg) -> String {
        let escaped = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
        let value = |argument: &Arg| {
            let names = argument.get_value_names().unwrap_or_default();
            let takes = argument.get_num_args().is_none_or(|number| number.takes_values());
            names.first().filter(|_| takes).map(|name| format!(" {name}")).unwrap_or_default()
        };
        let mut flags: Vec<String> =
            argument.get_short().map(|short| format!("-{short}")).into_iter().collect();
        flags.extend(argument.get_long().map(|long| format!("--{long}")));
        let name = match flags.as_slice() {
            [] if value(argument).is_empty() => argument.get_id().to_string().to_uppercase(),
            [] => value(argument).trim_start().to_owned(),
            _ => format!("{}{}", flags.join(", "), value(argument)),
        };
        let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        if let Some(variable) = argument.get_env() {
            let _ = write!(help, " (variable `{}`)", variable.to_string_lossy());
        }
        format!("| `{}` | {} |\n", name.replace('|', "\\|"), escaped(&help))
    }
}
