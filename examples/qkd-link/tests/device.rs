//! Both ends as 014 servers, without TLS: who is served, and what is answered.

#![cfg(feature = "server")]
#![allow(missing_docs)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use etsi014::{Decoding, ErrorBody, KeyContainer, KeyId, KmeId, Status};
use http::{Method, Request, Response};
use itu_y3803::KeySize;
use qkd_link::config::{Config, EndConfig};
use qkd_link::device::Device;
use qkd_link::link::Link;
use qkd_link::rate::{Playback, RateSource, Skr, Speed};
use qkd_link::stream::{End, StreamConfig};
use transport::identity::IdentitySource;

const NOT_FOUND: &str = "one or more keys specified are not found on KME";

struct Ends {
    link: Arc<Link>,
    a: Device,
    b: Device,
}

/// A link whose store of 20 keys fills at once and, unless `refills`, stays as it then is.
fn ends(refills: bool) -> Ends {
    let rate = Skr::new(1e9).expect("a rate");
    let config = config(RateSource::Constant(rate));
    let link =
        Arc::new(Link::start(config.stream.clone(), Playback::new(config.rate.clone(), config.speed)).expect("randomness"));
    while link.stored(End::B) < 20 {
        std::thread::yield_now();
    }
    if !refills {
        link.set_rate(Some(Skr::ZERO));
    }
    let device = |end| Device::new(link.clone(), end, &config).expect("a valid configuration");
    Ends { a: device(End::A), b: device(End::B), link }
}

fn config(rate: RateSource) -> Config {
    let end = |device: &str, kme: &str| EndConfig {
        listen: "127.0.0.1:0".parse().expect("an address"),
        device_id: KmeId::new(device).expect("an ID"),
        kme_id: KmeId::new(kme).expect("an ID"),
        certificate: "unused".into(),
        key: "unused".into(),
        ca: "unused".into(),
    };
    Config {
        a: end("link-a", "north"),
        b: end("link-b", "south"),
        control: "127.0.0.1:0".parse().expect("an address"),
        rate,
        speed: Speed::REAL_TIME,
        stream: StreamConfig {
            key_size: KeySize::BITS_256,
            max_key_count: 20,
            lag_of_b: Duration::ZERO,
            collect_within: Duration::from_secs(60),
            test_pattern: None,
        },
        max_key_per_request: NonZeroU32::new(8).expect("not zero"),
        identity: IdentitySource::kme_uri(),
    }
}

fn get(device: &Device, caller: Option<&str>, path: &str) -> Response<etsi014::Body> {
    let request = Request::builder().uri(format!("/api/v1/keys/{path}")).body(Vec::new()).expect("a request");
    device.answer(caller, &request)
}

fn post(device: &Device, caller: &str, path: &str, body: &str) -> Response<etsi014::Body> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/keys/{path}"))
        .header("content-type", "application/json")
        .body(body.as_bytes().to_vec())
        .expect("a request");
    device.answer(Some(caller), &request)
}

fn keys(response: &Response<etsi014::Body>) -> Vec<(KeyId, Vec<u8>)> {
    assert_eq!(response.status(), 200, "{:?}", message(response));
    let container = KeyContainer::decode(response.body().as_ref(), Decoding::Strict).expect("a key container");
    container.keys.iter().map(|key| (key.id, key.material.expose_secret().to_vec())).collect()
}

fn message(response: &Response<etsi014::Body>) -> String {
    ErrorBody::decode(response.body().as_ref(), Decoding::Strict).map(|error| error.message).unwrap_or_default()
}

#[test]
fn status_tells_what_can_be_drawn() {
    let ends = ends(false);
    for (device, caller, peer, ids) in
        [(&ends.a, "north", "south", ["link-a", "link-b"]), (&ends.b, "south", "north", ["link-b", "link-a"])]
    {
        let response = get(device, Some(caller), &format!("{peer}/status"));
        let status = Status::decode(response.body().as_ref(), Decoding::Strict).expect("a status");
        assert_eq!([status.source_kme.as_str(), status.target_kme.as_str()], ids);
        assert_eq!([status.master.as_str(), status.slave.as_str()], [caller, peer]);
        assert_eq!((status.key_size, status.min_key_size, status.max_key_size), (256, 256, 256));
        assert_eq!((status.stored_key_count, status.max_key_count), (20, 20));
        assert_eq!((status.max_key_per_request, status.max_sae_id_count), (8, 0));
    }
}

