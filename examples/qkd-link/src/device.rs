//! One end of the link as an ETSI GS QKD 014 server: the QKD device that its KME asks for keys.
//!
//! The KME is the only client, and stands in the place of the SAE: it names itself and the KME at the other end by their KME
//! IDs. `enc_keys` with the other KME as slave draws keys; `dec_keys` with the other KME as master collects those drawn there.

use std::sync::Arc;

use etsi014::{Body, Call, Decoding, Key, KeyContainer, KmeId, Limits, Parties, Rejection, Reply, SaeId};
use http::{Request, Response};
use itu_y3803::QkdKey;

use crate::config::{Config, ConfigError};
use crate::link::Link;
use crate::stream::{CollectError, DrawError, End};

/// The server of one end.
#[derive(Debug)]
pub struct Device {
    link: Arc<Link>,
    end: End,
    device_id: KmeId,
    other_device_id: KmeId,
    kme: SaeId,
    other_kme: SaeId,
    limits: Limits,
    max_key_count: u32,
}

impl Device {
    /// The server at `end` of `link`.
    ///
    /// # Errors
    /// [`ConfigError`] when the key size cannot be offered.
    pub fn new(link: Arc<Link>, end: End, config: &Config) -> Result<Self, ConfigError> {
        let (own, other) = match end {
            End::A => (&config.a, &config.b),
            End::B => (&config.b, &config.a),
        };
        let wrong = |setting, reason: String| ConfigError::Setting { setting, reason };
        let sae = |kme: &KmeId| SaeId::new(kme.as_str()).map_err(|error| wrong("kme_id", format!("is an SAE ID, too: {error}")));
        let size = config.stream.key_size;
        let limits = Limits::default()
            .with_sizes(size, size, size, true)
            .map_err(|error| wrong("key_size", format!("cannot be offered: {error}")))?
            .with_max_keys(config.max_key_per_request)
            .with_max_additional_slaves(0);
        Ok(Self {
            link,
            end,
            device_id: own.device_id.clone(),
            other_device_id: other.device_id.clone(),
            kme: sae(&own.kme_id)?,
            other_kme: sae(&other.kme_id)?,
            limits,
            max_key_count: config.stream.max_key_count,
        })
    }

    /// Answers one request of a caller, who is named by the certificate of the connection, if at all.
    ///
    /// Who is not this end's KME gets 401, whatever the request (014-4-09).
    pub fn answer<B: AsRef<[u8]>>(&self, caller: Option<&str>, request: &Request<B>) -> Response<Body> {
        match self.handle(caller, request) {
            Ok(reply) => reply.into_http(),
            Err(rejection) => rejection.into_http(),
        }
    }

    fn handle<B: AsRef<[u8]>>(&self, caller: Option<&str>, request: &Request<B>) -> Result<Reply, Rejection> {
        match caller {
            None => return Err(Rejection::Unauthenticated),
            Some(caller) if caller != self.kme.as_str() => return Err(Rejection::NotEntitled),
            Some(_) => {}
        }
        match Call::decode(request, Decoding::Lenient)? {
            Call::GetStatus(call) => {
                self.check_peer(&call.slave)?;
                let parties = Parties {
                    source_kme: self.device_id.clone(),
                    target_kme: self.other_device_id.clone(),
                    master: self.kme.clone(),
                    slave: call.slave,
                };
                let stored = self.link.stored(self.end);
                Ok(Reply::Status(self.limits.status(parties, stored.into(), self.max_key_count.into())))
            }
            Call::GetKey(call) => {
                self.check_peer(&call.slave)?;
                let order = self.limits.admit(&self.kme, call)?;
                let keys = self.link.draw(self.end, order.number().get()).map_err(|error| match error {
                    DrawError::NotEnough { .. } => Rejection::NotEnoughKeys,
                    DrawError::PeerStoreFull => Rejection::unavailable("the other end has too many keys to collect"),
                })?;
                Ok(Reply::Keys(keys.into_iter().map(|QkdKey { id, material }| Key::new(id.into(), material)).collect()))
            }
            Call::GetKeyWithKeyIds(call) => {
                self.check_peer(&call.master)?;
                let order = self.limits.admit_ids(&self.kme, call)?;
                let ids: Vec<_> = order.ids().iter().map(|id| (*id).into()).collect();
                let keys = self.link.collect(self.end, &ids).map_err(|error| match error {
                    CollectError::NotFound => Rejection::KeysNotFound { ids: Vec::new() },
                    // The master of a key is no slave of it (014-5.4-04).
                    CollectError::DrawnHere => Rejection::NotEntitled,
                })?;
                let named_as_asked = order.ids().iter().zip(keys).map(|(id, key)| Key::new(*id, key.material));
                Ok(Reply::Keys(named_as_asked.collect::<KeyContainer>()))
            }
        }
    }

    fn check_peer(&self, peer: &SaeId) -> Result<(), Rejection> {
        if *peer == self.other_kme { Ok(()) } else { Err(Rejection::UnknownSae) }
    }
}
