//! The command line, as a function, so that another program can be a client by calling [`run`].

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::{CallFailure, SaeClient};

mod arguments;
mod failure;
mod print;
mod settings;

use arguments::{Cli, Command};
use failure::Failure;

/// Runs the command line. The first of `arguments` is the name of the program.
///
/// The result goes to standard output, errors go to standard error. The exit code is
///
/// | code | meaning |
/// |------|---------|
/// | 0    | done |
/// | 1    | refused by the KME (a 4xx or 5xx status) |
/// | 2    | wrong usage: arguments, or a file that they name |
/// | 3    | no answer: connection, TLS or KME ID failed |
/// | 4    | the answer does not conform to the standard, or is not one to what was asked |
/// | 5    | the result could not be written out; keys in it are lost |
///
/// Makes an asynchronous runtime of its own, so it must not be called from within one.
///
/// # Panics
/// When called from within an asynchronous runtime.
pub fn run<I>(arguments: I) -> ExitCode
where
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be done when even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.json;
    match call(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = if json { failure.to_json() } else { format!("sae: {failure}") };
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn call(cli: Cli) -> Result<(), Failure> {
    let (decoding, verbose, json) = (cli.decoding(), cli.verbose, cli.json);
    let command = cli.command.check()?;
    let settings = cli.connection.settings(&|name: &str| std::env::var_os(name).filter(|value| value != OsStr::new("")))?;
    let client = SaeClient::new(&settings).map_err(|error| Failure::Usage(error.to_string()))?;
    let client = client.with_form(command.form()).with_decoding(decoding);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Usage(format!("no asynchronous runtime: {error}")))?;

    let called = runtime.block_on(send(&client, command));
    if verbose && let Some(server) = client.server() {
        let _ = writeln!(io::stderr(), "{}", print::server(server));
    }
    let answer = called.map_err(|failure| Failure::of_call(failure, &settings.kme))?;

    let mut out = io::stdout().lock();
    let written = match (answer, json) {
        (Answer::Status(status), true) => print::status_json(&mut out, &status),
        (Answer::Status(status), false) => print::status(&mut out, &status),
        (Answer::Keys(keys, show), true) => print::keys_json(&mut out, &keys, show),
        (Answer::Keys(keys, show), false) => print::keys(&mut out, &keys, show),
    };
    written.and_then(|()| out.flush()).map_err(Failure::Output)
}

enum Answer {
    Status(etsi014::Status),
    Keys(etsi014::KeyContainer, print::Show),
}

async fn send(client: &SaeClient, command: Command) -> Result<Answer, CallFailure> {
    Ok(match command {
        Command::Status { slave } => Answer::Status(client.status(&slave).await?),
        Command::Enc { slave, request, show, .. } => Answer::Keys(client.get_key(&slave, request).await?, show),
        Command::Dec { master, key_ids, show, .. } => Answer::Keys(client.get_key_with_key_ids(&master, key_ids).await?, show),
    })
}
