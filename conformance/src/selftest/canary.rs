//! Keys that can be recognised, handed out in right and in wrong places, are in nothing that the harness writes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};

use super::program::Folder;
use crate::config::Config;
use crate::lab::lock;
use crate::run::{Options, RunError, run};
use crate::{pki, report};

/// All keys begin with it.
const BIRD: &[u8; 24] = b"\xfbcanary-\xff-of-qkdspec-\xfe!!";

/// How the KME hands out its keys.
const WAYS: [(&str, &str); 15] = [
    ("as it ought to", ""),
    ("in hexadecimal", "hex"),
    ("in URL-safe base64", "url"),
    ("also in the message of errors", "message"),
    ("also in the details of errors", "details"),
    ("also in errors, as a list of numbers", "numbers"),
    ("also in errors, as numbers in the text", "decimal"),
    ("also in errors, in hexadecimal with colons", "colons"),
    ("also in errors, as text with escapes", "escaped"),
    ("also in errors, as characters of which some are escaped", "characters"),
    ("also as an extension", "extension"),
    ("also in a header", "header"),
    ("also in the reason phrase of errors", "reason"),
    ("also in the name of a header of errors", "name"),
    ("in JSON that is cut off", "cut"),
];

/// Runs against a KME that hands out such keys, in every way; gives what was found out of place, and how many outputs were searched.
pub(crate) fn canary() -> Result<(Vec<String>, usize), String> {
    let folder = Folder::new("canary")?;
    pki::write(&folder.path().join("pki"), &["kme-a"])?;
    let (mut found, mut searched) = (Vec::new(), 0);
    for (way, switch) in WAYS {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let keys = Arc::new(Mutex::new(Keys::default()));
        let shared = keys.clone();
        // Ends with the program; nobody but this run knows its port.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let keys = shared.clone();
                thread::spawn(move || serve(stream, switch, &keys));
            }
        });
        let toml = format!(
            "schema = 1\n[kme.a]\nbase_url = \"http://{address}\"\nca = \"pki/ca.pem\"\n[sae]\n\
             red = {{ id = \"red\", kme = \"a\", cert = \"pki/red.pem\", key = \"pki/red.key\" }}\n\
             blue = {{ id = \"blue\", kme = \"a\", cert = \"pki/blue.pem\", key = \"pki/blue.key\" }}\n\
             [roles]\nmaster = \"red\"\nslave = \"blue\"\n[limits]\nsettle_ms = 50\nresponse_s = 2\n"
        );
        let config = Config::parse(&toml, folder.path()).map_err(|error| error.to_string())?;
        let options = Options {
            select: ["STA", "ENC", "EXT", "DEC", "ERR"].map(str::to_owned).to_vec(),
            insecure_lab: true,
            seed: Some(7),
            ..Options::default()
        };
        let mut screen = Vec::new();
        let outcome = run(config, &options, &mut screen);
        if lock(&keys).count == 0 {
            return Err(format!("{way}: no key was handed out, so nothing was searched for"));
        }
        let mut outputs = vec![("screen", screen)];
        match outcome {
            Ok(report) => {
                let forms = [
                    ("JSON", report.json()),
                    ("HTML", report::html(&report)),
                    ("JUnit", report::junit(&report)),
                    ("SARIF", report::sarif(&report)),
                    ("Markdown", report::markdown(&report)),
                    ("text", report::text(&report)),
                ];
                outputs.extend(forms.map(|(form, text)| (form, text.into_bytes())));
            }
            // The last gate held: there is no report.
            Err(RunError::Redaction(_)) => found.push(format!("{way}: the last gate had to withhold the report")),
            Err(error) => return Err(format!("{way}: {error}")),
        }
        searched += outputs.len();
        found.extend(
            outputs.iter().filter(|(_, text)| holds_canary(text)).map(|(form, _)| format!("{way}: a key is in the {form}")),
        );
    }
    Ok((found, searched))
}

fn holds_canary(text: &[u8]) -> bool {
    let needles = [
        BIRD.to_vec(),
        Base64::encode_string(BIRD).into_bytes(),
        Base64UrlUnpadded::encode_string(BIRD).into_bytes(),
        crate::hex(BIRD).into_bytes(),
        crate::hex(BIRD).to_uppercase().into_bytes(),
    ];
    let one_by_one = |octet: fn(&u8) -> String, between: &str| {
        let octets: Vec<_> = BIRD.iter().map(octet).collect();
        octets.join(between).into_bytes()
    };
    let decimal = [",", ", ", " "].map(|between| one_by_one(u8::to_string, between));
    let spaced = [":", " ", "-"].map(|between| one_by_one(|octet| format!("{octet:02x}"), between));
    // With escapes, once or twice, its letters stay.
    let needles = needles.into_iter().chain([BIRD[9..21].to_vec()]);
    let needles: Vec<_> = needles.chain(decimal).chain(spaced).collect();
    needles.iter().any(|needle| text.windows(needle.len()).any(|window| window == needle))
}

#[derive(Default)]
struct Keys {
    count: u64,
    kept: BTreeMap<String, Vec<u8>>,
}

