//! Status, clause 6.1.

use serde::Serialize;
use serde::de::MapAccess;

use crate::body::Body;
use crate::decode::{self, AnyObject, At, DecodeError, Decoding, Integer, Object, Problem, Shape, Slot, Text, next_member};
use crate::id::{KmeId, SaeId};

/// What a master SAE can ask of its KME for one slave SAE: the answer to Get status (014-6.1-01).
///
/// The numbers are a report by the KME and are kept as stated; in the field some state zero throughout (014-A-37). A KME makes a
/// coherent one with [`Limits::status`](crate::limits::Limits::status).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The KME that answers.
    #[serde(rename = "source_KME_ID")]
    pub source_kme: KmeId,
    /// The KME that serves the slave SAE.
    #[serde(rename = "target_KME_ID")]
    pub target_kme: KmeId,
    /// The SAE that called.
    #[serde(rename = "master_SAE_ID")]
    pub master: SaeId,
    /// The SAE named in the path.
    #[serde(rename = "slave_SAE_ID")]
    pub slave: SaeId,
    /// The size a key has when none is asked for, in bits.
    pub key_size: u64,
    /// How many keys can be delivered now.
    pub stored_key_count: u64,
    /// The most keys that can be stored (014-6.1-03).
    pub max_key_count: u64,
    /// The most keys in one request.
    pub max_key_per_request: u64,
    /// The largest key, in bits.
    pub max_key_size: u64,
    /// The smallest key, in bits.
    pub min_key_size: u64,
    /// The most additional slave SAEs; 0 when there is no multicast (014-6.1-02).
    #[serde(rename = "max_SAE_ID_count")]
    pub max_sae_id_count: u64,
    /// For extensions (014-6.1-04).
    #[serde(rename = "status_extension", skip_serializing_if = "Option::is_none")]
    pub extension: Option<Object>,
}

impl Status {
    /// Reads a Status body.
    ///
    /// # Errors
    /// [`DecodeError`] when the body has another format.
    pub fn decode(body: &[u8], decoding: Decoding) -> Result<Self, DecodeError> {
        decode::parse(body, StatusShape(decoding))
    }

    /// The body as JSON.
    #[must_use]
    pub fn encode(&self) -> Body {
        super::to_json(self)
    }
}

struct StatusShape(Decoding);

impl<'de> Shape<'de> for StatusShape {
    type Out = Status;

    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<Status, A::Error> {
        const NAMES: &[&str] = &[
            "source_KME_ID",
            "target_KME_ID",
            "master_SAE_ID",
            "slave_SAE_ID",
            "key_size",
            "stored_key_count",
            "max_key_count",
            "max_key_per_request",
            "max_key_size",
            "min_key_size",
            "max_SAE_ID_count",
            "status_extension",
        ];
        let [mut source_kme, mut target_kme] = [Slot::new(), Slot::new()];
        let [mut master, mut slave] = [Slot::new(), Slot::new()];
        let mut numbers: [Slot<u64>; 7] = [const { Slot::new() }; 7];
        let mut extension = Slot::new();
        while let Some(name) = next_member(&mut map, NAMES)? {
            let at = at.member(name);
            match name {
                "source_KME_ID" => source_kme.read(at, &mut map, Text(kme_id))?,
                "target_KME_ID" => target_kme.read(at, &mut map, Text(kme_id))?,
                "master_SAE_ID" => master.read(at, &mut map, Text(sae_id))?,
                "slave_SAE_ID" => slave.read(at, &mut map, Text(sae_id))?,
                "status_extension" => extension.read(at, &mut map, AnyObject)?,
                _ => {
                    let number =
                        NAMES.iter().position(|known| *known == name).and_then(|index| numbers.get_mut(index.checked_sub(4)?));
                    if let Some(number) = number {
                        number.read(at, &mut map, Integer { decoding: self.0, text: true, accept: Some })?;
                    }
                }
            }
        }
        let [key_size, stored, max_count, per_request, max_size, min_size, max_saes] = numbers;
        Ok(Status {
            source_kme: source_kme.required(at.member("source_KME_ID"))?,
            target_kme: target_kme.required(at.member("target_KME_ID"))?,
            master: master.required(at.member("master_SAE_ID"))?,
            slave: slave.required(at.member("slave_SAE_ID"))?,
            key_size: key_size.required(at.member("key_size"))?,
            stored_key_count: stored.required(at.member("stored_key_count"))?,
            max_key_count: max_count.required(at.member("max_key_count"))?,
            max_key_per_request: per_request.required(at.member("max_key_per_request"))?,
            max_key_size: max_size.required(at.member("max_key_size"))?,
            min_key_size: min_size.required(at.member("min_key_size"))?,
            max_sae_id_count: max_saes.required(at.member("max_SAE_ID_count"))?,
            extension: extension.optional(),
        })
    }
}

fn kme_id(text: &str) -> Result<KmeId, Problem> {
    KmeId::new(text).map_err(|_| Problem::InvalidId)
}

pub(super) fn sae_id(text: &str) -> Result<SaeId, Problem> {
    SaeId::new(text).map_err(|_| Problem::InvalidId)
}
