//! Certificates written to a folder and used from there.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Running, get, text, unhurried};
use transport::client::{ClientOptions, HttpsClient};
use transport::pki::{Authority, Leaf, PkiError, Profile, write_pki};
use transport::tls::{self, Credentials, Northbound, Pem, Trust};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("transport-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn credentials(&self, stem: &str) -> Credentials {
        Credentials {
            certificate: Pem::file(self.0.join(format!("{stem}.pem"))),
            key: Pem::file(self.0.join(format!("{stem}.key"))),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_written_set_works_and_its_faulty_part_does_not() {
    let folder = Folder::new("set");
    let (good, faulty) = (Profile::demonstration(), Profile::refused("red"));
    write_pki(&folder.0, "Demonstration", &[good, faulty].concat()).expect("written");
    let trust = Trust::roots(Pem::file(folder.0.join("ca.pem"))).with_crl(Pem::file(folder.0.join("crl.pem")));
    let client = |stem: &str| {
        let config = tls::northbound_client(Some(&folder.credentials(stem)), &trust, &Northbound::default());
        HttpsClient::new(config.expect("a configuration"), ClientOptions::default())
    };
    for kme in ["north", "south"] {
        let config = tls::northbound_server(&folder.credentials(kme), &trust, &Northbound::default());
        let server = Running::start(config.expect("a configuration"), unhurried()).await;
        for sae in ["red", "blue", "green", "grey"] {
            assert_eq!(text(&client(sae), &server.url("/who")).await, format!("Ok({sae:?})"));
        }
        for fault in ["expired", "not-yet-valid", "revoked", "stranger", "self-signed", "server-only"] {
            assert!(get(&client(&format!("red-{fault}")), &server.url("/who")).await.is_err(), "{fault}");
        }
        assert_eq!(text(&client("red-unnamed"), &server.url("/who")).await, "Err(Missing)");
        assert_eq!(text(&client("south"), &server.url("/who")).await, "Err(Missing)", "a KME is no SAE");
    }
}

#[cfg(unix)]
#[test]
fn private_keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    fs::create_dir_all(&folder.0).expect("a folder");
    let open = folder.0.join("north.key");
    fs::write(&open, "an older file, open to all").expect("written");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).expect("set");
    write_pki(&folder.0, "Test", &[Profile::new("north", Leaf::kme("north"))]).expect("written");
    let mode = |file: &Path| fs::metadata(file).expect("a file").permissions().mode() & 0o777;
    for file in ["ca.key", "north.key"] {
        let path = folder.0.join(file);
        assert_eq!(mode(&path), 0o600, "{file}");
        assert!(fs::read_to_string(&path).expect("read").contains("PRIVATE KEY"));
    }
    let mut files: Vec<_> = fs::read_dir(&folder.0).expect("a folder").map(|entry| entry.expect("one").file_name()).collect();
    files.sort();
    assert_eq!(files, ["ca.key", "ca.pem", "crl.pem", "north.key", "north.pem"]);
}

#[test]
fn nothing_is_overwritten_or_written_elsewhere() {
    let folder = Folder::new("stems");
    for stem in ["", "../up", "a/b", ".hidden", "ca", "crl", "with space"] {
        let result = write_pki(&folder.0, "Test", &[Profile::new(stem, Leaf::sae("red"))]);
        assert!(matches!(result, Err(PkiError::BadStem(_))), "{stem:?}");
    }
    let twice = [Profile::new("red", Leaf::sae("red")), Profile::new("red", Leaf::sae("blue"))];
    assert!(matches!(write_pki(&folder.0, "Test", &twice), Err(PkiError::BadStem(_))));
    assert!(!folder.0.exists());
    write_pki(&folder.0, "Test", &[]).expect("written");
    let before = fs::read(folder.0.join("ca.pem")).expect("read");
    assert!(matches!(write_pki(&folder.0, "Test", &[]), Err(PkiError::Exists(_))));
    assert_eq!(fs::read(folder.0.join("ca.pem")).expect("read"), before);
}

#[tokio::test]
async fn an_authority_can_be_loaded_and_go_on() {
    let folder = Folder::new("load");
    write_pki(&folder.0, "Test", &Profile::demonstration()).expect("written");
    let authority = Authority::load(&folder.0.join("ca.pem"), &folder.0.join("ca.key")).expect("loaded");
    authority.issue(&Leaf::sae("later")).expect("issued").save(&folder.0, "later").expect("saved");
    let trust = Trust::roots(Pem::file(folder.0.join("ca.pem")));
    let config = tls::northbound_server(&folder.credentials("north"), &trust, &Northbound::default());
    let server = Running::start(config.expect("a configuration"), unhurried()).await;
    let config = tls::northbound_client(Some(&folder.credentials("later")), &trust, &Northbound::default());
    let client = HttpsClient::new(config.expect("a configuration"), ClientOptions::default());
    assert_eq!(text(&client, &server.url("/who")).await, "Ok(\"later\")");

    let error = Authority::load(&folder.0.join("ca.pem"), &folder.0.join("absent.key")).expect_err("absent");
    assert!(error.to_string().contains("absent.key"), "{error}");
}

#[test]
fn debug_shows_no_private_key() {
    let authority = Authority::new("Test").expect("an authority");
    let issued = authority.issue(&Leaf::sae("red")).expect("a certificate");
    let secret = issued.secret_key_pem().lines().nth(1).expect("base64");
    let shown = format!("{authority:?} {issued:?}");
    assert!(shown.contains("BEGIN CERTIFICATE"));
    assert!(!shown.contains(secret) && !shown.contains("PRIVATE"), "{shown}");
}
