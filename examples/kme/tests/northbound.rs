//! The interface to SAEs, ETSI GS QKD 014, of two KMEs: what the standard promises to masters and slaves.

#![allow(missing_docs)]

mod support;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use serde_json::{Value, json};
use support::{Answer, Kme, Settings, Site, eventually};
use tokio::task::JoinSet;

const NOT_FOUND: &str = "one or more keys specified are not found on KME";

fn ids(keys: &[(String, String)]) -> Vec<&str> {
    keys.iter().map(|(id, _)| id.as_str()).collect()
}

fn refused(answer: &Answer, status: u16, message: &str) {
    assert_eq!((answer.status, answer.message().as_str()), (status, message));
}

#[tokio::test]
async fn status_describes_the_pair_and_changes_nothing() {
    let site = Site::shared();
    let white = site.sae("white");
    let stored = white.stored_when_steady("green").await;
    let status = white.status("green").await;
    let expected = json!({
        "source_KME_ID": "north", "target_KME_ID": "south", "master_SAE_ID": "white", "slave_SAE_ID": "green",
        "key_size": 256, "stored_key_count": stored, "max_key_count": status["max_key_count"], "max_key_per_request": 128,
        "max_key_size": 4096, "min_key_size": 64, "max_SAE_ID_count": 4,
    });
    assert_eq!(status, expected);
    assert!(status["max_key_count"].as_u64() >= Some(stored));
    for _ in 0..20 {
        assert_eq!(white.status("green").await, expected);
    }
    refused(&white.get("nobody/status").await, 400, "unknown SAE ID");
}