#[test]
fn what_one_end_draws_the_other_collects_once() {
    let ends = ends(false);
    for (master, master_kme, slave, slave_kme) in [(&ends.a, "north", &ends.b, "south"), (&ends.b, "south", &ends.a, "north")] {
        let drawn = keys(&get(master, Some(master_kme), &format!("{slave_kme}/enc_keys?number=3")));
        assert_eq!(drawn.len(), 3);
        assert!(drawn.iter().all(|(_, key)| key.len() == 32));
        let body = format!(r#"{{"key_IDs":[{{"key_ID":"{}"}},{{"key_ID":"{}"}}]}}"#, drawn[2].0, drawn[0].0);
        let path = format!("{master_kme}/dec_keys");
        assert_eq!(keys(&post(slave, slave_kme, &path, &body)), [drawn[2].clone(), drawn[0].clone()]);
        let again = post(slave, slave_kme, &path, &body);
        assert_eq!((again.status().as_u16(), message(&again).as_str()), (400, NOT_FOUND));
        // The third is still there, and the failed call has not taken it.
        let rest = format!("{path}?key_ID={}", drawn[1].0);
        assert_eq!(keys(&get(slave, Some(slave_kme), &rest)), [drawn[1].clone()]);
    }
    assert_eq!(ends.link.stored(End::A), 14);
}

#[test]
fn each_end_serves_its_own_kme_only() {
    let ends = ends(false);
    for (device, caller) in [(&ends.a, Some("south")), (&ends.a, Some("red")), (&ends.a, None), (&ends.b, Some("north"))] {
        for path in ["south/status", "south/enc_keys", "north/dec_keys?key_ID=x", "elsewhere"] {
            let response = get(device, caller, path);
            assert_eq!(response.status(), 401, "{caller:?} {path}");
            assert!(!message(&response).is_empty());
        }
    }
    assert_eq!(ends.link.stored(End::A), 20);
}

#[test]
fn wrong_requests_take_no_key() {
    let ends = ends(false);
    let own = keys(&get(&ends.a, Some("north"), "south/enc_keys"))[0].0;
    let own_key = format!("south/dec_keys?key_ID={own}");
    let unknown = "south/dec_keys?key_ID=00000000-0000-4000-8000-000000000000";
    for (path, status) in [
        ("elsewhere/status", 400),
        ("elsewhere/enc_keys", 400),
        ("north/enc_keys", 400),
        ("south/enc_keys?number=9", 400),
        ("south/enc_keys?number=0", 400),
        ("south/enc_keys?size=128", 400),
        ("south/enc_keys?size=512", 400),
        ("south/enc_keys?size=257", 400),
        (unknown, 400),
        ("south/dec_keys?key_ID=x", 400),
        (&own_key, 401),
        ("south/unheard_of", 404),
    ] {
        assert_eq!(get(&ends.a, Some("north"), path).status(), status, "{path}");
    }
    for (body, status) in [
        (r#"{"additional_slave_SAE_IDs":["east"]}"#, 400),
        (r#"{"extension_mandatory":[{"x_y":1}]}"#, 400),
        (r#"{"number":"#, 400),
    ] {
        assert_eq!(post(&ends.a, "north", "south/enc_keys", body).status(), status, "{body}");
    }
    assert_eq!(ends.link.stored(End::A), 19);
    // The key that its own master asked for is still there for the slave.
    assert_eq!(get(&ends.b, Some("south"), &format!("north/dec_keys?key_ID={own}")).status(), 200);
}

#[test]
fn an_empty_link_answers_503_until_it_has_keys_again() {
    let ends = ends(false);
    for _ in 0..2 {
        assert_eq!(get(&ends.a, Some("north"), "south/enc_keys?number=8").status(), 200);
    }
    assert_eq!(get(&ends.b, Some("south"), "north/enc_keys?number=5").status(), 503, "only 4 are left");
    assert_eq!(get(&ends.b, Some("south"), "north/enc_keys?number=4").status(), 200);
    let empty = get(&ends.a, Some("north"), "south/enc_keys");
    assert_eq!(empty.status(), 503);
    assert!(!message(&empty).is_empty());
    ends.link.set_rate(None);
    while ends.link.stored(End::B) == 0 {
        std::thread::yield_now();
    }
    assert_eq!(get(&ends.b, Some("south"), "north/enc_keys").status(), 200);
}

#[test]
fn a_full_store_at_the_other_end_answers_503() {
    let ends = ends(true);
    let draw = || {
        while ends.link.stored(End::A) < 20 {
            std::thread::yield_now();
        }
        get(&ends.a, Some("north"), "south/enc_keys?number=5")
    };
    for _ in 0..4 {
        assert_eq!(draw().status(), 200);
    }
    let refused = draw();
    assert_eq!(refused.status(), 503, "20 keys wait for south already");
    assert!(message(&refused).contains("collect"), "{}", message(&refused));
}
