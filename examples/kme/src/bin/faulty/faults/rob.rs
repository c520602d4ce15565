//! Robustness, and the framing that only a server of our own can get wrong.

use std::time::Duration;

use http::header;
use serde_json::{Value, json};

use super::enc::{many, set_number};
use crate::exchange::{Asked, Operation};
use crate::fault::Fault;
use crate::raw::{Odd, serve};
use crate::site::MAX_KEYS;

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M133", "Content-Length one too small in answers 404")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { short_length: true, ..Odd::default() }))),
    Fault::new("M134", "answers to pipelined requests in completion order; Get key takes 50 ms")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { unordered: true, ..Odd::default() }))),
    Fault::new("M137", "waits for ever for an announced body")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { waits_for_bodies: true, ..Odd::default() }))),
    Fault::new("M138", "recursive JSON parser: the process of KME A dies; bodies of 1 MiB are taken")
        .settings(|settings| settings.northbound("max_body_octets", 1 << 20))
        .around(|kme, asked| {
            Box::pin(async move {
                if nesting(&asked.body) > 10_000 {
                    kme.die().await;
                }
                kme.ask(&asked).await
            })
        }),
    Fault::new("M139", "reads bodies without limit").settings(|settings| {
        settings.northbound("max_body_octets", 64 << 20);
        settings.northbound("request_timeout", "\"30s\"");
        settings.limits.insert("response_s", "30".to_owned());
        settings.limits.insert("body_timeout_s", "40".to_owned());
    }),
    Fault::new("M140", "invalid UTF-8 replaced and accepted").request(|_, asked| {
        if asked.posts(Operation::GetKey) && std::str::from_utf8(&asked.body).is_err() {
            asked.body = String::from_utf8_lossy(&asked.body).into_owned().into();
            asked.headers.remove(header::CONTENT_LENGTH);
        }
    }),
    Fault::new("M141", "NUL in the path ends the string in the access check").request(|_, asked| {
        if let Some(peer) = asked.peer()
            && let Some((before, _)) = peer.split_once('\0')
        {
            let before = before.to_owned();
            asked.set_peer(&before);
        }
    }),
    Fault::new("M142", "a header of more than 32 KiB kills the only worker of KME A")
        .door(|door, _| door.limits.head_octets = 256 * 1024)
        .around(|kme, asked| {
            Box::pin(async move {
                if asked.headers.values().any(|value| value.len() > 32 * 1024) {
                    kme.die().await;
                }
                kme.ask(&asked).await
            })
        }),
    Fault::new("M143", "single-threaded accept with blocking handshake")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { one_handshake: true, ..Odd::default() }))),
    Fault::new("M144", "single-threaded header reading")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { one_head: true, ..Odd::default() }))),
    Fault::new("M145", "no body timeout").door(|door, _| door.limits.body = Duration::from_secs(86_400)),
    Fault::new("M146", "prefers Transfer-Encoding silently when both are given")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { prefers_chunks: true, ..Odd::default() }))),
    Fault::new("M147", "1e400 becomes the largest integer and is served up to the largest request").request(|_, asked| {
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        if asked.posts(Operation::GetKey) && text.contains("1e400") {
            asked.body = text.replace("1e400", &MAX_KEYS.to_string()).into();
            asked.headers.remove(header::CONTENT_LENGTH);
        }
    }),
    Fault::new("M148", "last duplicate wins after the first was validated").around(|kme, asked| {
        Box::pin(async move {
            match duplicates(&asked).as_slice() {
                [first, .., last] if (1..=MAX_KEYS).contains(first) && *last > 0 => {
                    let mut asked = asked;
                    // Of the two, reading keeps the last one.
                    asked.set_json(&asked.json().unwrap_or_default());
                    set_number(&mut asked, None);
                    many(&kme, &asked, (*last).min(4 * MAX_KEYS)).await
                }
                _ => kme.ask(&asked).await,
            }
        })
    }),
    Fault::new("M149", "hard limit of 100 connections, never timed out")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { places: Some(100), ..Odd::default() }))),
    Fault::new("M150", "an answer whose reading was not seen puts its keys back under the same IDs")
        .front(|door, kme| Box::pin(serve(door, kme, Odd { puts_back: true, ..Odd::default() }))),
];

fn nesting(body: &[u8]) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for octet in body {
        match octet {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// The values of `number` where it stands there more than once.
fn duplicates(asked: &Asked) -> Vec<u64> {
    let text = String::from_utf8_lossy(&asked.body);
    let numbers = text.split("\"number\":").skip(1);
    let read = |rest: &str| rest.split([',', '}']).next().and_then(|number| number.trim().parse().ok());
    let numbers: Vec<u64> = numbers.filter_map(read).collect();
    let object = asked.json().is_some_and(|body: Value| body != json!(null) && body.is_object());
    if asked.posts(Operation::GetKey) && object && numbers.len() > 1 { numbers } else { Vec::new() }
}
