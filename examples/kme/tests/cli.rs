//! The command line: certificates, configuration checks, the API description, help and exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const EXAMPLE: &str = include_str!("../kme.toml");

fn kme(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kme")).args(arguments).current_dir(folder).output().expect("it runs")
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = kme(folder, arguments);
    assert_eq!((status.code(), text(&stderr).as_str()), (Some(0), ""), "{arguments:?}");
    text(&stdout)
}

fn fails(folder: &Path, arguments: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = kme(folder, arguments);
    assert_eq!((status.code(), text(&stdout).as_str()), (Some(code), ""), "{arguments:?}");
    text(&stderr)
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// A folder with the example configuration and the certificates it names.
fn example() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("kme.toml"), EXAMPLE).expect("written");
    succeeds(folder.path(), &["pki", "--dir", "pki", "--kme", "north", "--kme", "south", "--sae", "red"]);
    folder
}

#[test]
fn the_example_configuration_is_in_order_with_its_certificates() {
    let folder = example();
    let said = succeeds(folder.path(), &["check-config", "kme.toml"]);
    assert!(said.contains("in order: KME north, 1 QKD link, 2 SAEs"), "{said}");
}

#[test]
fn wrong_files_are_found() {
    for (from, to, line_of, message) in [
        ("key = \"pki/north.key\"", "key = \"pki/south.key\"", "key = \"pki/south.key\"", "does not belong to the certificate"),
        ("pki/north", "pki/south", "certificate = \"pki/south.pem\"", "names the KME `south`, but this is `north`"),
        ("pki/north", "pki/red", "certificate = \"pki/red.pem\"", "no KME ID in the certificate"),
        ("client_ca = [\"pki/ca.pem\"]", "client_ca = [\"pki/north.key\"]", "client_ca", "holds no certificate"),
        ("crl = [\"pki/crl.pem\"]", "crl = [\"pki/ca.pem\"]", "crl = ", "holds no certificate revocation list"),
        ("crl = [\"pki/crl.pem\"]", "crl = [\"other/crl.pem\"]", "crl = ", "none of the authorities signed"),
        (
            "client_ca = [\"pki/ca.pem\"]",
            "client_ca = [\"pki/ca.pem\", \"other/ca.pem\"]",
            "crl = ",
            "none of the revocation lists",
        ),
        ("pki/north.pem", "pki", "certificate = \"pki\"", "is a directory"),
        ("pki/north.pem", "pki/old.pem", "certificate = \"pki/old.pem\"", "No such file"),
    ] {
        let folder = example();
        succeeds(folder.path(), &["pki", "--dir", "other", "--sae", "red"]);
        let changed = EXAMPLE.replace(from, to);
        fs::write(folder.path().join("kme.toml"), &changed).expect("written");
        let said = fails(folder.path(), &["check-config", "kme.toml"], 1);
        let line = 1 + changed.lines().position(|line| line.starts_with(line_of)).expect("it is there");
        let expected = |problem: &str| problem.starts_with(&format!("kme.toml:{line}:")) && problem.contains(message);
        assert!(said.lines().any(|problem| expected(problem.trim_start_matches("kme: "))), "{line} {message}\n{said}");
    }
}

#[test]
fn an_expired_certificate_of_the_kme_is_found() {
    use transport::pki::{Authority, Leaf};
    let folder = example();
    let pki = folder.path().join("pki");
    let authority = Authority::load(&pki.join("ca.pem"), &pki.join("ca.key")).expect("the authority");
    authority.issue(&Leaf::kme("north").expired()).and_then(|issued| issued.save(&pki, "north")).expect("made");
    let said = fails(folder.path(), &["check-config", "kme.toml"], 1);
    assert!(said.contains("the certificate is valid only from"), "{said}");
}

#[test]
fn certificates_are_added_and_never_replaced() {
    let folder = example();
    let said = succeeds(folder.path(), &["pki", "--dir", "pki", "--sae", "green"]);
    assert!(said.contains("green.pem green.key") && !said.contains("ca.pem"), "{said}");
    assert!(fails(folder.path(), &["pki", "--dir", "pki", "--sae", "red"], 1).contains("red.pem: is there already"));
    assert!(fails(folder.path(), &["pki", "--dir", "pki", "--revoked", "red"], 1).contains("--revoked needs a new folder"));
    for stem in ["../green", "", "a/b", ".x"] {
        assert!(fails(folder.path(), &["pki", "--dir", "pki", "--sae", stem], 1).contains("file name"), "{stem}");
    }
    // The authority's key is kept elsewhere: then nothing can be signed, and nothing is lost.
    let pki = folder.path().join("pki");
    fs::rename(pki.join("ca.key"), folder.path().join("ca.key")).expect("moved");
    let before = ["ca.pem", "crl.pem"].map(|file| fs::read(pki.join(file)).expect("readable"));
    for revoked in [&[][..], &["--revoked", "black"]] {
        let arguments = [&["pki", "--dir", "pki", "--sae", "white"], revoked].concat();
        assert!(fails(folder.path(), &arguments, 1).contains("pki"), "{arguments:?}");
    }
    assert!(before == ["ca.pem", "crl.pem"].map(|file| fs::read(pki.join(file)).expect("readable")));
    assert!(!pki.join("white.pem").exists());

    let bad = ["pki", "--dir", "bad", "--expired", "red", "--revoked", "blue", "--unenrolled", "stray"];
    let said = succeeds(folder.path(), &bad);
    for file in ["ca.pem", "crl.pem", "red-expired.pem", "red-expired.key", "blue-revoked.pem", "stray.key"] {
        assert!(said.contains(file) && folder.path().join("bad").join(file).is_file(), "{file}: {said}");
    }
}

#[test]
fn serve_reports_mistakes_and_missing_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = fails(folder.path(), &["serve", "--config", "kme.toml"], 1);
    assert!(said.contains("kme.toml: No such file"), "{said}");
    fs::write(folder.path().join("kme.toml"), EXAMPLE).expect("written");
    let said = fails(folder.path(), &["serve", "--config", "kme.toml"], 1);
    assert!(said.contains("`certificate` names pki/north.pem: No such file") && said.contains("  fix: "), "{said}");
}

#[test]
fn the_description_of_the_interface_is_openapi() {
    let folder = tempfile::tempdir().expect("a folder");
    let document: serde_json::Value = serde_json::from_str(&succeeds(folder.path(), &["openapi"])).expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.")));
    assert!(document["paths"].as_object().is_some_and(|paths| paths.keys().any(|path| path.ends_with("/enc_keys"))));
}

#[test]
fn every_command_has_help_with_an_example() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = succeeds(folder.path(), &["--help"]);
    assert!(help.contains("Example") && !help.contains("demo-link") && !help.contains("demo-sae"), "{help}");
    for command in ["demo", "serve", "check-config", "openapi", "pki"] {
        assert!(help.contains(command));
        let help = succeeds(folder.path(), &[command, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("kme {command}")), "{help}");
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let wrong: &[&[&str]] = &[
        &["serve"],
        &["fly"],
        &["demo", "--base-port", "65535"],
        &["demo", "--base-port", "x"],
        &["demo", "--link-rate", "-1"],
        &["demo", "--link-rate", "fast"],
        &["demo", "--durability", "some"],
        &["pki"],
    ];
    for arguments in wrong {
        fails(folder.path(), arguments, 2);
    }
}
