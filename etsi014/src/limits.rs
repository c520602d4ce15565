//! What a KME is willing to do for one request: calls in, orders out.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroU32;

use itu_y3803::KeySize;

use crate::call::{GetKey, GetKeyWithKeyIds};
use crate::decode::Object;
use crate::id::{KeyId, KmeId, SaeId};
use crate::message::Status;
use crate::server::{Rejection, SlaveProblem};

/// The limits of a KME, as its Status tells them.
///
/// The default: keys of 64 to 4096 bits in whole octets, 256 unless asked otherwise, 128 in one request, 4 additional slaves, and no
/// extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    min_size: KeySize,
    default_size: KeySize,
    max_size: KeySize,
    octets_only: bool,
    max_keys: NonZeroU32,
    max_additional_slaves: u32,
    self_as_slave: bool,
    mandatory_extensions: BTreeSet<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min_size: const { KeySize::from_bits(64).expect("not zero") },
            default_size: KeySize::BITS_256,
            max_size: const { KeySize::from_bits(4096).expect("not zero") },
            octets_only: true,
            max_keys: const { NonZeroU32::new(128).expect("not zero") },
            max_additional_slaves: 4,
            self_as_slave: false,
            mandatory_extensions: BTreeSet::new(),
        }
    }
}

/// Sizes in the wrong order, or no whole octets where only those are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key sizes of a KME ascend from smallest by default to largest, and are multiples of 8 if only those are supported")]
pub struct IncoherentSizes;

impl Limits {
    /// Sets the smallest, the default and the largest size, and whether only whole octets are given (014-6.1-05, 014-6.2-08).
    ///
    /// # Errors
    /// [`IncoherentSizes`].
    pub fn with_sizes(
        self,
        min_size: KeySize,
        default_size: KeySize,
        max_size: KeySize,
        octets_only: bool,
    ) -> Result<Self, IncoherentSizes> {
        let ascending = min_size <= default_size && default_size <= max_size;
        let whole = [min_size, default_size, max_size].iter().all(|size| size.bits().is_multiple_of(8));
        if ascending && (whole || !octets_only) {
            Ok(Self { min_size, default_size, max_size, octets_only, ..self })
        } else {
            Err(IncoherentSizes)
        }
    }

    /// Sets `max_key_per_request`, which holds for Get key and for Get key with key IDs.
    #[must_use]
    pub fn with_max_keys(self, max_keys: NonZeroU32) -> Self {
        Self { max_keys, ..self }
    }

    /// Sets `max_SAE_ID_count`; 0 when the KME has no multicast (014-6.1-02).
    #[must_use]
    pub fn with_max_additional_slaves(self, max_additional_slaves: u32) -> Self {
        Self { max_additional_slaves, ..self }
    }

    /// Sets whether an SAE may be the slave of its own keys.
    #[must_use]
    pub fn with_self_as_slave(self, self_as_slave: bool) -> Self {
        Self { self_as_slave, ..self }
    }

    /// Adds a parameter of `extension_mandatory` that the KME handles. Whoever adds one sees to it that every [`Order`] with it is met
    /// or refused with [`Rejection::MandatoryExtensionNotMet`].
    #[must_use]
    pub fn with_mandatory_extension(mut self, name: impl Into<String>) -> Self {
        self.mandatory_extensions.insert(name.into());
        self
    }

    /// The smallest key.
    #[must_use]
    pub fn min_size(&self) -> KeySize {
        self.min_size
    }

    /// The key when no size is asked for.
    #[must_use]
    pub fn default_size(&self) -> KeySize {
        self.default_size
    }

    /// The largest key.
    #[must_use]
    pub fn max_size(&self) -> KeySize {
        self.max_size
    }

    /// Whether sizes must be multiples of 8 bits.
    #[must_use]
    pub fn octets_only(&self) -> bool {
        self.octets_only
    }

    /// The most keys in one request.
    #[must_use]
    pub fn max_keys(&self) -> NonZeroU32 {
        self.max_keys
    }

    /// The most additional slaves in one request.
    #[must_use]
    pub fn max_additional_slaves(&self) -> u32 {
        self.max_additional_slaves
    }

    /// The parameters of `extension_mandatory` that the KME handles.
    pub fn mandatory_extensions(&self) -> impl Iterator<Item = &str> {
        self.mandatory_extensions.iter().map(String::as_str)
    }

    /// Checks a Get key of `caller` and makes an order of it.
    ///
    /// # Errors
    /// The [`Rejection`] to answer with. Mandated texts go before others.
    pub fn admit(&self, caller: &SaeId, call: GetKey) -> Result<Order, Rejection> {
        let GetKey { slave, request } = call;
        let names: BTreeSet<&String> = request.extension_mandatory.iter().flat_map(Object::keys).collect();
        let unsupported: Vec<String> =
            names.into_iter().filter(|name| !self.mandatory_extensions.contains(*name)).cloned().collect();
        if !unsupported.is_empty() {
            return Err(Rejection::MandatoryExtensionUnsupported { names: unsupported });
        }
        Ok(Order {
            size: self.size(request.size)?,
            number: self.number(request.number)?,
            slaves: self.slaves(caller, slave, request.additional_slaves)?,
            master: caller.clone(),
            extension_mandatory: request.extension_mandatory,
            extension_optional: request.extension_optional,
        })
    }

