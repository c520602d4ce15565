//! Tells the program from which commit it is built: `QKDSPEC_COMMIT` if that is set, or else what git says.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=QKDSPEC_COMMIT");
    println!("cargo::rerun-if-changed=src");
    // It grows with every commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // Unpacked inside somebody else's clone, it is of no commit of that.
    let is_ours = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let told = std::env::var("QKDSPEC_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = told.or_else(|| git(&["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]).filter(|_| is_ours));
    println!("cargo::rustc-env=QKDSPEC_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// What git says; nothing where there is no git, or no clone.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
