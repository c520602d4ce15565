//! The program as its users meet it: over TLS, against a KME in this process.

mod support;

use std::net::TcpListener;

use support::{LEAKED, Outcome, World, run};

/// `[0xa0; 32]` and `[0xa1; 32]` in base64, and their fingerprints by
/// `openssl dgst -sha256 -hmac "qkms fingerprint"`.
const KEYS: [(&str, &str); 2] =
    [("oKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKA=", "39d3b8f0"), ("oaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaE=", "e2f6a8b8")];

const IDS: [&str; 2] = ["00000000-0000-4000-8000-000000000000", "00000000-0000-4000-8000-000000000001"];

#[test]
fn what_red_draws_blue_fetches() {
    let world = World::start("draw");
    for form in ["--post", "--get"] {
        let drawn = world.run("red", &["enc", "blue", "--number", "2", form, "--json"]);
        assert_eq!(drawn.code, Some(0), "{drawn:?}");
        let ids = drawn.ids();
        let fetched = world.run("blue", &["dec", "red", &ids[1], &ids[0], "--json", form]);
        assert_eq!(fetched.code, Some(0), "{fetched:?}");
        assert_eq!(fetched.ids(), [ids[1].as_str(), &ids[0]], "in the order asked for");
        let prints = |outcome: &Outcome, at: usize| outcome.json()["keys"][at]["fingerprint"].clone();
        assert_eq!(prints(&drawn, 0), prints(&fetched, 1));
        assert_eq!(prints(&drawn, 1), prints(&fetched, 0));
        assert_ne!(prints(&drawn, 0), prints(&drawn, 1));
        let again = world.run("blue", &["dec", "red", &ids[0]]);
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.stderr.contains("one or more keys specified are not found on KME"), "{again:?}");
    }
}

