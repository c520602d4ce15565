//! An SAE for `qkdspec run sae --exec`, on the published crate `etsi014`: does what QKDSPEC_SCENARIO says.
//!
//! Thin on purpose: what the library lets through is not caught here.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use etsi014::{Endpoint, KeyId, KeyIdRequest, KeyRequest, KeyResponse};
use sha2::{Digest, Sha256};

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
    let builder = Endpoint::builder(told("KME")).root_ca_file(told("CA"));
    let endpoint = builder.identity_files(told("CERT"), told("KEY")).build()?;
    let peer = told("PEER");
    let request = KeyRequest::new(told("NUMBER").parse().ok(), told("SIZE").parse().ok());
    match told("SCENARIO").as_str() {
        "get-key" => show(endpoint.get_key(&peer, &request).await?)?,
        "get-key-with-ids" => {
            let ids = told("KEY_IDS").split(' ').map(|id| KeyId { key_ID: id.to_owned() }).collect();
            show(endpoint.get_key_with_id(&peer, &KeyIdRequest::new(ids)).await?)?;
        }
        "status" => drop(endpoint.status(&peer).await?),
        "two-sessions" => {
            show(endpoint.get_key(&peer, &request).await?)?;
            show(endpoint.get_key(&peer, &request).await?)?;
        }
        "keep-trying" => {
            let mut tries = 1;
            loop {
                match endpoint.get_key(&peer, &request).await {
                    Ok(keys) => break show(keys)?,
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

fn show(answer: KeyResponse) -> Result<(), Box<dyn Error>> {
    for key in answer.keys {
        let octets = Base64::decode_vec(&key.key).map_err(|_| "a key is not in base64")?;
        println!("{} {}", key.key_ID, fingerprint(told("FP_SALT").as_bytes(), &octets));
    }
    Ok(())
}

/// HMAC-SHA-256 under a salt of less than 64 octets, in hexadecimal digits.
fn fingerprint(salt: &[u8], octets: &[u8]) -> String {
    let mut pad = [0; 64];
    pad[..salt.len()].copy_from_slice(salt);
    let inner = Sha256::new().chain_update(pad.map(|octet| octet ^ 0x36)).chain_update(octets).finalize();
    let outer = Sha256::new().chain_update(pad.map(|octet| octet ^ 0x5c)).chain_update(inner).finalize();
    outer.iter().map(|octet| format!("{octet:02x}")).collect()
}
