//! HTTP and JSON on the wire.

use super::aut::as_enrolled;
use crate::exchange::Operation;
use crate::fault::Fault;

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M129", "text/plain on 200").response(|_, _, said| {
        if said.status == 200 {
            said.header("content-type", "text/plain");
        }
    }),
    Fault::new("M130", "byte order mark before the JSON").response(|_, _, said| {
        if !said.body.is_empty() {
            said.body = [b"\xef\xbb\xbf", &said.body[..]].concat().into();
        }
    }),
    Fault::new("M131", "duplicate member `keys` (first one empty)").response(|_, _, said| {
        if let Some(rest) = said.body.strip_prefix(b"{\"keys\":") {
            said.body = [b"{\"keys\":[],\"keys\":", rest].concat().into();
        }
    }),
    Fault::new("M132", "a second JSON value after the first").response(|_, _, said| {
        if said.status == 200 {
            said.body = [&said.body[..], b" {}"].concat().into();
        }
    }),
    Fault::new("M135", "redirects status to http").response(|_, asked, said| {
        if asked.operation() == Operation::Status && said.status == 200 {
            said.status = 302;
            said.header("location", &format!("http://127.0.0.1{}", asked.target));
            said.body = bytes::Bytes::new();
        }
    }),
    Fault::new("M136", "double slash skips the authorisation filter").around(|kme, asked| {
        Box::pin(async move {
            if !asked.path().contains("//") {
                return kme.ask(&asked).await;
            }
            let mut asked = asked;
            while asked.target.contains("//") {
                asked.target = asked.target.replace("//", "/");
            }
            if kme.serves(asked.caller.as_ref()) { kme.ask(&asked).await } else { as_enrolled(&kme, &asked).await }
        })
    }),
];
