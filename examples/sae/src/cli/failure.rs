//! What went wrong, for people, scripts and the exit code.

use std::io;

use etsi014::{BaseUrl, CallError, ClientError};
use serde_json::{Value, json};
use transport::client::ClientError as NoAnswer;

use super::print::{json_text, printable};
use crate::CallFailure;

const MAX_DETAILS: usize = 8;
const MAX_DETAIL_CHARS: usize = 200;

/// Why the command did not do what it should. Nothing in it has seen a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}", refused_text(_0))]
    Refused(CallError),
    #[error("{0}")]
    Usage(String),
    #[error("no answer from {kme}: {reason}")]
    NoAnswer { kme: BaseUrl, reason: NoAnswer },
    #[error("the answer does not conform: {0}")]
    NotConforming(String),
    #[error("the result could not be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// Sorts the failure of a call to the KME at `kme`.
    pub(super) fn of_call(failure: CallFailure, kme: &BaseUrl) -> Self {
        match failure {
            ClientError::Transport(reason @ (NoAnswer::TooLarge { .. } | NoAnswer::Protocol(_))) => {
                Self::NotConforming(reason.to_string())
            }
            ClientError::Transport(reason) => Self::NoAnswer { kme: kme.clone(), reason },
            ClientError::Call(refused) if refused.refusal().is_some() => Self::Refused(refused),
            ClientError::Call(error) => Self::NotConforming(error.to_string()),
            other => Self::NotConforming(other.to_string()),
        }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::NoAnswer { .. } => 3,
            Self::NotConforming(_) => 4,
            Self::Output(_) => 5,
        }
    }

    /// One line: `{"error":{"kind":…,"message":…}}`, and for a refusal also `status` and `details`. The message of a refusal is the
    /// KME's own, if it sent one.
    pub(super) fn to_json(&self) -> String {
        let mut error = json!({ "kind": self.kind(), "message": self.to_string() });
        if let Self::Refused(call) = self
            && let Some(refusal) = call.refusal()
            && let Some(members) = error.as_object_mut()
        {
            members.insert("status".to_owned(), refusal.status().as_u16().into());
            members.insert("message".to_owned(), refusal.message().map_or(Value::Null, Value::from));
            members.insert("details".to_owned(), refusal.details().iter().cloned().map(Value::Object).collect());
        }
        json_text(&json!({ "error": error }))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Usage(_) => "usage",
            Self::NoAnswer { .. } => "connection",
            Self::NotConforming(_) => "answer",
            Self::Output(_) => "output",
        }
    }
}

/// The refusal and the first of its details, which can be anything.
fn refused_text(call: &CallError) -> String {
    let mut text = call.to_string();
    for detail in call.refusal().map_or(&[][..], |refusal| refusal.details()).iter().take(MAX_DETAILS) {
        let detail: String = json_text(detail).chars().take(MAX_DETAIL_CHARS).collect();
        text.push_str("\n  ");
        text.push_str(&printable(&detail));
    }
    text
}
