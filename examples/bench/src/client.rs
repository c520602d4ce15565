//! A client that costs little: requests made beforehand, and only as much of HTTP/1.1 as these servers speak.

mod connection;
mod head;
mod target;

pub(crate) use connection::{Connection, Dialler};
pub(crate) use target::{TargetArguments, get, post};
