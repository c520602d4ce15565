//! What the command line can say.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use etsi014::{Decoding, Form, KeyId, KeyIds, KeyRequest, KeySize, Object, SaeId};

use super::failure::Failure;
use super::print::Show;

/// A client of the ETSI GS QKD 014 key delivery API: an SAE on the command line.
#[derive(Parser, Debug)]
#[command(name = "sae", version, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    /// Prints one line of JSON: the result to standard output, an error to standard error.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Holds the answer to the letter of the standard, where otherwise harmless deviations are accepted.
    #[arg(long, global = true)]
    strict: bool,
    /// Tells on standard error what was connected to.
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
    #[command(subcommand)]
    pub(super) command: CommandArgs,
}

const EXAMPLES: &str = "\
Examples:
  sae --kme https://kme.example:8443 --kme-id north --ca ca.pem --cert red.pem --key red.key status blue
  sae --demo qkms-demo --as red enc blue --number 2
  sae --demo qkms-demo --as blue dec red 0957365e-4b8d-4f95-8a8f-de3d60199dbb
  export SAE_DEMO=qkms-demo
  sae --as red enc blue --json | jq -r '.keys[].key_ID' | xargs sae --as blue dec red

Where a setting comes from: from its option, otherwise from the demonstration, otherwise from the environment.

Exit codes:
  0  done
  1  refused by the KME
  2  wrong usage: arguments, or a file that they name
  3  no answer: connection, TLS or KME ID failed
  4  the answer does not conform to the standard, or is not one to what was asked
  5  the result could not be written out; keys in it are lost";

impl Cli {
    pub(super) fn decoding(&self) -> Decoding {
        if self.strict { Decoding::Strict } else { Decoding::Lenient }
    }
}

/// Which KME, and as whom.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Where the KME serves the API, such as https://kme.example:8443 [env: SAE_KME]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) kme: Option<String>,
    /// Certificates of the authorities that vouch for the KME, PEM [env: SAE_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate of this SAE, PEM [env: SAE_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// The private key of the certificate, PEM [env: SAE_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// The KME ID that the KME's certificate must carry; without it only the host name is compared [env: SAE_KME_ID]
    #[arg(long, global = true, value_name = "ID")]
    pub(super) kme_id: Option<String>,
    /// Where the KME's certificate carries its ID
    #[arg(long, global = true, value_name = "FIELD", default_value = "uri")]
    pub(super) kme_id_from: IdField,
    /// Seconds until the answer must be there [env: SAE_TIMEOUT] [default: 30]
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(super) timeout: Option<String>,
    /// The folder of a demonstration, or its demo.json: fills in URL, KME ID and files [env: SAE_DEMO]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) demo: Option<PathBuf>,
    /// Which SAE of the demonstration to be [env: SAE_AS]
    #[arg(long = "as", global = true, value_name = "SAE")]
    pub(super) own: Option<String>,
}

/// The field of a certificate with the KME ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum IdField {
    /// The URI urn:qkd:kme:ID in the subject alternative name
    #[default]
    Uri,
    /// The DNS name in the subject alternative name
    Dns,
    /// The common name of the subject
    Cn,
}

#[derive(Subcommand, Debug)]
pub(super) enum CommandArgs {
    /// Get status: what can be asked for, to share with an SAE.
    #[command(after_help = "Example:\n  sae --demo qkms-demo --as red status blue")]
    Status {
        /// The SAE that would share the keys.
        slave: SaeId,
    },
    /// Get key: draws new keys, to share with an SAE.
    Enc(EncArgs),
    /// Get key with key IDs: fetches the keys that another SAE drew for this one.
    Dec(DecArgs),
}

#[derive(Args, Debug)]
#[command(after_help = ENC_HELP)]
pub(super) struct EncArgs {
    /// The SAE that shares the keys.
    slave: SaeId,
    /// How many keys; one if absent.
    #[arg(long, short, value_name = "N")]
    number: Option<NonZeroU32>,
    /// The size of each key in bits; the KME's usual size if absent.
    #[arg(long, short, value_name = "BITS", value_parser = key_size)]
    size: Option<KeySize>,
    /// Another SAE that shares the keys; can be repeated.
    #[arg(long, value_name = "SAE")]
    also: Vec<SaeId>,
    /// Parameters that the KME must honour: a JSON object, or an array of them; can be repeated.
    #[arg(long, value_name = "JSON", value_parser = extensions)]
    mandatory: Vec<Extensions>,
    /// Parameters that the KME may ignore: a JSON object, or an array of them; can be repeated.
    #[arg(long, value_name = "JSON", value_parser = extensions)]
    optional: Vec<Extensions>,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    show: ShowArgs,
}

