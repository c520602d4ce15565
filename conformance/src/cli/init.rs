//! Writes a first configuration.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::INTRUDERS;
use crate::pki;
use crate::run::RunError;

/// Where things are.
#[derive(Args, Debug)]
pub(super) struct Init {
    /// Base URL of the master's KME
    #[arg(long, default_value = "https://kme-a.example:8443")]
    kme: String,
    /// Base URL of the slaves' KME
    #[arg(long, default_value = "https://kme-b.example:8443")]
    kme_b: String,
    /// There is one KME, for master and slaves: whether two work together is not tested
    #[arg(long, conflicts_with = "kme_b")]
    one_kme: bool,
    /// Folder with ca.pem, and certificate and key of red, blue, green and grey (red.pem, red.key, …)
    #[arg(long, default_value = "pki")]
    sae_dir: PathBuf,
    /// Make throw-away certificates in that folder: authority, SAEs, KMEs, and those that ought to be refused
    #[arg(long)]
    pki: bool,
    /// The file to write
    #[arg(long, default_value = "qkdspec.toml")]
    out: PathBuf,
    /// Write over what is there
    #[arg(long)]
    force: bool,
}

impl Init {
    pub(super) fn perform(&self, out: &mut dyn Write) -> Result<(), RunError> {
        if self.out.exists() && !self.force {
            return Err(RunError::Usage(format!("{} is there already; --force writes over it", self.out.display())));
        }
        for url in [&self.kme, &self.kme_b] {
            crate::wire::BaseUrl::of_kme(url).map_err(RunError::Usage)?;
        }
        // Paths in the file are relative to the file.
        let beside = self.out.parent().unwrap_or(Path::new(""));
        let folder = beside.join(&self.sae_dir);
        if self.pki {
            let is_there = |name: &str| folder.join(name).exists();
            if is_there("ca.pem") && !is_there("ca.key") {
                return Err(RunError::Usage(pki::keyless(&folder)));
            }
            if (is_there("ca.pem") || is_there("ca.key")) && !self.force {
                return Err(RunError::Usage(format!(
                    "{} holds certificates already; --force writes over them",
                    folder.display()
                )));
            }
            let kmes: &[&str] = if self.one_kme { &["kme-a"] } else { &["kme-a", "kme-b"] };
            pki::write(&folder, kmes).map_err(RunError::Usage)?;
            writeln!(out, "{}: certificates made; not for anything real. A key is beside each (.key)", folder.display())?;
            let servers: Vec<_> = kmes.iter().map(|kme| format!("{kme}.pem")).collect();
            for (files, what) in [
                (servers.join(", ").as_str(), "the KMEs' own: each for its name, localhost and 127.0.0.1"),
                ("ca.pem", "the authority whose client certificates the KMEs are to trust"),
                ("crl.pem", "for KMEs that check a revocation list; then claim \"tls.revocation\""),
                ("red, blue, green, grey", "SAEs, to be enrolled at their KMEs under these IDs"),
                ("unenrolled", "an SAE that is not to be enrolled; the others of [intruder] need nothing"),
            ] {
                writeln!(out, "  {files:<24}{what}")?;
            }
        }
        let text = self.text(&folder);
        fs::write(&self.out, text).map_err(|error| RunError::Usage(format!("{}: {error}", self.out.display())))?;
        writeln!(out, "{} written. Next: check it, then `qkdspec preflight --config {0}`", self.out.display())?;
        Ok(())
    }

    fn text(&self, folder: &Path) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let file = |name: &str| quoted(&self.sae_dir.join(name).to_string_lossy());
        let mut text = format!(
            "# What qkdspec tests, and with what. Paths are relative to this file.\nschema = 1\nedition = {{ etsi014 = \"1.1.1\" }}\n\
             # Permits --mode destructive (drain, restart, cut):\n# allow_destructive = true\n\n\
             # The KME at which the master draws keys.\n[kme.a]\nbase_url = {a}\nca = {ca}\n\
             # kme_id = \"kme-a\"\n# Certificate field with the KME ID: \"san-dns\", \"cn\" or \"san-uri:PREFIX\".\n# kme_id_field = \"san-dns\"\n\n\
             # The KME at which the slaves fetch them. Without it, whether two KMEs work together is not tested,\n\
             # and all SAEs are at a.\n\
             {off}[kme.b]\n{off}base_url = {b}\n{off}ca = {ca}\n\n# Enrolled SAEs: ID, KME, certificate and key.\n[sae]\n",
            a = quoted(&self.kme),
            b = quoted(&self.kme_b),
            ca = file("ca.pem"),
            off = if self.one_kme { "# " } else { "" },
        );
        let b = if self.one_kme { "a" } else { "b" };
        for (name, kme) in [("red", "a"), ("blue", b), ("green", b), ("grey", b)] {
            let (cert, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
            text.push_str(&format!("{name} = {{ id = \"{name}\", kme = \"{kme}\", cert = {cert}, key = {key} }}\n"));
        }
        text.push_str("\n# Certificates that ought to be refused; the key is beside them (.key).\n[intruder]\n");
        for name in INTRUDERS {
            let absent = if folder.join(format!("{name}.pem")).exists() { "" } else { "# " };
            text.push_str(&format!("{absent}{name} = {}\n", file(&format!("{name}.pem"))));
        }
        text.push_str(
            "\n[roles]\nmaster = \"red\"\nslave = \"blue\"\nadditional = [\"green\"]\n# Enrolled, and never given access to a key:\nstranger = \"grey\"\n\n\
             [limits]\n# Keys that may be delivered, at most.\nbudget_keys = 500\n# A full request is taken to be no more keys than:\nmax_batch = 16\n\
             # After so long, keys drawn at A have to be at B.\nsettle_ms = 2000\nconnect_s = 5\nresponse_s = 10\nbody_timeout_s = 30\n# A KME that does not answer any more is waited for so long.\n# return_s = 30\n# A command of [hooks] is ended after so long.\n# hook_s = 60\n# rate_per_s = 20\n\n\
             # Shell commands; without them, the cases that need them are skipped.\n[hooks]\n# drain_a = \"…\"\n# refill_a = \"…\"\n# restart_a = \"…\"\n\
             # link_down = \"…\"\n# link_up = \"…\"\n\n\
             # Claims. What is not claimed is not tested, or its opposite is.\n[ics]\n\
             # multicast = { claimed = true, max = 2 }   # absent: as Status says\n# \"size.any-bit\" = false\n\
             # \"ext.mandatory\" = [{ name = \"hx_path\", ok = \"direct\", impossible = \"by-moon\" }]\n\
             # The KME refuses what a revocation list names, as crl.pem of --pki does [intruder] revoked:\n# \"tls.revocation\" = true\n\
             \"kme.local-pair\" = false\n# \"sae.any-id\" = true\n# \"key.lifetime\" = true\n\n[product]\n# vendor = \"…\"\n# name = \"…\"\n# version = \"…\"\n",
        );
        if self.one_kme {
            text = text.replace("\"kme.local-pair\" = false", "\"kme.local-pair\" = true");
        }
        text
    }
}
