//! `kme pki`: certificates for tests.

use std::fs;
use std::path::Path;

use transport::pki::{Authority, Leaf, Profile, write_pki};

use super::{Done, PkiArguments, print};

pub(super) fn pki(arguments: &PkiArguments) -> Done {
    let made = certificates(arguments);
    let (certificate, key) = (arguments.dir.join("ca.pem"), arguments.dir.join("ca.key"));
    for Made { stem, .. } in &made {
        for file in [format!("{stem}.pem"), format!("{stem}.key")] {
            let path = arguments.dir.join(file);
            if path.exists() {
                return Err(format!("{}: is there already; remove it, or choose another ID or folder", path.display()).into());
            }
        }
    }
    let new = !key.exists();
    if new {
        let profiles: Vec<Profile> = made.iter().map(Made::profile).collect();
        write_pki(&arguments.dir, &arguments.ca, &profiles)?;
    } else if !arguments.revoked.is_empty() {
        // The revocation list would have to be made anew, with all that is on it.
        return Err(format!("{}: has an authority; --revoked needs a new folder", arguments.dir.display()).into());
    } else {
        add(&Authority::load(&certificate, &key)?, &arguments.dir, &made)?;
    }
    let stems = made.iter().map(|made| format!("  {}.pem {}.key\n", made.stem, made.stem)).collect::<String>();
    let authority = if new { "  ca.pem ca.key crl.pem\n" } else { "" };
    print(&format!("{}:\n{authority}{stems}", arguments.dir.display()))
}

/// A certificate to be made.
struct Made {
    stem: String,
    leaf: Leaf,
    revoked: bool,
}

impl Made {
    fn profile(&self) -> Profile {
        let profile = Profile::new(&self.stem, self.leaf.clone());
        if self.revoked { profile.revoked() } else { profile }
    }
}

fn certificates(arguments: &PkiArguments) -> Vec<Made> {
    let good = |id: &String, leaf| Made { stem: id.clone(), leaf, revoked: false };
    let bad = |id: &String, fault: &str, leaf| Made { stem: format!("{id}-{fault}"), ..good(id, leaf) };
    let kme = |id: &String| {
        arguments.host.iter().fold(Leaf::kme(id), |leaf, host| match host.parse() {
            Ok(address) => leaf.address(address),
            Err(_) => leaf.host(host),
        })
    };
    let mut made: Vec<Made> = arguments.kme.iter().map(|id| good(id, kme(id))).collect();
    made.extend(arguments.sae.iter().chain(&arguments.unenrolled).map(|id| good(id, Leaf::sae(id))));
    made.extend(arguments.expired.iter().map(|id| bad(id, "expired", Leaf::sae(id).expired())));
    made.extend(arguments.revoked.iter().map(|id| Made { revoked: true, ..bad(id, "revoked", Leaf::sae(id)) }));
    made
}

fn add(authority: &Authority, dir: &Path, made: &[Made]) -> Done {
    fs::create_dir_all(dir)?;
    for Made { stem, leaf, .. } in made {
        let plain = stem.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet));
        if stem.is_empty() || stem.starts_with('.') || !plain {
            return Err(format!("{stem:?} cannot be a file name here").into());
        }
        authority.issue(leaf)?.save(dir, stem)?;
    }
    Ok(())
}