/// A KME on plain HTTP that knows no SAE and asks nobody for a name.
fn serve(stream: TcpStream, switch: &str, keys: &Mutex<Keys>) {
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if !matches!((&mut reader).take(64 * 1024).read_line(&mut line), Ok(octets) if octets > 0) {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        let mut body = Vec::new();
        if (&mut reader).take(length).read_to_end(&mut body).is_err() {
            return;
        }
        let (status, headers, body) = answer(&head, &String::from_utf8_lossy(&body), switch, &mut lock(keys));
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}

fn answer(head: &str, body: &str, switch: &str, keys: &mut Keys) -> (String, String, String) {
    let line = head.lines().next().unwrap_or_default();
    if line.contains("/status") {
        let status = r#"{"source_KME_ID":"a","target_KME_ID":"b","master_SAE_ID":"red","slave_SAE_ID":"blue","key_size":256,"stored_key_count":9,"max_key_count":9,"max_key_per_request":4,"max_key_size":256,"min_key_size":256,"max_SAE_ID_count":0}"#;
        return ("200 X".to_owned(), String::new(), status.to_owned());
    }
    if line.contains("/enc_keys") && !body.contains("mandatory") {
        let key = new_key(keys);
        return container(&key, switch);
    }
    let asked = keys.kept.keys().find(|id| line.contains(id.as_str()) || body.contains(id.as_str())).cloned();
    match asked.and_then(|id| keys.kept.remove(&id).map(|octets| (id, octets))) {
        Some(key) => container(&key, switch),
        None => refusal(&new_key(keys).1, switch),
    }
}

fn new_key(keys: &mut Keys) -> (String, Vec<u8>) {
    keys.count += 1;
    let id = format!("00000000-0000-4000-8000-{:012x}", keys.count);
    let octets = [&BIRD[..], &keys.count.to_be_bytes()].concat();
    keys.kept.insert(id.clone(), octets.clone());
    (id, octets)
}

fn container((id, octets): &(String, Vec<u8>), switch: &str) -> (String, String, String) {
    let key = match switch {
        "hex" => crate::hex(octets),
        "url" => Base64UrlUnpadded::encode_string(octets),
        _ => Base64::encode_string(octets),
    };
    let extension = if switch == "extension" { format!(",\"key_extension\":{{\"copy\":\"{key}\"}}") } else { String::new() };
    let header = if switch == "header" { format!("X-Key: {key}\r\n") } else { String::new() };
    let mut body = format!("{{\"keys\":[{{\"key_ID\":\"{id}\",\"key\":\"{key}\"{extension}}}]}}");
    if switch == "cut" {
        body.truncate(body.len() - 4);
    }
    ("200 X".to_owned(), header, body)
}

fn refusal(octets: &[u8], switch: &str) -> (String, String, String) {
    let key = Base64::encode_string(octets);
    let spaced: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let body = match switch {
        "message" => format!("{{\"message\":\"cannot encode {key}\"}}"),
        "details" => format!("{{\"message\":\"no\",\"details\":[{{\"buffer\":\"{key}\"}}]}}"),
        "numbers" => format!("{{\"message\":\"no\",\"details\":[{{\"buffer\":{octets:?}}}]}}"),
        "decimal" => format!("{{\"message\":\"cannot encode {octets:?}\"}}"),
        "colons" => format!("{{\"message\":\"cannot encode {}\"}}", spaced.join(":")),
        // In JSON each backslash is one more.
        "characters" => {
            let characters: String = octets.iter().map(|octet| char::from(*octet)).flat_map(char::escape_default).collect();
            format!("{{\"message\":\"cannot encode {}\"}}", characters.replace('\\', r"\\"))
        }
        // As Python prints it.
        "escaped" => format!("{{\"message\":\"cannot encode b'{}'\"}}", octets.escape_ascii().to_string().replace('\\', r"\\")),
        _ => "{\"message\":\"no\"}".to_owned(),
    };
    // All keys begin alike, so that one that was delivered betrays the base64 of the others, but nothing betrays this.
    let reason = if switch == "reason" { format!("cannot encode {}", spaced.join(":")) } else { "X".to_owned() };
    let header = if switch == "name" { format!("X-{}: 1\r\n", spaced.join("-")) } else { String::new() };
    (format!("400 {reason}"), header, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_every_spelling() {
        let key = [&BIRD[..], &[1, 2, 3]].concat();
        let colons: Vec<_> = key.iter().map(|octet| format!("{octet:02x}")).collect();
        let spelt = [key.clone(), Base64::encode_string(&key).into_bytes(), crate::hex(&key).into_bytes()];
        for text in spelt.into_iter().chain([
            format!("{key:?}").into_bytes(),
            colons.join(":").into_bytes(),
            key.escape_ascii().to_string().into_bytes(),
        ]) {
            assert!(holds_canary(&[b"x", text.as_slice(), b"y"].concat()));
        }
        assert!(!holds_canary(b"canary"));
    }

    #[test]
    fn no_output_holds_a_key() {
        let (found, searched) = canary().expect("a canary");
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(searched, WAYS.len() * 7);
    }
}
