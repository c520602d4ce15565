//! The command line with which a case is repeated.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

/// What a repetition does not need: other cases, how a run looks, and what it writes.
const LEFT_OUT: [&str; 18] = [
    "select",
    "skip",
    "seed",
    "role",
    "shuffle",
    "fail_fast",
    "evidence",
    "quiet",
    "no_color",
    "width",
    "list_hooks",
    "report",
    "junit",
    "html",
    "sarif",
    "md",
    "out",
    "id",
];

/// All else that the command line and the environment have set, as a shell reads it, with a blank before each.
pub(super) fn arguments(command: &Command, matches: &ArgMatches) -> String {
    if let Some((name, below)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        return arguments(command, below);
    }
    let wanted = command.get_arguments().filter(|argument| !LEFT_OUT.contains(&argument.get_id().as_str()));
    wanted.filter_map(|argument| one(argument, matches)).collect()
}

fn one(argument: &Arg, matches: &ArgMatches) -> Option<String> {
    let id = argument.get_id().as_str();
    if !matches!(matches.value_source(id)?, ValueSource::CommandLine | ValueSource::EnvVariable) {
        return None;
    }
    let name = argument.get_long()?;
    if !argument.get_action().takes_values() {
        return matches.try_get_one::<bool>(id).ok().flatten().filter(|is| **is).map(|_| format!(" --{name}"));
    }
    let values = matches.get_raw(id)?;
    Some(values.map(|value| format!(" --{name} {}", quoted(&value.to_string_lossy()))).collect())
}

/// A text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
