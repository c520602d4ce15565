//! The life cycle of a key (digest 9.6) as a transition table.
//!
//! ```text
//!  RECEIVED ──confirm──► AVAILABLE ──reserve──► RESERVED ──use──► IN USE ──finish──► DELETED
//!     │                   │   ▲                  │ │                │
//!     │                   │   └─────put back─────┘ │                │
//!     └──────burn─────────┴─expire, burn───────────┴──────burn──────┴──► DELETED
//! ```
//!
//! A key goes back from RESERVED to AVAILABLE only when nothing made with it can have left the node.

use core::fmt;

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Here, but not yet known to be at the other end.
    Received,
    /// At both ends, free to be used.
    Available,
    /// Set aside for one use.
    Reserved,
    /// Used: being relayed, or being supplied.
    InUse,
    /// Gone, its octets wiped.
    Deleted,
}

/// What happens to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyEvent {
    /// The other end has it, too.
    Confirm,
    /// It is set aside for one use.
    Reserve,
    /// The use it was set aside for provably did not happen.
    PutBack,
    /// Something made with it leaves the node.
    Use,
    /// Its use is complete.
    Finish,
    /// Its lifetime is over.
    Expire,
    /// It is given up because its state at the other end, or its use, is in doubt.
    Burn,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Received, Self::Available, Self::Reserved, Self::InUse, Self::Deleted];

    /// The state after `event`.
    ///
    /// # Errors
    /// [`Forbidden`] when the event cannot happen in this state.
    pub fn on(self, event: KeyEvent) -> Result<Self, Forbidden> {
        use KeyEvent as E;

        match (self, event) {
            (Self::Received, E::Confirm) | (Self::Reserved, E::PutBack) => Ok(Self::Available),
            (Self::Available, E::Reserve) => Ok(Self::Reserved),
            (Self::Reserved, E::Use) => Ok(Self::InUse),
            (Self::InUse, E::Finish) => Ok(Self::Deleted),
            (Self::Received | Self::Available | Self::Reserved | Self::InUse, E::Burn | E::Expire) => Ok(Self::Deleted),
            (from, event) => Err(Forbidden { from, event }),
        }
    }
}

impl KeyEvent {
    /// Every event.
    pub const ALL: [Self; 7] = [Self::Confirm, Self::Reserve, Self::PutBack, Self::Use, Self::Finish, Self::Expire, Self::Burn];
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Received => "received",
            Self::Available => "available",
            Self::Reserved => "reserved",
            Self::InUse => "in use",
            Self::Deleted => "deleted",
        })
    }
}

/// An event that cannot happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key that is {from} cannot take the event {event:?}")]
pub struct Forbidden {
    from: KeyState,
    event: KeyEvent,
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;

    /// The whole table, to be compared with the picture above by eye.
    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for state in KeyState::ALL {
            table.push_str(&format!("{state}:"));
            for event in KeyEvent::ALL {
                if let Ok(next) = state.on(event) {
                    table.push_str(&format!(" {event:?}>{next}"));
                }
            }
            table.push('\n');
        }
        assert_eq!(
            table,
            "received: Confirm>available Expire>deleted Burn>deleted\n\
             available: Reserve>reserved Expire>deleted Burn>deleted\n\
             reserved: PutBack>available Use>in use Expire>deleted Burn>deleted\n\
             in use: Finish>deleted Expire>deleted Burn>deleted\n\
             deleted:\n"
        );
    }
}