#[test]
fn json_has_one_shape() {
    let world = World::start("json");
    let status = world.run("red", &["status", "blue", "--json"]).json();
    assert_eq!(
        status,
        serde_json::json!({
            "source_KME_ID": "north", "target_KME_ID": "north", "master_SAE_ID": "red", "slave_SAE_ID": "blue",
            "key_size": 256, "stored_key_count": 7, "max_key_count": 1000, "max_key_per_request": 128,
            "max_key_size": 4096, "min_key_size": 64, "max_SAE_ID_count": 4,
        })
    );
    let key = |at: usize| serde_json::json!({ "key_ID": IDS[at], "size": 256, "fingerprint": KEYS[at].1 });
    let drawn = world.run("red", &["--json", "enc", "blue", "-n", "2"]);
    assert_eq!(drawn.json(), serde_json::json!({ "keys": [key(0), key(1)] }));
    let mut shown = key(0);
    shown["key"] = KEYS[0].0.into();
    let fetched = world.run("blue", &["--json", "dec", "red", IDS[0], "--show-key"]);
    assert_eq!(fetched.json(), serde_json::json!({ "keys": [shown] }));

    let refused = world.run("blue", &["dec", "red", IDS[0], "--json"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert_eq!(refused.stderr.lines().count(), 1);
    let error: serde_json::Value = serde_json::from_str(&refused.stderr).expect("JSON");
    assert_eq!(
        error,
        serde_json::json!({ "error": {
            "kind": "refused", "status": 400, "message": "one or more keys specified are not found on KME",
            "details": [{ "key_ID": IDS[0] }],
        } })
    );
    let broken = world.run("red", &["enc", "later", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&broken.stderr).expect("JSON");
    assert_eq!(error["error"]["kind"], "answer");
    assert_eq!(error["error"].as_object().map(|members| members.len()), Some(2));
}

#[test]
fn text_is_for_people_and_hides_keys() {
    let world = World::start("text");
    let status = world.run("red", &["status", "blue"]);
    assert!(status.stdout.contains("stored keys        7 of 1000\n"), "{status:?}");
    let hidden = world.run("red", &["enc", "blue"]);
    assert_eq!(hidden.stdout.lines().count(), 2, "{hidden:?}");
    assert!(hidden.stdout.contains(IDS[0]) && hidden.stdout.contains(KEYS[0].1), "{hidden:?}");
    assert!(!hidden.stdout.contains(KEYS[0].0), "{hidden:?}");
    assert!(!hidden.stdout.contains("oKCg") && !hidden.stdout.contains("a0a0"), "{hidden:?}");
    assert_eq!(hidden.stderr, "");
    let shown = world.run("blue", &["dec", "red", IDS[0], "--show-key"]);
    assert!(shown.stdout.contains(KEYS[0].0), "{shown:?}");
}

#[test]
fn requests_say_what_was_asked_for() {
    let world = World::start("request");
    let drawn = world.run("red", &["enc", "blue", "--size", "64", "--json"]);
    assert_eq!(drawn.json()["keys"][0]["size"], 64);
    let odd_size = world.run("red", &["enc", "blue", "--size", "65"]);
    assert!(odd_size.stderr.contains("size shall be a multiple of 8"), "{odd_size:?}");
    let shared = world.run("red", &["enc", "green", "--also", "blue", "--get", "--json"]);
    assert_eq!(world.run("blue", &["dec", "red", &shared.ids()[0]]).code, Some(0));
    for mandatory in [r#"{"v_a":1}"#, r#"[{"v_b":1},{"v_a":{}}]"#] {
        let refused = world.run("red", &["enc", "blue", "--mandatory", mandatory, "--optional", "{}"]);
        assert_eq!(refused.code, Some(1));
        assert!(refused.stderr.contains("not all extension_mandatory parameters are supported"), "{refused:?}");
        assert!(refused.stderr.contains("v_a"), "{refused:?}");
    }
    let optional = world.run("red", &["enc", "blue", "--optional", r#"{"v_a":1}"#]);
    assert_eq!(optional.code, Some(0), "{optional:?}");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let world = World::start("exit");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let closed = format!("https://{closed}");
    let demo = world.file("");
    let (other_ca, missing) = (world.file("other/ca.pem"), world.file("missing.pem"));
    let (stranger, stranger_key) = (world.file("pki/stranger.pem"), world.file("pki/stranger.key"));
    let (expired, expired_key) = (world.file("pki/expired.pem"), world.file("pki/expired.key"));
    let blue_key = world.file("pki/blue.key");
    let by_name = world.url().replace("127.0.0.1", "localhost");
    let table: &[(i32, &[&str])] = &[
        (0, &["status", "blue"]),
        (0, &["enc", "blue"]),
        (0, &["status", "blue", "--kme", &by_name]),
        (0, &["status", "blue", "--kme-id-from", "cn"]),
        (0, &["enc", "typed"]),
        (0, &["--help"]),
        (0, &["enc", "--help"]),
        (0, &["--version"]),
        (1, &["enc", "nobody"]),
        (1, &["enc", "blue", "--number", "1000"]),
        (1, &["enc", "mute"]),
        (1, &["enc", "rude"]),
        (1, &["dec", "blue", IDS[1]]),
        (2, &[]),
        (2, &["enc"]),
        (2, &["enc", ""]),
        (2, &["enc", "blue", "--number", "0"]),
        (2, &["enc", "blue", "--size", "0"]),
        (2, &["enc", "blue", "--get", "--post"]),
        (2, &["enc", "blue", "--mandatory", "7"]),
        (2, &["enc", "blue", "--mandatory", "[1]"]),
        (2, &["dec", "red"]),
        (2, &["dec", "red", "no-uuid"]),
        (2, &["dec", "red", IDS[0], IDS[0]]),
        (2, &["status", "blue", "--kme", "http://127.0.0.1:1"]),
        (2, &["status", "blue", "--timeout", "0"]),
        (2, &["status", "blue", "--ca", &missing]),
        (2, &["status", "blue", "--key", &blue_key]),
        (2, &["status", "blue", "--as", "purple"]),
        (2, &["status", "blue", "--as", "lost"]),
        (2, &["status", "blue", "--demo", &missing]),
        (3, &["status", "blue", "--kme", &closed]),
        (3, &["status", "blue", "--kme", "https://no-such-host.invalid"]),
        (3, &["status", "blue", "--ca", &other_ca]),
        (3, &["status", "blue", "--kme-id", "south"]),
        (3, &["status", "blue", "--cert", &stranger, "--key", &stranger_key]),
        (3, &["status", "blue", "--cert", &expired, "--key", &expired_key]),
        (4, &["enc", "few", "--number", "2"]),
        (4, &["enc", "later"]),
        (4, &["enc", "moved"]),
        (4, &["enc", "page"]),
        (4, &["enc", "leaky"]),
        (4, &["enc", "wide"]),
        (4, &["enc", "typed", "--strict"]),
        (4, &["enc", "typed", "--size", "64"]),
    ];
    for (code, arguments) in table {
        // the same option twice would be an error, not an override
        let mut all = arguments.to_vec();
        for (option, value) in [("--demo", demo.as_str()), ("--as", "red")] {
            if !arguments.is_empty() && !arguments.contains(&option) {
                all.extend([option, value]);
            }
        }
        let outcome = run(&all, &[]);
        assert_eq!(outcome.code, Some(*code), "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stdout.is_empty(), *code != 0, "{arguments:?}: {outcome:?}");
        assert_eq!(outcome.stderr.is_empty(), *code == 0, "{arguments:?}: {outcome:?}");
        assert!(!outcome.stderr.contains(LEAKED) && !outcome.stderr.contains('\u{1b}'), "{arguments:?}: {outcome:?}");
    }
}

#[test]
fn a_kme_of_another_id_gets_no_request() {
    let world = World::start("other-kme");
    let refused = world.run("red", &["enc", "blue", "--kme-id", "south"]);
    assert_eq!((refused.code, world.requests()), (Some(3), 0), "{refused:?}");
    assert!(refused.stderr.contains("north") && refused.stderr.contains("south"), "{refused:?}");
    assert_eq!(world.run("red", &["enc", "blue", "--kme-id", "north"]).code, Some(0));
    assert_eq!(world.requests(), 1);
}

#[test]
fn settings_come_from_the_environment_too() {
    let world = World::start("environment");
    let (url, ca) = (world.url(), world.file("pki/ca.pem"));
    let (cert, key) = (world.file("pki/red.pem"), world.file("pki/red.key"));
    let variables = [
        ("SAE_KME", url.as_str()),
        ("SAE_CA", &ca),
        ("SAE_CERT", &cert),
        ("SAE_KEY", &key),
        ("SAE_KME_ID", "north"),
        ("SAE_TIMEOUT", "20"),
    ];
    assert_eq!(run(&["status", "blue"], &variables).code, Some(0));
    assert_eq!(run(&["status", "blue", "--kme-id", "south"], &variables).code, Some(3));
    for missing in ["SAE_KME", "SAE_CA", "SAE_CERT", "SAE_KEY"] {
        let rest: Vec<_> = variables.iter().copied().filter(|(name, _)| *name != missing).collect();
        let told = run(&["status", "blue"], &rest);
        assert_eq!(told.code, Some(2), "{missing}: {told:?}");
    }
    let demo = world.file("demo.json");
    let by_demo = run(&["status", "blue"], &[("SAE_DEMO", &demo), ("SAE_AS", "red"), ("SAE_KME", "https://127.0.0.1:1")]);
    assert_eq!(by_demo.code, Some(0), "a demonstration goes before the rest of the environment: {by_demo:?}");
    assert_eq!(run(&["status", "blue"], &[("SAE_DEMO", &demo)]).code, Some(2));
    assert_eq!(run(&["status", "blue", "--as", "red"], &[]).code, Some(2));
}

#[test]
fn verbose_tells_what_was_connected_to() {
    let world = World::start("verbose");
    let told = world.run("red", &["status", "blue", "-v"]);
    assert!(told.stderr.contains("TLSv1.3, X25519MLKEM768"), "{told:?}");
    assert_eq!(told.stderr.lines().count(), 1);
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let world = World::start("full");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let demo = world.file("");
    let arguments = ["--demo", &demo, "--as", "red", "enc", "blue"];
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_sae"))
        .args(arguments)
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status();
    assert_eq!(status.expect("the program").code(), Some(5));
}
