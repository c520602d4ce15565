//! From options, demonstration and environment to the settings of a client.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use etsi014::BaseUrl;
use transport::identity::IdentitySource;
use transport::tls::{Credentials, Pem, Trust};

use super::arguments::{ConnectionArgs, IdField};
use super::failure::Failure;
use crate::Settings;
use crate::demo::{Access, Demo};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT_S: f64 = 86_400.0;

impl ConnectionArgs {
    /// Puts the settings together; `environment` looks up a variable.
    pub(super) fn settings(self, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Settings, Failure> {
        let path = |name| environment(name).map(PathBuf::from);
        let text = |name| environment(name).map(|value| as_text(name, value)).transpose();

        let access = match (self.demo.or_else(|| path("SAE_DEMO")), self.own) {
            (None, Some(_)) => return Err(usage("--as says who to be in a demonstration: name that with --demo DIR")),
            (None, None) => None,
            (Some(demo), own) => {
                let own = match own {
                    Some(own) => Some(own),
                    None => text("SAE_AS")?,
                };
                let own = own.ok_or_else(|| usage("a demonstration has several SAEs: say with --as SAE which one to be"))?;
                let found = Demo::load(&demo).and_then(|demo| demo.access(&own));
                Some(found.map_err(|error| Failure::Usage(error.to_string()))?)
            }
        };
        let (kme, kme_id, ca, cert, key) = match access {
            Some(Access { kme, kme_id, ca, cert, key }) => (Some(kme), Some(kme_id), Some(ca), Some(cert), Some(key)),
            None => (text("SAE_KME")?, text("SAE_KME_ID")?, path("SAE_CA"), path("SAE_CERT"), path("SAE_KEY")),
        };
        let timeout = match self.timeout {
            Some(timeout) => Some(timeout),
            None => text("SAE_TIMEOUT")?,
        };

        let kme = required(self.kme.or(kme), "--kme URL")?;
        let credentials = Credentials {
            certificate: Pem::file(required(self.cert.or(cert), "--cert FILE")?),
            key: Pem::file(required(self.key.or(key), "--key FILE")?),
        };
        Ok(Settings {
            kme: BaseUrl::parse(&kme).map_err(|error| Failure::Usage(format!("{kme:?}: {error}")))?,
            credentials,
            trust: Trust::roots(Pem::file(required(self.ca.or(ca), "--ca FILE")?)),
            kme_id: self.kme_id.or(kme_id).map(|id| (self.kme_id_from.source(), id)),
            timeout: timeout.map_or(Ok(DEFAULT_TIMEOUT), |text| seconds(&text))?,
        })
    }
}

impl IdField {
    fn source(self) -> IdentitySource {
        match self {
            Self::Uri => IdentitySource::kme_uri(),
            Self::Dns => IdentitySource::SanDns,
            Self::Cn => IdentitySource::CommonName,
        }
    }
}

fn as_text(name: &str, value: OsString) -> Result<String, Failure> {
    value.into_string().map_err(|_| Failure::Usage(format!("{name} in the environment is not UTF-8")))
}

fn required<T>(value: Option<T>, option: &str) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::Usage(format!("{option} is missing; or use --demo DIR --as SAE. See sae --help")))
}

fn seconds(text: &str) -> Result<Duration, Failure> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=MAX_TIMEOUT_S).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| usage("the timeout is a number of seconds, at most a day"))
}

fn usage(text: &str) -> Failure {
    Failure::Usage(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> ConnectionArgs {
        ConnectionArgs {
            kme: Some("https://a.example".into()),
            ca: Some("a-ca".into()),
            cert: Some("a-cert".into()),
            key: Some("a-key".into()),
            ..ConnectionArgs::default()
        }
    }

    fn environment(name: &str) -> Option<OsString> {
        let value = match name {
            "SAE_KME" => "https://b.example",
            "SAE_KME_ID" => "north",
            "SAE_CA" => "b-ca",
            "SAE_CERT" => "b-cert",
            "SAE_KEY" => "b-key",
            "SAE_TIMEOUT" => "1.5",
            _ => return None,
        };
        Some(value.into())
    }

    #[test]
    fn options_go_before_the_environment() {
        let settings = full().settings(&environment).expect("complete");
        assert_eq!(settings.kme.to_string(), "https://a.example");
        assert_eq!(settings.credentials.certificate.name(), "a-cert");
        assert_eq!(settings.timeout, Duration::from_millis(1500));
        let settings = ConnectionArgs::default().settings(&environment).expect("complete");
        assert_eq!(settings.kme.to_string(), "https://b.example");
        assert_eq!(settings.credentials.key.name(), "b-key");
        assert_eq!(settings.kme_id, Some((IdentitySource::kme_uri(), "north".to_owned())));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let none = |_: &str| None;
        let told = |arguments: ConnectionArgs| match arguments.settings(&none) {
            Err(failure @ Failure::Usage(_)) => failure.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(told(ConnectionArgs::default()).contains("--kme"));
        assert!(told(ConnectionArgs { ca: None, ..full() }).contains("--ca"));
        assert!(told(ConnectionArgs { cert: None, ..full() }).contains("--cert"));
        assert!(told(ConnectionArgs { key: None, ..full() }).contains("--key"));
        assert!(told(ConnectionArgs { own: Some("red".into()), ..full() }).contains("--demo"));
        assert!(told(ConnectionArgs { kme: Some("http://a.example".into()), ..full() }).contains("https"));
        for timeout in ["0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(told(ConnectionArgs { timeout: Some(timeout.into()), ..full() }).contains("timeout"), "{timeout}");
        }
        assert_eq!(full().settings(&none).expect("complete").timeout, DEFAULT_TIMEOUT);
    }
}
