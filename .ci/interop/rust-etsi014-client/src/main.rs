//! Draws keys as red at KME north and fetches them as blue at KME south, with the published crate `etsi014-client`.
//!
//! Usage: `interop-etsi014-client FOLDER`, with the folder of `kme demo`. Prints fingerprints, never keys.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use etsi014_client::{ETSI014Client, SecretVec};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

const KEYS: u32 = 3;
const BITS: u32 = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: interop-etsi014-client FOLDER")?);
    let demo = serde_json::from_slice(&fs::read(folder.join("demo.json"))?)?;
    let red = client(&folder, &demo, "red")?;
    let blue = client(&folder, &demo, "blue")?;

    let status = red.get_status("blue").await?;
    println!(
        "status    {} ({}) to {} ({}): {} keys of {} bits ready",
        status.source_sae_id,
        status.source_kme_id,
        status.target_sae_id,
        status.target_kme_id,
        status.stored_key_count,
        status.key_size
    );
    expect("the names in Status", (&*status.source_sae_id, &*status.source_kme_id), ("red", "north"))?;
    expect("the names in Status", (&*status.target_sae_id, &*status.target_kme_id), ("blue", "south"))?;

    let drawn = fingerprints(red.get_keys(BITS, "blue", &[], KEYS).await?);
    let ids: Vec<&str> = drawn.iter().map(|(id, ..)| id.as_str()).collect();
    let fetched = fingerprints(blue.get_keys_by_ids("red", &ids).await?);
    for ((id, bits, red), (_, _, blue)) in drawn.iter().zip(&fetched) {
        println!("{id}  {bits} bits  red {red}  blue {blue}");
    }
    expect("the number of keys", drawn.len(), KEYS as usize)?;
    expect("the keys of blue", &fetched, &drawn)?;
    if drawn.iter().any(|(_, bits, _)| *bits != BITS as usize) {
        return Err("a key has another size than was asked for".into());
    }

    let again = blue.get_keys_by_ids("red", &ids).await.err().ok_or("keys were supplied a second time")?;
    if !again.to_string().contains("one or more keys specified are not found on KME") {
        return Err(format!("a second time was refused with other words: {}", again.msg).into());
    }
    println!("a second time is refused, in the words of the standard");
    Ok(())
}

fn client(folder: &Path, demo: &Value, sae: &str) -> Result<ETSI014Client, Box<dyn Error>> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(format!("demo.json: no such member for {sae}"));
    let file = |value: &Value| text(value).map(|path| folder.join(path));
    let about = &demo["saes"][sae];
    let url = Url::parse(&text(&demo["kmes"][text(&about["kme"])?]["url"])?)?;
    let host = url.host_str().ok_or("a URL without a host")?;
    let port = url.port_or_known_default().ok_or("a URL without a port")?;
    Ok(ETSI014Client::new(host, port, &file(&about["cert"])?, &file(&about["key"])?, &file(&demo["ca"])?)?)
}

/// Of each key its ID, its size in bits, and the first 8 hex digits of its SHA-256.
fn fingerprints(keys: Vec<(String, SecretVec<u8>)>) -> Vec<(String, usize, String)> {
    let fingerprint = |(id, key): (String, SecretVec<u8>)| {
        let key = key.borrow();
        (id, key.len() * 8, Sha256::digest(&*key).iter().take(4).map(|octet| format!("{octet:02x}")).collect())
    };
    keys.into_iter().map(fingerprint).collect()
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Box<dyn Error>> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, not {expected:?}").into()) }
}
