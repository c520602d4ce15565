//! An SAE for `qkdspec run sae --exec`, on the published crate `etsi014-client`: does what QKDSPEC_SCENARIO says.
//!
//! Thin on purpose: what the library lets through is not caught here.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use etsi014_client::{ETSI014Client, SecretVec};
use sha2::{Digest, Sha256};
use url::Url;

/// The library always says both.
const BITS: u32 = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(89),
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the scenario is supported.
async fn run() -> Result<bool, Box<dyn Error>> {
    let url = Url::parse(&told("KME"))?;
    let (host, port) = (url.host_str().ok_or("no host")?, url.port_or_known_default().ok_or("no port")?);
    let file = |name: &str| PathBuf::from(told(name));
    let client = ETSI014Client::new(host, port, &file("CERT"), &file("KEY"), &file("CA"))?;
    let peer = told("PEER");
    let number = told("NUMBER").parse().unwrap_or(1);
    let size = told("SIZE").parse().unwrap_or(BITS);
    match told("SCENARIO").as_str() {
        "get-key" => show(client.get_keys(size, &peer, &[], number).await?),
        "get-key-with-ids" => {
            let ids = told("KEY_IDS");
            show(client.get_keys_by_ids(&peer, &ids.split(' ').collect::<Vec<_>>()).await?);
        }
        "status" => drop(client.get_status(&peer).await?),
        "two-sessions" => {
            show(client.get_keys(size, &peer, &[], number).await?);
            show(client.get_keys(size, &peer, &[], number).await?);
        }
        "keep-trying" => {
            let mut tries = 1;
            loop {
                match client.get_keys(size, &peer, &[], number).await {
                    Ok(keys) => break show(keys),
                    Err(error) if tries < 10 => eprintln!("try {tries}: {error}"),
                    Err(error) => return Err(error.into()),
                }
                tries += 1;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn told(name: &str) -> String {
    std::env::var(format!("QKDSPEC_{name}")).unwrap_or_default()
}

fn show(keys: Vec<(String, SecretVec<u8>)>) {
    for (id, key) in keys {
        println!("{id} {}", fingerprint(told("FP_SALT").as_bytes(), &key.borrow()));
    }
}

/// HMAC-SHA-256 under a salt of less than 64 octets, in hexadecimal digits.
fn fingerprint(salt: &[u8], octets: &[u8]) -> String {
    let mut pad = [0; 64];
    pad[..salt.len()].copy_from_slice(salt);
    let inner = Sha256::new().chain_update(pad.map(|octet| octet ^ 0x36)).chain_update(octets).finalize();
    let outer = Sha256::new().chain_update(pad.map(|octet| octet ^ 0x5c)).chain_update(inner).finalize();
    outer.iter().map(|octet| format!("{octet:02x}")).collect()
}