const ENC_HELP: &str = r#"Examples:
  sae --demo qkms-demo --as red enc blue --number 2 --size 512
  sae --demo qkms-demo --as red enc blue --also green --json
  sae --demo qkms-demo --as red enc blue --mandatory '{"vendor_route":"direct"}'"#;

#[derive(Args, Debug)]
#[command(after_help = DEC_HELP)]
pub(super) struct DecArgs {
    /// The SAE that drew the keys.
    master: SaeId,
    /// The IDs of the keys, as their master tells them.
    #[arg(required = true, value_name = "KEY_ID")]
    key_ids: Vec<KeyId>,
    #[command(flatten)]
    form: FormArgs,
    #[command(flatten)]
    show: ShowArgs,
}

const DEC_HELP: &str = "\
Each key can be fetched once.

Example:
  sae --demo qkms-demo --as blue dec red 0957365e-4b8d-4f95-8a8f-de3d60199dbb";

#[derive(Args, Debug)]
struct FormArgs {
    /// Calls with GET where the standard allows it, otherwise with POST.
    #[arg(long, conflicts_with = "post")]
    get: bool,
    /// Calls with POST (the default).
    #[arg(long)]
    post: bool,
}

#[derive(Args, Debug)]
struct ShowArgs {
    /// Prints the keys themselves, in base64. Without it only a fingerprint: 8 hexadecimal digits of HMAC-SHA-256, a function of
    /// the key that tells 32 bits about it.
    #[arg(long)]
    show_key: bool,
}

/// A command without contradictions.
#[derive(Debug)]
pub(super) enum Command {
    Status { slave: SaeId },
    Enc { slave: SaeId, request: KeyRequest, form: Form, show: Show },
    Dec { master: SaeId, key_ids: KeyIds, form: Form, show: Show },
}

impl CommandArgs {
    pub(super) fn check(self) -> Result<Command, Failure> {
        Ok(match self {
            Self::Status { slave } => Command::Status { slave },
            Self::Enc(EncArgs { slave, number, size, also, mandatory, optional, form, show }) => {
                let flat = |given: Vec<Extensions>| given.into_iter().flat_map(|Extensions(objects)| objects).collect();
                let request = KeyRequest {
                    number,
                    size,
                    additional_slaves: also,
                    extension_mandatory: flat(mandatory),
                    extension_optional: flat(optional),
                };
                Command::Enc { slave, request, form: form.form(), show: show.show() }
            }
            Self::Dec(DecArgs { master, key_ids, form, show }) => {
                let mut seen = HashSet::new();
                if let Some(twice) = key_ids.iter().find(|id| !seen.insert(**id)) {
                    return Err(Failure::Usage(format!("the key ID {twice} is given twice")));
                }
                Command::Dec { master, key_ids: key_ids.into_iter().collect(), form: form.form(), show: show.show() }
            }
        })
    }
}

impl Command {
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Status { .. } => Form::default(),
            Self::Enc { form, .. } | Self::Dec { form, .. } => *form,
        }
    }
}

impl FormArgs {
    fn form(&self) -> Form {
        if self.get { Form::GetWhereAllowed } else { Form::Post }
    }
}

impl ShowArgs {
    fn show(&self) -> Show {
        if self.show_key { Show::Key } else { Show::FingerprintOnly }
    }
}

#[derive(Clone, Debug)]
struct Extensions(Vec<Object>);

fn extensions(text: &str) -> Result<Extensions, String> {
    let list = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
    } else {
        serde_json::from_str(text).map(|object| vec![object])
    };
    list.map(Extensions).map_err(|error| format!("a JSON object, or an array of objects, is wanted: {error}"))
}

fn key_size(text: &str) -> Result<KeySize, String> {
    text.parse().ok().and_then(KeySize::from_bits).ok_or_else(|| "a positive number of bits is wanted".to_owned())
}
