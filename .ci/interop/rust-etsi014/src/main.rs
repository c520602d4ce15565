//! Draws keys as red at KME north and fetches them as blue at KME south, with the published crate `etsi014`.
//!
//! Usage: `interop-etsi014 FOLDER`, with the folder of `kme demo`. Prints fingerprints, never keys.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use etsi014::{ApiErrorKind, Endpoint, KeyId, KeyIdRequest, KeyRequest, KeyResponse};
use serde_json::Value;
use sha2::{Digest, Sha256};

const KEYS: u32 = 3;
const BITS: u32 = 512;

/// Of a key its ID, its size in bits, and the first 8 hex digits of its SHA-256.
type Fingerprint = (String, usize, String);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: interop-etsi014 FOLDER")?);
    let demo: Value = serde_json::from_slice(&fs::read(folder.join("demo.json"))?)?;
    let at_own = |sae: &str| -> Result<Endpoint, Box<dyn Error>> {
        let kme = text(&demo["saes"][sae]["kme"])?;
        client(&folder, &demo, &demo["saes"][sae], kme)
    };
    let (red, blue, green, grey) = (at_own("red")?, at_own("blue")?, at_own("green")?, at_own("grey")?);

    let status = red.status("blue").await?;
    println!(
        "status    {} ({}) to {} ({}): {} keys of {} bits ready",
        status.master_SAE_ID,
        status.source_KME_ID,
        status.slave_SAE_ID,
        status.target_KME_ID,
        status.stored_key_count,
        status.key_size
    );
    expect("the names in Status", (&*status.master_SAE_ID, &*status.source_KME_ID), ("red", "north"))?;
    expect("the names in Status", (&*status.slave_SAE_ID, &*status.target_KME_ID), ("blue", "south"))?;

    let drawn = fingerprints(red.get_key("blue", &KeyRequest::new(Some(KEYS), Some(BITS))).await?)?;
    let fetched = fingerprints(blue.get_key_with_id("red", &ids(&drawn)).await?)?;
    show("blue", &drawn, &fetched);
    expect("the number of keys", drawn.len(), KEYS as usize)?;
    expect("the keys of blue", &fetched, &drawn)?;
    if drawn.iter().any(|(_, bits, _)| *bits != BITS as usize) {
        return Err("a key has another size than was asked for".into());
    }

    let again = blue.get_key_with_id("red", &ids(&drawn)).await.err().ok_or("keys were supplied a second time")?;
    expect("a second time", again.kind(), Some(ApiErrorKind::KeysNotFound))?;
    println!("a second time is refused: {again}");

    let several = KeyRequest { additional_slave_SAE_IDs: Some(vec!["green".to_owned()]), ..KeyRequest::new(None, None) };
    let drawn = fingerprints(red.get_key("blue", &several).await?)?;
    for (sae, endpoint) in [("blue", &blue), ("green", &green)] {
        let fetched = fingerprints(endpoint.get_key_with_id("red", &ids(&drawn)).await?)?;
        show(sae, &drawn, &fetched);
        expect("the key of several slaves", &fetched, &drawn)?;
    }

    let drawn = fingerprints(red.get_key("blue", &KeyRequest::new(None, None)).await?)?;
    let other = grey.get_key_with_id("red", &ids(&drawn)).await.err().ok_or("grey was given a key of blue")?;
    expect("a key of blue for grey", other.kind(), Some(ApiErrorKind::Unauthorized))?;
    println!("a key of blue is refused to grey: {other}");

    let stranger = client(&folder, &demo, &demo["refused"]["unenrolled"], "north")?;
    let refused = stranger.status("blue").await.err().ok_or("an unknown SAE was answered")?;
    expect("an unknown SAE", refused.kind(), Some(ApiErrorKind::Unauthorized))?;
    println!("an unknown SAE is refused: {refused}");
    Ok(())
}

fn client(folder: &Path, demo: &Value, sae: &Value, kme: &str) -> Result<Endpoint, Box<dyn Error>> {
    let file = |value: &Value| text(value).map(|path| folder.join(path));
    let builder = Endpoint::builder(text(&demo["kmes"][kme]["url"])?);
    Ok(builder.root_ca_file(file(&demo["ca"])?).identity_files(file(&sae["cert"])?, file(&sae["key"])?).build()?)
}

fn text(value: &Value) -> Result<&str, Box<dyn Error>> {
    value.as_str().ok_or_else(|| "demo.json: a member is missing".into())
}

fn ids(keys: &[Fingerprint]) -> KeyIdRequest {
    KeyIdRequest::new(keys.iter().map(|(id, ..)| KeyId { key_ID: id.clone() }).collect())
}

fn fingerprints(answer: KeyResponse) -> Result<Vec<Fingerprint>, Box<dyn Error>> {
    let fingerprint = |key: etsi014::QKDKey| {
        let octets = Base64::decode_vec(&key.key).map_err(|_| "a key is not in base64")?;
        let digest = Sha256::digest(&octets);
        Ok((key.key_ID, octets.len() * 8, digest.iter().take(4).map(|octet| format!("{octet:02x}")).collect()))
    };
    answer.keys.into_iter().map(fingerprint).collect()
}

fn show(slave: &str, drawn: &[Fingerprint], fetched: &[Fingerprint]) {
    for ((id, bits, at_master), (_, _, at_slave)) in drawn.iter().zip(fetched) {
        println!("{id}  {bits} bits  red {at_master}  {slave} {at_slave}");
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Box<dyn Error>> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}").into()) }
}
