//! Claims: a pro forma, their check, and a draft from what the KMEs show.

use std::io::Write;

use clap::Subcommand;
use clap::builder::BoolishValueParser;

use super::options::Inputs;
use crate::case::{Need, When};
use crate::catalogue::{all, need_text};
use crate::config::Config;
use crate::lab::{Mode, Request, printable};
use crate::run::{Options, RunError, Runner};

#[derive(Debug, Subcommand)]
pub(super) enum Ics {
    /// Print a pro forma: every claim with its question
    #[command(after_help = "Example:\n  qkdspec ics new > ics.toml\n  qkdspec run kme --ics ics.toml")]
    New,
    /// Look for contradictions, and say which cases each claim switches on and off; exit code 2 if there are any
    #[command(
        after_help = "Examples:\n  qkdspec ics check                  the claims in qkdspec.toml\n  qkdspec ics check --ics ics.toml   those of a file of their own"
    )]
    Check {
        #[command(flatten)]
        inputs: Inputs,
    },
    /// Draft claims from Status and ALPN; costs no key. A draft stays marked as derived until the vendor removes the mark
    #[command(after_help = "Example:\n  qkdspec ics derive --config lab/qkdspec.toml > ics.toml")]
    Derive {
        #[command(flatten)]
        inputs: Inputs,
        /// Permit plain HTTP
        #[arg(long, env = "QKDSPEC_INSECURE_LAB", value_parser = BoolishValueParser::new())]
        insecure_lab: bool,
    },
}

impl Ics {
    pub(super) fn perform(&self, out: &mut dyn Write) -> Result<u8, RunError> {
        match self {
            Self::New => {
                write!(out, "{NEW}")?;
                Ok(0)
            }
            Self::Check { inputs } => check(&inputs.config()?, out),
            Self::Derive { inputs, insecure_lab } => derive(inputs.config()?, *insecure_lab, out),
        }
    }
}

const NEW: &str = r#"# Implementation conformance statement for ETSI GS QKD 014 V1.1.1: what the KME can do that the standard leaves open.
# For `qkdspec run kme --ics FILE`; the same sections can stand in qkdspec.toml.
schema = 1

[product]
# vendor = ""
# name = ""
# version = ""
# build = ""

[ics]
# Annex B: does Get key take `additional_slave_SAE_IDs`, and how many at most? Absent: as max_SAE_ID_count in Status says.
# Not claimed: a list must be refused.
# multicast = { claimed = true, max = 2 }

# 6.2: are sizes that are no multiple of 8 bits delivered? false: they must be refused with the mandated sentence.
# Absent: either.
# "size.any-bit" = false

# 6.2: mandatory extensions that are supported, each with a value that can be met and, if there is one, a value that cannot.
"ext.mandatory" = []
# "ext.mandatory" = [{ name = "hx_path", ok = "direct", impossible = "by-moon" }]

# 5.1: are revoked certificates refused? false: revocation is not tested, and the report says so.
"tls.revocation" = false

# 4: can both SAEs of a key be at the same KME?
"kme.local-pair" = false

# 5.2: may SAE IDs have characters that a path must encode? Then configure an SAE with such an ID.
"sae.any-id" = false

# 6.4: do keys expire that nobody fetches? Needs the hook clock_forward.
"key.lifetime" = false
"#;

/// Claims and the expressions over them, for the table.
const CLAIMS: [(&str, When); 8] = [
    ("multicast claimed", When::Multicast),
    ("multicast not claimed", When::NoMulticast),
    ("ext.mandatory", When::MandatoryExtension),
    ("ext.mandatory, impossible value", When::UnmeetableExtension),
    ("tls.revocation", When::Revocation),
    ("kme.local-pair", When::LocalPair),
    ("sae.any-id", When::AnyId),
    ("key.lifetime", When::Lifetime),
];

