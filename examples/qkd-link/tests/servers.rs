//! Both ends over real TLS, and the control, in one process.

#![cfg(feature = "server")]
#![allow(missing_docs)]

mod common;

use std::time::Duration;

use common::{Folder, get, keys, status};
use qkd_link::config::Config;
use qkd_link::control;
use qkd_link::rate::Skr;
use qkd_link::serve::{RunningLink, serve};
use qkd_link::stream::End;
use transport::client::ClientError;

async fn running(folder: &Folder, settings: &str) -> RunningLink {
    serve(Config::load(&folder.settings(settings)).expect("settings")).await.expect("a link")
}

/// Waits until an end has this many keys.
async fn filled(link: &RunningLink, keys: u32) {
    while link.link().stored(End::B) < keys {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_drawn_at_one_end_are_collected_at_the_other() {
    let folder = Folder::new();
    let link = running(&folder, "constant_bps = 1e6").await;
    filled(&link, 10).await;
    let (port_a, port_b) = (link.address(End::A).port(), link.address(End::B).port());
    let (north, south) = (folder.client(Some("north"), "link-a"), folder.client(Some("south"), "link-b"));

    let drawn = keys(&north, port_a, "south/enc_keys").await;
    let path = format!("north/dec_keys?key_ID={}", drawn[0].0);
    assert_eq!(keys(&south, port_b, &path).await, drawn);
    assert_eq!(status(&south, port_b, &path).await, 400, "collected already");

    let drawn = keys(&south, port_b, "north/enc_keys").await;
    let path = format!("south/dec_keys?key_ID={}", drawn[0].0);
    assert_eq!(status(&south, port_b, &path.replace("south/", "north/")).await, 401, "its own key");
    assert_eq!(keys(&north, port_a, &path).await, drawn);
    assert_eq!(status(&north, port_a, "south/status").await, 200);
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_is_served() {
    let folder = Folder::new();
    let link = running(&folder, "constant_bps = 1e6").await;
    filled(&link, 10).await;
    for (end, device, others) in [(End::A, "link-a", ["south", "east"]), (End::B, "link-b", ["north", "east"])] {
        let port = link.address(end).port();
        for other in others {
            let client = folder.client(Some(other), device);
            for path in ["south/enc_keys", "north/enc_keys", "south/status", "nonsense"] {
                assert_eq!(status(&client, port, path).await, 401, "{other} at {device}: {path}");
            }
        }
        // Without a certificate, or with one of another authority, there is no connection (014-5.1-09).
        for stranger in [None, Some("stranger")] {
            let refused = get(&folder.client(stranger, device), port, "south/enc_keys").await;
            assert!(refused.is_err(), "{stranger:?} at {device}");
        }
    }
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_devices_prove_who_they_are() {
    let folder = Folder::new();
    let link = running(&folder, "constant_bps = 1e6").await;
    let at_the_wrong_end = folder.client(Some("north"), "link-b");
    let refused = get(&at_the_wrong_end, link.address(End::A).port(), "south/status").await;
    assert!(matches!(refused, Err(ClientError::WrongIdentity { .. })), "{refused:?}");
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_link_runs_empty_and_comes_back() {
    let folder = Folder::new();
    let link = running(&folder, "constant_bps = 1e6\nmax_key_count = 50").await;
    filled(&link, 10).await;
    let control = format!("http://{}", link.control_address());
    let set = |rate: Option<f64>| {
        let (control, rate) = (control.clone(), rate.map(|bps| Skr::new(bps).expect("a rate")));
        async move { tokio::task::spawn_blocking(move || control::set_rate(&control, rate)).await.expect("no panic") }
    };
    let report: serde_json::Value = serde_json::from_str(&set(Some(0.0)).await.expect("set")).expect("JSON");
    assert_eq!((report["state"].as_str(), report["overridden"].as_bool()), (Some("DEAD"), Some(true)));

    let (north, port) = (folder.client(Some("north"), "link-a"), link.address(End::A).port());
    let mut drawn = 0;
    while status(&north, port, "south/enc_keys").await == 200 {
        drawn += 1;
    }
    assert!((10..=50).contains(&drawn), "{drawn}");
    assert_eq!(status(&north, port, "south/enc_keys").await, 503);

    let report: serde_json::Value = serde_json::from_str(&set(None).await.expect("set")).expect("JSON");
    assert_eq!((report["state"].as_str(), report["skr_bps"].as_f64()), (Some("GOOD"), Some(1e6)));
    filled(&link, 1).await;
    // What north drew and south never collected may fill the store kept for south; the other direction is free.
    let south = folder.client(Some("south"), "link-b");
    assert_eq!(status(&south, link.address(End::B).port(), "north/enc_keys").await, 200);
    link.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_answers_errors_in_json() {
    let folder = Folder::new();
    let link = running(&folder, "constant_bps = 1000.0\nspeed = 10").await;
    let control = link.control_address();
    let answers = tokio::task::spawn_blocking(move || {
        let exchange = |request: &str, body: &str| {
            use std::io::{Read, Write};
            let mut connection = std::net::TcpStream::connect(control).expect("a connection");
            let head = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            connection.write_all((head + body).as_bytes()).expect("sent");
            let mut answer = String::new();
            connection.read_to_string(&mut answer).expect("an answer");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
            let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
            (head.split(' ').nth(1).expect("a status").to_owned(), head.to_owned(), json)
        };
        for (request, body, wanted) in [
            ("GET /", "", "404"),
            ("POST /link", "", "405"),
            ("GET /link/rate", "", "405"),
            ("PUT /link/rate", "", "400"),
            ("PUT /link/rate", "{}", "400"),
            ("PUT /link/rate", r#"{"skr_bps":-1}"#, "400"),
            ("PUT /link/rate", r#"{"skr_bps":1e13}"#, "400"),
            ("PUT /link/rate", r#"{"skr_bps":"0"}"#, "400"),
            ("PUT /link/rate", r#"{"skr_bps":0,"x":1}"#, "400"),
            ("PUT /link/rate", &" ".repeat(control::MAX_BODY_OCTETS + 1), "413"),
        ] {
            let (status, _, json) = exchange(request, body);
            assert_eq!(status, wanted, "{request} {body:.40}");
            assert!(json["message"].is_string(), "{request} {body:.40}");
        }
        assert!(exchange("DELETE /link", "").1.to_lowercase().contains("\r\nallow: get\r\n"));
        control::report(&control.to_string())
    });
    let report: serde_json::Value = serde_json::from_str(&answers.await.expect("no panic").expect("a report")).expect("JSON");
    assert_eq!((report["skr_bps"].as_f64(), report["delivered_bps"].as_f64()), (Some(1000.0), Some(10_000.0)));
    assert_eq!((report["overridden"].as_bool(), report["synthetic"].as_bool()), (Some(false), Some(false)));
    link.stop().await;
}