    /// Checks a Get key with key IDs of `caller` and makes an order of it.
    ///
    /// # Errors
    /// The [`Rejection`] to answer with.
    pub fn admit_ids(&self, caller: &SaeId, call: GetKeyWithKeyIds) -> Result<IdOrder, Rejection> {
        let GetKeyWithKeyIds { master, key_ids } = call;
        let asked = key_ids.keys.len();
        if asked == 0 {
            return Err(Rejection::NoKeyIds);
        }
        if asked > self.max_keys.get() as usize {
            return Err(Rejection::TooManyKeyIds { asked, max: self.max_keys.get() });
        }
        let ids: Vec<KeyId> = key_ids.keys.into_iter().map(|key| key.id).collect();
        let mut seen = HashSet::with_capacity(ids.len());
        match ids.iter().find(|id| !seen.insert(**id)) {
            Some(id) => Err(Rejection::RepeatedKeyId(*id)),
            None => Ok(IdOrder { slave: caller.clone(), master, ids }),
        }
    }

    /// The Status of a KME with these limits. It is coherent: no more keys stored than can be (014-6.1-03), sizes in order (014-6.1-05).
    #[must_use]
    pub fn status(&self, parties: Parties, stored_keys: u64, max_stored_keys: u64) -> Status {
        Status {
            source_kme: parties.source_kme,
            target_kme: parties.target_kme,
            master: parties.master,
            slave: parties.slave,
            key_size: self.default_size.bits().into(),
            stored_key_count: stored_keys.min(max_stored_keys),
            max_key_count: max_stored_keys,
            max_key_per_request: self.max_keys.get().into(),
            max_key_size: self.max_size.bits().into(),
            min_key_size: self.min_size.bits().into(),
            max_sae_id_count: self.max_additional_slaves.into(),
            extension: None,
        }
    }

    fn size(&self, asked: Option<KeySize>) -> Result<KeySize, Rejection> {
        let size = asked.unwrap_or(self.default_size);
        if self.octets_only && !size.bits().is_multiple_of(8) {
            return Err(Rejection::SizeNotMultipleOf8);
        }
        if (self.min_size..=self.max_size).contains(&size) {
            Ok(size)
        } else {
            Err(Rejection::SizeOutOfRange { min: self.min_size, max: self.max_size })
        }
    }

    fn number(&self, asked: Option<NonZeroU32>) -> Result<NonZeroU32, Rejection> {
        let number = asked.unwrap_or(NonZeroU32::MIN);
        if number > self.max_keys {
            return Err(Rejection::TooManyKeys { asked: number.get(), max: self.max_keys.get() });
        }
        Ok(number)
    }

    /// The slave of the path, then the additional ones.
    fn slaves(&self, caller: &SaeId, slave: SaeId, additional: Vec<SaeId>) -> Result<Vec<SaeId>, Rejection> {
        if additional.len() > self.max_additional_slaves as usize {
            return Err(Rejection::TooManySlaves { asked: additional.len(), max: self.max_additional_slaves });
        }
        let mut slaves = Vec::with_capacity(1 + additional.len());
        slaves.push(slave);
        slaves.extend(additional);
        if !self.self_as_slave && slaves.contains(caller) {
            return Err(Rejection::InvalidSlaves(SlaveProblem::CallerIsSlave));
        }
        let mut seen = HashSet::with_capacity(slaves.len());
        match slaves.iter().find(|slave| !seen.insert(*slave)) {
            Some(repeated) if slaves.first() == Some(repeated) => Err(Rejection::InvalidSlaves(SlaveProblem::SlaveOfPath)),
            Some(_) => Err(Rejection::InvalidSlaves(SlaveProblem::Repeated)),
            None => Ok(slaves),
        }
    }
}

/// Whom a Status is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The KME that answers.
    pub source_kme: KmeId,
    /// The KME that serves the slave.
    pub target_kme: KmeId,
    /// The caller.
    pub master: SaeId,
    /// The SAE of the path.
    pub slave: SaeId,
}

/// A Get key that is within the limits. There is no other way to one than [`Limits::admit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    master: SaeId,
    slaves: Vec<SaeId>,
    number: NonZeroU32,
    size: KeySize,
    extension_mandatory: Vec<Object>,
    extension_optional: Vec<Object>,
}

impl Order {
    /// The caller, who gets the keys now.
    #[must_use]
    pub fn master(&self) -> &SaeId {
        &self.master
    }

    /// The SAEs that may fetch the keys, each once: first the one of the path, then the additional ones.
    #[must_use]
    pub fn slaves(&self) -> &[SaeId] {
        &self.slaves
    }

    /// How many keys.
    #[must_use]
    pub fn number(&self) -> NonZeroU32 {
        self.number
    }

    /// The size of each key.
    #[must_use]
    pub fn size(&self) -> KeySize {
        self.size
    }

    /// Mandatory extensions; the KME said that it handles every name in them.
    #[must_use]
    pub fn extension_mandatory(&self) -> &[Object] {
        &self.extension_mandatory
    }

    /// Optional extensions, of any name.
    #[must_use]
    pub fn extension_optional(&self) -> &[Object] {
        &self.extension_optional
    }
}

/// A Get key with key IDs that is within the limits: at least one ID, none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdOrder {
    slave: SaeId,
    master: SaeId,
    ids: Vec<KeyId>,
}

impl IdOrder {
    /// The caller.
    #[must_use]
    pub fn slave(&self) -> &SaeId {
        &self.slave
    }

    /// The SAE that called Get key for these keys, according to the caller.
    #[must_use]
    pub fn master(&self) -> &SaeId {
        &self.master
    }

    /// The keys asked for, in the order of the request.
    #[must_use]
    pub fn ids(&self) -> &[KeyId] {
        &self.ids
    }
}