/// Contradictions are errors of the configuration, found when it was read.
fn check(config: &Config, out: &mut dyn Write) -> Result<u8, RunError> {
    let claims = &config.ics;
    if claims.derived {
        writeln!(out, "derived: drafted by qkdspec, not stated by the vendor")?;
    }
    for (name, when) in CLAIMS {
        let cases: Vec<_> = all().iter().filter(|case| case.when == when).collect();
        let ids: Vec<_> = cases.iter().map(|case| case.id.trim_start_matches("014-")).collect();
        let unknown = claims.multicast.is_none() && matches!(when, When::Multicast | When::NoMulticast);
        let state = match (unknown, when.holds(claims, false)) {
            (true, _) => "as Status says",
            (false, true) => "on",
            (false, false) => "off",
        };
        writeln!(out, "{name:<32} {state:<15} {}", ids.join(" "))?;
        if state == "on" {
            for need in cases.iter().flat_map(|case| case.needs).filter(|need| !has(config, **need)) {
                writeln!(out, "{:<32} but missing in the configuration: {}", "", need_text(*need))?;
            }
        }
    }
    let any_bit = match claims.any_bit {
        Some(true) => "delivered",
        Some(false) => "to be refused",
        None => "either",
    };
    writeln!(out, "{:<32} {any_bit:<15} ENC-018", "size.any-bit")?;
    writeln!(out, "\nno contradictions; with what Status says, a run compares them")?;
    Ok(0)
}

/// As far as the configuration tells.
fn has(config: &Config, need: Need) -> bool {
    match need {
        Need::Hook(name) => config.hooks.contains_key(name),
        Need::Intruder(name) => config.intruder.contains_key(name),
        Need::Additional => !config.roles.additional.is_empty(),
        Need::LocalPair => {
            let sides: Vec<_> = config.sae.values().map(|sae| sae.kme).collect();
            sides.iter().enumerate().any(|(at, side)| sides[at + 1..].contains(side))
        }
        _ => true,
    }
}

fn derive(config: Config, insecure_lab: bool, out: &mut dyn Write) -> Result<u8, RunError> {
    let options = Options { mode: Mode::Safe, insecure_lab, ..Options::default() };
    let mut runner = Runner::new(config, &options)?;
    runner.preflight();
    if let Some(why) = runner.trouble() {
        eprintln!("qkdspec: nothing can be derived: {why}");
        return Ok(3);
    }
    let limits = runner.limits();
    let mut text =
        "# Drafted by qkdspec from what the KMEs show: no statement of the vendor. Look it over, then remove `derived`.\n"
            .to_owned();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for kme in runner.kmes() {
        line(format!("# {} {}: {}", kme.name, kme.base_url, kme.tls.unwrap_or_else(|| "no TLS".to_owned())));
    }
    let alpn = runner.met(0).and_then(|answer| answer.tls.as_ref()).map(|tls| printable(&tls.alpn));
    line(format!("# ALPN: {}", alpn.filter(|name| !name.is_empty()).unwrap_or_else(|| "none".to_owned())));
    line("schema = 1\n\n[product]\n\n[ics]\nderived = true".to_owned());
    match limits.max_additional {
        Some(0) => line("# max_SAE_ID_count is 0.\nmulticast = { claimed = false }".to_owned()),
        Some(max) => line(format!("# max_SAE_ID_count is {max}.\nmulticast = {{ claimed = true, max = {max} }}")),
        None => line("# Status does not tell max_SAE_ID_count.\n# multicast = { claimed = false }".to_owned()),
    }
    match limits.key_size {
        Some(size) if size % 8 != 0 => line(format!("# key_size is {size}.\n\"size.any-bit\" = true")),
        _ => line("# Not to be seen without drawing keys.\n# \"size.any-bit\" = false".to_owned()),
    }
    line(
        "# Not to be seen from outside.\n\"ext.mandatory\" = []\n\"tls.revocation\" = false\n\"key.lifetime\" = false".to_owned(),
    );
    match local_pair(&runner) {
        Some((local, seen)) => line(format!("# {seen}\n\"kme.local-pair\" = {local}")),
        None => line("# No two SAEs are configured at one KME.\n\"kme.local-pair\" = false".to_owned()),
    }
    line("# Not to be seen unless such an SAE is configured.\n\"sae.any-id\" = false".to_owned());
    write!(out, "{text}")?;
    Ok(0)
}

/// Whether Status is given between two SAEs at one KME.
fn local_pair(runner: &Runner<'_>) -> Option<(bool, String)> {
    let saes: Vec<_> = runner.lab.saes().collect();
    let mut pairs = saes.iter().enumerate().flat_map(|(at, first)| saes[at + 1..].iter().map(move |second| (*first, *second)));
    let (first, second) = pairs.find(|(first, second)| first.side == second.side)?;
    let answer = runner.lab.exchange(first, Request::status(&second.id)).ok()?;
    let code = answer.status().map_or("no answer".to_owned(), |code| code.to_string());
    Some((answer.is(200), format!("Status for {} and {} at KME {}: {code}", first.name, second.name, first.side.letter())))
}
