//! What an SAE is told to do: the vocabulary of `QKDSPEC_SCENARIO`. What the KMEs do wrong meanwhile it is not told.

use crate::config::Side;

/// Which end the SAE is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It draws keys, at KME A.
    Master,
    /// It fetches them, at KME B.
    Slave,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Slave => "slave",
        }
    }

    pub(crate) fn side(self) -> Side {
        match self {
            Self::Master => Side::A,
            Self::Slave => Side::B,
        }
    }
}

/// Name, who does it, and what it is.
pub(crate) const TASKS: &[(&str, &str, &str)] = &[
    ("get-key", "master", "Get key: QKDSPEC_NUMBER keys (default 1) of QKDSPEC_SIZE bits (default: the KME's) for QKDSPEC_PEER"),
    ("get-key-with-ids", "slave", "Get key with key IDs: the keys QKDSPEC_KEY_IDS (separated by spaces) of master QKDSPEC_PEER"),
    ("status", "master", "Get status for QKDSPEC_PEER"),
    ("get-key-optional", "master", "Get key with an optional extension, any that the product has"),
    ("two-sessions", "master", "Get key twice in one process, for two sessions; a failure of the second is a failure"),
    ("keep-trying", "master", "Get key in one process until it succeeds: after a failure, again a second later, ten times"),
    ("ids-twice", "slave", "the peer announces QKDSPEC_KEY_IDS for one session, and again for another"),
    ("session", "both", "both ends together: draw, tell the ID, fetch, confirm that the keys are equal (QKDSPEC_PEER_KME, …)"),
];

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) number: Option<u64>,
    pub(crate) size: Option<u64>,
    /// How many keys are deposited for a slave.
    pub(crate) deposit: u64,
    /// They are told in the opposite order.
    pub(crate) reversed: bool,
    /// Instead of the usual peer.
    pub(crate) peer: Option<String>,
    /// Host in the KME's URL.
    pub(crate) host: Option<String>,
}

impl Task {
    pub(crate) fn named(name: &str, role: Role) -> Self {
        let (number, size, deposit) = (None, None, 0);
        Self { name: name.to_owned(), role, number, size, deposit, reversed: false, peer: None, host: None }
    }

    /// Get key, one by default.
    pub(crate) fn get_key() -> Self {
        Self::named("get-key", Role::Master)
    }

    /// Get key with key IDs, so many of them.
    pub(crate) fn by_ids(count: u64) -> Self {
        Self { deposit: count, ..Self::named("get-key-with-ids", Role::Slave) }
    }

    /// The simplest thing an SAE of that role does with keys.
    pub(crate) fn simple(role: Role) -> Self {
        Self::several(role, 1)
    }

    /// The same with several keys.
    pub(crate) fn several(role: Role, count: u64) -> Self {
        match role {
            Role::Master if count == 1 => Self::get_key(),
            Role::Master => Self::get_key().number(count),
            Role::Slave => Self::by_ids(count),
        }
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.number = Some(number);
        self
    }

    pub(crate) fn size(mut self, bits: u64) -> Self {
        self.size = Some(bits);
        self
    }

    pub(crate) fn reversed(mut self) -> Self {
        self.reversed = true;
        self
    }

    pub(crate) fn peer(mut self, peer: &str) -> Self {
        self.peer = Some(peer.to_owned());
        self
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    /// For people: what is to be done.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} as {}", self.name, self.role.name());
        for (name, value) in [("number", self.number), ("size", self.size)] {
            text.push_str(&value.map(|value| format!(", {name} {value}")).unwrap_or_default());
        }
        if self.deposit > 1 {
            text.push_str(&format!(", {} IDs", self.deposit));
        }
        text
    }
}