#[tokio::test]
async fn a_slave_collects_what_its_master_was_given_once() {
    let site = Site::shared();
    // Across the link in both ways, and within one KME.
    for (master, slave) in [("red", "blue"), ("blue", "red"), ("green", "grey"), ("red", "white")] {
        let (master, slave) = (site.sae(master), site.sae(slave));
        let drawn = master.draw(&slave.id, json!({ "number": 3 })).await;
        assert_eq!(drawn.len(), 3);
        // In another order than drawn: the answer is in the order asked for.
        let wanted: Vec<_> = drawn.iter().rev().cloned().collect();
        assert!(slave.collect(&master.id, &ids(&wanted)).await.keys() == wanted, "{} to {}", master.id, slave.id);
        refused(&slave.collect(&master.id, &ids(&drawn)).await, 400, NOT_FOUND);
        for (id, _) in &drawn {
            refused(&slave.get(&format!("{}/dec_keys?key_ID={id}", master.id)).await, 400, NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn get_and_post_do_the_same() {
    let site = Site::shared();
    let (red, blue) = (site.sae("red"), site.sae("blue"));
    red.draw("blue", json!({})).await;
    for (query, number, octets) in [("", 1, 32), ("?number=4", 4, 32), ("?size=512", 1, 64), ("?size=128&number=2", 2, 16)] {
        let drawn = red.get(&format!("blue/enc_keys{query}")).await.keys();
        assert_eq!(drawn.len(), number, "{query}");
        for key in drawn {
            assert_eq!(octets_of(&key.1), octets, "{query}");
            assert!(blue.get(&format!("red/dec_keys?key_ID={}", key.0)).await.keys() == [key]);
        }
    }
    // A POST without octets is an empty request; SAE IDs and queries may be percent-encoded.
    assert_eq!(red.post("blue/enc_keys", "").await.keys().len(), 1);
    assert_eq!(red.get("%62lu%65/enc_keys?n%75mber=2").await.keys().len(), 2);
}

#[tokio::test]
async fn keys_have_the_size_asked_for() {
    let site = Site::shared();
    let (red, grey) = (site.sae("red"), site.sae("grey"));
    for bits in [64, 72, 128, 192, 256, 264, 512, 1000, 1024, 2048, 4088, 4096] {
        let drawn = red.draw("grey", json!({ "size": bits, "number": 2 })).await;
        assert!(drawn.iter().all(|(_, key)| octets_of(key) == bits / 8), "{bits}");
        assert!(grey.collect("red", &ids(&drawn)).await.keys() == drawn, "{bits}");
    }
}

#[tokio::test]
async fn many_keys_come_at_once() {
    let site = Site::shared();
    let (red, green) = (site.sae("red"), site.sae("green"));
    for number in [16, 17, 64, 128] {
        let drawn = red.draw("green", json!({ "number": number })).await;
        let distinct: BTreeSet<_> = drawn.iter().flat_map(|(id, key)| [id, key]).collect();
        assert_eq!(distinct.len(), 2 * number, "no ID and no key twice");
        assert!(green.collect("red", &ids(&drawn)).await.keys() == drawn);
    }
}

#[tokio::test]
async fn each_of_several_slaves_collects_once_in_any_order() {
    let site = Site::shared();
    let red = site.sae("red");
    // At two KMEs, one of them the master's own.
    for order in [["blue", "green", "white"], ["white", "blue", "green"], ["green", "white", "blue"]] {
        let drawn = red.draw("blue", json!({ "number": 2, "additional_slave_SAE_IDs": ["green", "white"] })).await;
        for slave in order {
            let slave = site.sae(slave);
            assert!(slave.collect("red", &ids(&drawn)).await.keys() == drawn, "{}", slave.id);
            refused(&slave.collect("red", &ids(&drawn)).await, 400, NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn an_sae_is_its_own_slave_only_where_that_is_allowed() {
    let site = Site::shared();
    let red = site.sae("red");
    let message = "the calling SAE cannot be a slave of its own keys";
    refused(&red.get("red/enc_keys").await, 400, message);
    refused(&red.post("blue/enc_keys", r#"{"additional_slave_SAE_IDs":["red"]}"#).await, 400, message);

    let site = Site::start(Settings { northbound: "self_as_slave = true", ..Settings::default() });
    let red = site.sae("red");
    let drawn = red.draw("red", json!({ "number": 2 })).await;
    assert!(red.collect("red", &ids(&drawn)).await.keys() == drawn);
    refused(&red.collect("red", &ids(&drawn)).await, 400, NOT_FOUND);
}

#[tokio::test]
async fn keys_of_others_are_refused_and_stay_for_their_slave() {
    let site = Site::shared();
    let [red, white, blue, green] = ["red", "white", "blue", "green"].map(|sae| site.sae(sae));
    let for_blue = red.draw("blue", json!({ "number": 2 })).await;
    let for_green = red.draw("green", json!({ "number": 2 })).await;
    let for_white = red.draw("white", json!({})).await;
    let message = "the SAE is not entitled to every key specified";
    refused(&green.collect("red", &ids(&for_blue)).await, 401, message);
    refused(&blue.collect("red", &ids(&for_white)).await, 400, NOT_FOUND);
    // The master itself is no slave.
    refused(&red.collect("red", &ids(&for_white)).await, 401, message);
    refused(&red.collect("red", &ids(&for_blue)).await, 401, message);
    // One's own do not help, in no order.
    for mixed in [[&for_blue[0].0, &for_green[0].0], [&for_green[0].0, &for_blue[0].0]] {
        refused(&green.collect("red", &mixed.map(String::as_str)).await, 401, message);
    }
    assert!(blue.collect("red", &ids(&for_blue)).await.keys() == for_blue);
    assert!(green.collect("red", &ids(&for_green)).await.keys() == for_green);
    assert!(white.collect("red", &ids(&for_white)).await.keys() == for_white);
}

#[tokio::test]
async fn the_master_in_the_path_is_that_of_the_keys() {
    let site = Site::shared();
    let (red, blue) = (site.sae("red"), site.sae("blue"));
    let drawn = red.draw("blue", json!({ "number": 2 })).await;
    for master in ["white", "green", "blue", "nobody"] {
        refused(&blue.collect(master, &ids(&drawn)).await, 400, NOT_FOUND);
    }
    assert!(blue.collect("red", &ids(&drawn)).await.keys() == drawn);
}

#[tokio::test]
async fn all_keys_are_delivered_or_none() {
    let site = Site::shared();
    let (red, blue) = (site.sae("red"), site.sae("blue"));
    let drawn = red.draw("blue", json!({ "number": 3 })).await;
    let never_was = "0957365e-4b8d-8f95-8a8f-de3d60199dbb";
    // Neither a made-up ID, nor one that is collected, nor one in no form at all.
    assert!(blue.collect("red", &ids(&drawn[..1])).await.keys() == drawn[..1]);
    for missing in [never_was, &drawn[0].0] {
        for wanted in [[missing, &drawn[1].0, &drawn[2].0], [&drawn[1].0, &drawn[2].0, missing]] {
            let answer = blue.collect("red", &wanted).await;
            refused(&answer, 400, NOT_FOUND);
            assert_eq!(answer.json()["details"], json!([{ "key_ID": missing }]));
        }
    }
    refused(&blue.collect("red", &[&drawn[1].0, "five"]).await, 400, NOT_FOUND);
    // Twice in one request, whatever the letters.
    let shouted = drawn[1].0.to_uppercase();
    for twice in [&drawn[1].0, &shouted] {
        assert_eq!(blue.collect("red", &[&drawn[1].0, twice]).await.status, 400);
    }
    assert!(blue.collect("red", &[&shouted]).await.keys() == [(shouted.clone(), drawn[1].1.clone())]);
    assert!(blue.collect("red", &ids(&drawn[2..])).await.keys() == drawn[2..]);
}

#[tokio::test]
async fn of_many_fetches_at_once_one_succeeds() {
    let site = Site::shared();
    for round in 0..5 {
        let (red, blue) = (site.sae("red"), site.sae("blue"));
        let (id, key) = red.draw("blue", json!({})).await.remove(0);
        let mut fetches = JoinSet::new();
        for _ in 0..20 {
            let (blue, id) = (if round % 2 == 0 { blue.clone() } else { blue.reconnected() }, id.clone());
            fetches.spawn(async move { blue.collect("red", &[&id]).await });
        }
        let answers = fetches.join_all().await;
        let (given, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(given.len(), 1);
        assert!(given[0].keys() == [(id, key)]);
        others.iter().for_each(|answer| refused(answer, 400, NOT_FOUND));
    }
}

#[tokio::test]
async fn masters_at_once_are_given_different_keys() {
    let site = Site::shared();
    let mut draws = JoinSet::new();
    for number in 1..=24 {
        let red = site.sae("red");
        draws.spawn(async move { red.draw("blue", json!({ "number": number % 7 + 1, "size": 64 + 8 * number })).await });
    }
    let drawn: Vec<_> = draws.join_all().await.concat();
    let distinct: BTreeSet<_> = drawn.iter().flat_map(|(id, key)| [id, key]).collect();
    assert_eq!(distinct.len(), 2 * drawn.len());
    for some in drawn.chunks(100) {
        assert!(site.sae("blue").collect("red", &ids(some)).await.keys() == some);
    }
}

#[tokio::test]
async fn what_was_promised_outlives_both_kmes() {
    for durability in ["lease", "strict"] {
        let site = Site::start(Settings { durability, ..Settings::default() });
        let drawn = site.sae("red").draw("blue", json!({ "number": 5, "additional_slave_SAE_IDs": ["white"] })).await;
        assert!(site.sae("blue").collect("red", &ids(&drawn[..2])).await.keys() == drawn[..2]);
        for kme in Kme::BOTH {
            site.stop_kme(kme);
        }
        for kme in Kme::BOTH {
            site.spawn_kme(kme);
            site.await_kme(kme);
        }
        refused(&site.sae("blue").collect("red", &ids(&drawn[..2])).await, 400, NOT_FOUND);
        assert!(site.sae("blue").collect("red", &ids(&drawn[2..])).await.keys() == drawn[2..]);
        assert!(site.sae("white").collect("red", &ids(&drawn)).await.keys() == drawn);
        site.sae("red").draw("blue", json!({})).await;
    }
}

#[tokio::test]
async fn a_quota_holds_for_one_sae_and_spends_nothing() {
    let quota = "keys_per_second = 0.001\nburst_seconds = 10000";
    let northbound = "max_keys_per_request = 10";
    let site = Site::start(Settings { quota, northbound, ..Settings::default() });
    let (red, white) = (site.sae("red"), site.sae("white"));
    let stored = red.stored_when_steady("blue").await;
    let drawn = red.draw("blue", json!({ "number": 10 })).await;
    refused(&red.get("blue/enc_keys").await, 503, "the quota of the SAE is exceeded");
    refused(&red.post("green/enc_keys", r#"{"number":10}"#).await, 503, "the quota of the SAE is exceeded");
    assert!(red.stored("blue").await >= stored - 10, "what is refused is not spent");
    assert!(site.sae("blue").collect("red", &ids(&drawn)).await.keys() == drawn, "the slave's share is not the master's");
    assert_eq!(white.draw("blue", json!({ "number": 10 })).await.len(), 10, "others have their own");
}

#[tokio::test]
async fn without_the_link_what_is_there_is_supplied_and_then_refused() {
    for durability in ["lease", "strict"] {
        let pool = "patience = \"200ms\"";
        let site = Site::start(Settings { durability, pool, ..Settings::default() });
        let (red, blue) = (site.sae("red"), site.sae("blue"));
        red.stored_when_steady("blue").await;
        site.set_link_rate(Some(0.0));
        let mut drawn = Vec::new();
        // What the link's devices and the KMEs hold lasts for a while.
        let message = eventually("no more keys", async || {
            let answer = red.get("blue/enc_keys?number=128&size=4096").await;
            if answer.status == 200 {
                drawn.extend(answer.keys());
                return None;
            }
            (answer.status == 503).then(|| answer.message())
        })
        .await;
        assert_eq!(message, "not enough keys are stored");
        // Less is there yet; more than that is refused as a whole.
        let left = red.stored_when_steady_or_none("blue").await;
        if let Some(too_many) = NonZeroU32::new(left as u32 + 1).filter(|number| number.get() <= 128) {
            refused(&red.get(&format!("blue/enc_keys?number={too_many}")).await, 503, "not enough keys are stored");
            assert_eq!(red.stored("blue").await, left, "nothing half-delivered");
        }
        for some in drawn.chunks(128) {
            assert!(blue.collect("red", &ids(some)).await.keys() == some, "what was supplied is there");
        }
        // Within one KME no link is needed.
        site.sae("green").draw("grey", json!({})).await;

        site.set_link_rate(None);
        let drawn = red.draw("blue", json!({ "number": 20 })).await;
        assert!(blue.collect("red", &ids(&drawn)).await.keys() == drawn);
    }
}

#[tokio::test]
async fn operators_see_health_figures_and_the_description() {
    let site = Site::shared();
    let red = site.sae("red");
    red.draw("blue", json!({ "number": 2 })).await;
    for kme in Kme::BOTH {
        assert_eq!(site.ask_admin(kme, "GET", "/healthz"), (200, "ok\n".to_owned()));
        let (status, description) = site.ask_admin(kme, "GET", "/openapi.json");
        let description: Value = serde_json::from_str(&description).expect("JSON");
        assert_eq!(status, 200);
        let paths = description["paths"].as_object().expect("paths");
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert_eq!(site.ask_admin(kme, "GET", "/").0, 404);
        assert_eq!(site.ask_admin(kme, "POST", "/metrics").0, 405);
        // Operators are not SAEs.
        assert_eq!(site.ask_admin(kme, "GET", "/api/v1/keys/blue/status").0, 404);
    }
    let (status, metrics) = site.ask_admin(Kme::North, "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    assert!(metrics.contains(r#"operation="enc_keys""#) && metrics.contains("X25519MLKEM768"), "{metrics}");
    for id in ["\"red\"", "\"blue\""] {
        assert!(!metrics.contains(id), "no SAE ID in {metrics}");
    }
}

#[tokio::test]
async fn every_delivery_and_refusal_is_audited() {
    let site = Site::start(Settings::default());
    let (red, blue, green) = (site.sae("red"), site.sae("blue"), site.sae("green"));
    let drawn = red.draw("blue", json!({ "number": 2, "size": 512 })).await;
    green.collect("red", &ids(&drawn)).await;
    blue.collect("red", &ids(&drawn)).await;
    blue.collect("red", &ids(&drawn)).await;
    red.get("nobody/enc_keys").await;
    let too_large = "POST /api/v1/keys/blue/enc_keys HTTP/1.1\r\nhost: north\r\ncontent-length: 2000000000\r\n\r\n";
    assert!(red.exchange(too_large).await.starts_with("HTTP/1.1 413"));
    site.client(Some("unenrolled"), Kme::North).get("blue/status").await;

    let key_ids = json!(ids(&drawn));
    let not_entitled = "the SAE is not entitled to every key specified";
    let given = |sae: &str, other: &str, operation: &str| json!({ "sae": sae, "other_sae": other, "operation": operation, "status": 200, "key_ids": key_ids, "bits": 512 });
    let refusal = |sae: Value, other: Value, operation: &str, status: u16, refusal: &str| json!({ "sae": sae, "other_sae": other, "operation": operation, "status": status, "refusal": refusal });
    // Which keys somebody asked for in vain is told as well.
    let refused_keys = |sae: &str, status: u16, message: &str| {
        let mut record = refusal(json!(sae), json!("red"), "dec_keys", status, message);
        record["key_ids"] = key_ids.clone();
        record
    };
    let at_south =
        [refused_keys("green", 401, not_entitled), given("blue", "red", "dec_keys"), refused_keys("blue", 400, NOT_FOUND)];
    let at_north = [
        given("red", "blue", "enc_keys"),
        refusal(json!("red"), Value::Null, "enc_keys", 400, "unknown SAE ID"),
        refusal(json!("red"), Value::Null, "unknown", 413, "the request body is too large"),
        refusal(Value::Null, Value::Null, "status", 401, "the SAE is not authenticated"),
    ];
    for (kme, expected) in [(Kme::North, &at_north[..]), (Kme::South, &at_south[..])] {
        // Written some milliseconds after the answer; waiting for keys at first may have been refused with 503.
        let records = eventually("the records", async || {
            let records = records(&site.audit(kme));
            (records.len() >= expected.len()).then_some(records)
        })
        .await;
        assert_eq!(records, expected, "{}", kme.id());
    }
}

/// The records, without their times, and without those of requests that came too early.
fn records(audit: &str) -> Vec<Value> {
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).expect("JSON");
        assert!(record.as_object_mut().and_then(|record| record.remove("at_ms")).is_some_and(|at| at.is_u64()));
        record
    };
    audit.lines().map(record).filter(|record| record["status"] != 503).collect()
}

fn octets_of(base64: &str) -> usize {
    assert!(base64.len().is_multiple_of(4));
    base64.len() / 4 * 3 - base64.bytes().rev().take_while(|letter| *letter == b'=').count()
}
