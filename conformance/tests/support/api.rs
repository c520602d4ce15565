//! The three methods, with all the ways to get them wrong.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};

use super::{Asked, Said, State, Stored, lock};

const SAES: [(&str, &str); 4] = [("red", "kme-a"), ("blue", "kme-b"), ("green", "kme-b"), ("grey", "kme-b")];
/// Keys per request, least and greatest size in bits, additional slaves.
fn limits(fault: &str) -> (u64, u64, u64, usize) {
    match fault {
        "B19" | "M167" => (8, 256, 256, 2),
        "B20" => (1, 64, 1024, 2),
        "B22" => (1 << 31, 64, 1024, 2),
        "B40" | "M086" => (8, 64, 1024, 0),
        "M090" => (8, 64, 1024, 1),
        "B41" => (8, 64, 100_000, 2),
        "B50" => (8, 8, 1024, 2),
        _ => (8, 64, 1024, 2),
    }
}

fn default_size(fault: &str, caller: &str) -> u64 {
    match fault {
        "B50" => 8,
        "B57" if kme_of(caller) == Some("kme-b") => 512,
        _ => 256,
    }
}

fn json_said(status: u16, body: &Value) -> Said {
    let headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")];
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Said { status, headers, body: body.to_string().into_bytes() }
}

pub(crate) fn error(status: u16, message: &str) -> Said {
    json_said(status, &json!({ "message": message }))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digits = [rest.next()?, rest.next()?];
            octets.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

/// The answer, and what a fault makes of it.
pub(crate) fn answer(asked: &Asked, state: &Mutex<State>) -> Said {
    let mut state = lock(state);
    let fault = state.fault;
    let mut said = route(asked, &mut state);
    let is_error = said.status >= 400;
    let spoilt = |said: &mut Said, from: &str, to: &str| {
        said.body = String::from_utf8_lossy(&said.body).replace(from, to).into_bytes();
    };
    match fault {
        "H37" if asked.kme == "kme-b" && asked.target.ends_with("status") => said = error(503, "later"),
        "H38" if asked.kme == "kme-b" && asked.target.ends_with("status") => said = error(404, "for masters only"),
        "B62" if asked.method == "GET" && !asked.target.ends_with("status") => said = error(400, "POST only"),
        "B45" if asked.method == "GET" && !asked.target.ends_with("status") => said = error(404, "POST only"),
        "B46" if asked.target.contains("dec_keys") => said = error(503, "not now"),
        "B47" if said.body.ends_with(b"not JSON\"}") => said.status = 415,
        "B48" if is_error => spoilt(&mut said, "{\"message\"", "{\"details\":null,\"message\""),
        "B48" => {
            spoilt(&mut said, "{\"keys\"", "{\"key_container_extension\":null,\"keys\"");
            spoilt(&mut said, "{\"key_size\"", "{\"status_extension\":null,\"key_size\"");
        }
        "B52" if said.status == 200 => {
            let deep = format!("{{\"hx_deep\":{}{},\"key", "[".repeat(100), "]".repeat(100));
            spoilt(&mut said, "{\"key_size", &format!("{deep}_size"));
        }
        "B07" if said.status == 401 => said.body.clear(),
        "B13" => said.headers[0].1 = "Application/JSON; charset=utf-8".to_owned(),
        "B14" => {
            let value: Value = serde_json::from_slice(&said.body).expect("our own JSON");
            said.body = serde_json::to_vec_pretty(&value).expect("JSON");
        }
        "B15" if said.status == 400 && asked.method == "GET" => spoilt(&mut said, "unknown", "\\u00e9 inconnu \u{2603}"),
        "B16" if is_error => spoilt(&mut said, "{\"message\"", "{\"details\":[{\"a\":1},{\"b\":{\"c\":[null]}}],\"message\""),
        "B17" if said.status != 200 || asked.target.ends_with("status") => spoilt(&mut said, "{\"m", "{\"hx_extra\":{},\"m"),
        "B18" if said.status == 200 && asked.target.ends_with("status") => {
            spoilt(&mut said, "{\"key_size\"", "{\"status_extension\":{},\"key_size\"")
        }
        "M118" if is_error => spoilt(&mut said, "\"message\"", "\"detail\""),
        "M119" if is_error => {
            said.body = b"<html>no</html>".to_vec();
            said.headers[0].1 = "text/html".to_owned();
        }
        "M120" if is_error => said.body = br#"{"message":"no","details":["a"]}"#.to_vec(),
        "M121" if said.status == 400 && asked.method == "POST" => said.status = 422,
        "M127" if is_error => {
            said.body =
                json!({ "message": "cannot encode q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=" }).to_string().into_bytes()
        }
        "M128" if is_error => {
            said.body = json!({ "message": "Traceback (most recent call last): x.py" }).to_string().into_bytes()
        }
        "M129" => said.headers[0].1 = "text/plain".to_owned(),
        "M130" => said.body = [b"\xef\xbb\xbf", said.body.as_slice()].concat(),
        "M131" => spoilt(&mut said, "{\"keys\":", "{\"keys\":[],\"keys\":"),
        "M132" => said.body.extend(b" {}"),
        "M074" => said.headers[1].1 = "public, max-age=60".to_owned(),
        "M159" if asked.target.ends_with("/enc_keys") => {
            said.headers.push(("Access-Control-Allow-Origin".to_owned(), "https://page.example".to_owned()));
        }
        "M135" if asked.target.ends_with("/status") => {
            said = error(302, "elsewhere");
            said.headers.push(("Location".to_owned(), "http://127.0.0.1/status".to_owned()));
        }
        _ => super::odd::spoil(asked, &mut said, &state),
    }
    said
}

fn route(asked: &Asked, state: &mut State) -> Said {
    let fault = state.fault;
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let mut caller = asked.caller.clone();
    if fault == "M017" {
        let header = asked.headers.iter().find(|(name, _)| name == "x-sae-id");
        caller = header.map_or(caller, |(_, id)| id.clone());
    }
    if fault == "M161" && path.ends_with("dec_keys") {
        let header = asked.headers.iter().find(|(name, _)| name == "x-remote-user");
        caller = header.map_or(caller, |(_, id)| id.clone());
    }
    if matches!(fault, "M162" | "M174")
        && let Some(named) =
            serde_json::from_slice::<Value>(&asked.body).ok().and_then(|body| Some(body.get("SAE_ID")?.as_str()?.to_owned()))
    {
        caller = named;
    }
    if fault == "M022" {
        caller.clone_from(&state.latest);
    }
    if fault == "M016" {
        caller = "red".to_owned();
    }
    if fault == "M170" && query == "number=0" {
        return json_said(200, &json!({ "keys": [] }));
    }
    if !SAES.iter().any(|(id, _)| *id == caller) && fault != "M010" && !(fault == "M136" && path.starts_with("//")) {
        return error(401, "not enrolled");
    }
    let path = if fault == "M136" { path.trim_start_matches('/') } else { path.strip_prefix('/').unwrap_or(path) };
    let segments: Vec<_> = path.split('/').collect();
    let ["api", version, "keys", peer, method] = segments.as_slice() else { return error(404, "no such path") };
    if *version != "v1" && fault != "M125" {
        return error(404, "no such version");
    }
    let raw = *peer;
    let Some(mut peer) = percent_decoded(peer) else { return error(400, "bad path") };
    if fault == "M075"
        && let Some((_, last)) = peer.rsplit_once('/')
    {
        peer = last.to_owned();
    }
    let post = asked.method == "POST" || fault == "M126" && asked.method == "PUT";
    match (*method, post, asked.method == "GET") {
        ("status", false, true) => {
            let mut said = status(asked, &caller, &peer, state);
            if fault == "M030" {
                let text = String::from_utf8_lossy(&said.body);
                said.body = text.replace(&format!("\"{peer}\""), &format!("\"{raw}\"")).into_bytes();
            }
            said
        }
        ("status", true, _) if fault == "M038" => status(asked, &caller, &peer, state),
        ("enc_keys", false, true) if fault == "M041" => error(405, "POST only"),
        ("dec_keys", false, true) if fault == "M095" => error(405, "POST only"),
        ("enc_keys", false, true) => match from_query(query, &["number", "size"], fault) {
            Some(_) if fault == "M042" => supply(&caller, &peer, &json!({}), state),
            Some(request) if fault == "M157" => {
                let before: Vec<String> = state.keys.keys().cloned().collect();
                let said = supply(&caller, &peer, &request, state);
                state.keys.retain(|id, _| before.contains(id));
                said
            }
            Some(request) => supply(&caller, &peer, &request, state),
            None if fault == "M050" => supply(&caller, &peer, &json!({}), state),
            None => error(400, "bad query"),
        },
        ("dec_keys", false, true) => {
            let ids: Vec<_> = query.split('&').filter_map(|pair| pair.strip_prefix("key_ID=")).collect();
            match ids.as_slice() {
                [] if fault == "M116" => json_said(200, &json!({ "keys": [] })),
                [id] => collect(asked, &caller, &peer, &[(*id).to_owned()], state),
                [id, _] if fault == "M109" => collect(asked, &caller, &peer, &[(*id).to_owned()], state),
                _ => error(400, "one key_ID"),
            }
        }
        ("enc_keys", true, _) => match body(asked, fault) {
            Some(request) => supply(&caller, &peer, &request, state),
            None => error(400, "not JSON"),
        },
        ("dec_keys", true, _) => match serde_json::from_slice::<Value>(&asked.body) {
            Ok(request) => post_collect(asked, &caller, &peer, &request, state),
            Err(_) if fault == "M123" => error(500, "oops"),
            Err(_) => error(400, "not JSON"),
        },
        _ => error(405, "no such method"),
    }
}

fn body(asked: &Asked, fault: &str) -> Option<Value> {
    let read = match fault {
        "M140" => serde_json::from_str(&String::from_utf8_lossy(&asked.body)).ok(),
        _ => serde_json::from_slice::<Value>(&asked.body).ok(),
    };
    match read {
        Some(value) if value.is_object() => Some(value),
        Some(Value::Null | Value::Array(_)) if fault == "M124" => Some(json!({})),
        None if fault == "M122" => Some(json!({})),
        _ => None,
    }
}

fn from_query(query: &str, known: &[&str], fault: &str) -> Option<Value> {
    let mut request = serde_json::Map::new();
    for (name, value) in query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        if name == "additional_slave_SAE_IDs" && fault == "M072" {
            request.insert(name.to_owned(), json!([value]));
            continue;
        }
        let number: i64 = value.parse().ok()?;
        let before = request.get(name).and_then(Value::as_i64);
        if !known.contains(&name) || before.is_some() && fault != "M073" {
            return None;
        }
        request.insert(name.to_owned(), json!(number + before.unwrap_or(0)));
    }
    Some(Value::Object(request))
}

fn kme_of(sae: &str) -> Option<&'static str> {
    SAES.iter().find(|(id, _)| *id == sae).map(|(_, kme)| *kme)
}

fn status(asked: &Asked, caller: &str, peer: &str, state: &mut State) -> Said {
    let fault = state.fault;
    state.status_reads += 1;
    // No slave is a master; it has just started.
    if fault == "B58" && asked.kme == "kme-b" || fault == "B59" && state.began.elapsed() < Duration::from_millis(500) {
        return error(401, "not yet, or not at all");
    }
    let target = match kme_of(peer) {
        Some(target) => json!(target),
        None if fault == "M028" => json!(0),
        None if fault == "M168" && !peer.starts_with("nobody") => json!("kme-b"),
        None => return error(400, "unknown SAE"),
    };
    let mut stored = 1000_i64 - i64::try_from(state.count).unwrap_or(0);
    match fault {
        "M069" => stored = 900,
        "B41" => stored = 2,
        "B42" | "M165" => stored = 0,
        "B49" => stored = 1_000_000_000 - i64::try_from(state.began.elapsed().as_nanos() / 100).unwrap_or(0),
        _ => {}
    }
    if fault == "M036" {
        stored -= i64::try_from(state.status_reads).unwrap_or(0);
    }
    let (max_number, min_size, max_size, max_slaves) = limits(fault);
    let mut status = json!({
        "source_KME_ID": asked.kme, "target_KME_ID": target, "master_SAE_ID": caller, "slave_SAE_ID": peer,
        "key_size": 256, "stored_key_count": stored, "max_key_count": 1000, "max_key_per_request": max_number,
        "max_key_size": max_size, "min_key_size": min_size, "max_SAE_ID_count": max_slaves,
    });
    match fault {
        "M025" => drop(status.as_object_mut().and_then(|status| status.remove("target_KME_ID"))),
        "M026" => {
            status["source_kme_id"] = json!(asked.kme);
            status.as_object_mut().and_then(|status| status.remove("source_KME_ID"));
        }
        "M027" => status["key_size"] = json!("256"),
        "M029" => status["source_KME_ID"] = json!(""),
        "M031" if asked.kme == "kme-b" => status["target_KME_ID"] = json!("kme-b"),
        "M032" => status["max_key_size"] = json!(128),
        "M033" => status["stored_key_count"] = json!(-1),
        "M034" => status["max_key_per_request"] = json!(0),
        "M035" => status["max_SAE_ID_count"] = json!(5),
        "B50" | "B57" => status["key_size"] = json!(default_size(fault, caller)),
        "M037" => status["status_extension"] = json!("x"),
        _ => {}
    }
    json_said(if fault == "M024" { 201 } else { 200 }, &status)
}

fn whole(request: &Value, name: &str, default: u64, fault: &str) -> Option<u64> {
    match request.get(name) {
        None => Some(default),
        Some(Value::String(text)) if matches!((fault, name), ("M051", "number") | ("M054", "size")) => text.parse().ok(),
        Some(Value::Number(number)) if fault == "M051" && number.is_f64() && name == "number" => Some(1),
        Some(value) => value.as_u64(),
    }
}

fn extensions(request: &Value, name: &str, fault: &str) -> Result<bool, Said> {
    match request.get(name) {
        None => Ok(false),
        Some(Value::Array(list)) if list.is_empty() && fault == "M081" => Err(error(400, "empty")),
        Some(Value::Array(list)) if list.iter().all(Value::is_object) => Ok(!list.is_empty()),
        Some(_) if fault == "M085" => Ok(false),
        Some(_) => Err(error(400, "extensions are arrays of objects")),
    }
}

fn supply(caller: &str, peer: &str, request: &Value, state: &mut State) -> Said {
    supplied(caller, peer, request, state).unwrap_or_else(|said| said)
}

fn supplied(caller: &str, peer: &str, request: &Value, state: &mut State) -> Result<Said, Said> {
    let fault = state.fault;
    let (max_number, min_size, max_size, max_slaves) = limits(fault);
    state.asked += 1;
    if fault == "B21" && !state.asked.is_multiple_of(3) {
        return Err(error(503, "short of keys"));
    }
    if fault == "M172" && state.asked.is_multiple_of(3) {
        return Err(error(409, "a conflict"));
    }
    if fault == "B42" || fault == "B41" && request["size"].as_u64().is_some_and(|size| size > 512) {
        return Err(error(400, "Not enough key material available"));
    }
    if state.happened("drained") && fault != "M070" {
        return Err(error(503, "short of keys"));
    }
    let known = ["number", "size", "additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"];
    if fault == "B25" && request.as_object().is_some_and(|request| request.keys().any(|name| !known.contains(&name.as_str()))) {
        return Err(error(400, "unknown member"));
    }
    let anybody = fault == "M168" && !peer.starts_with("nobody");
    if (kme_of(peer).is_none() && fault != "M023" && !anybody) || peer == caller {
        return Err(error(400, "unknown slave"));
    }
    if fault == "M040" && request.get("number").is_none() {
        return Err(error(400, "number is required"));
    }
    let number = match whole(request, "number", 1, fault) {
        Some(0) if matches!(fault, "M048" | "B43") => return Ok(json_said(200, &json!({ "keys": [] }))),
        Some(number) if number > 0 && (number <= max_number || fault == "M047") => number,
        None if fault == "M049" && request["number"].is_i64() => 1,
        _ if fault == "B55" => return Err(error(503, "short of keys")),
        _ => return Err(error(400, "number")),
    };
    let number = if fault == "M043" { 1 } else { number };
    let number = if state.happened("drained") { number.min(1) } else { number };
    let size = match whole(request, "size", default_size(fault, caller), fault) {
        Some(257) if matches!(fault, "M055" | "M167") => 256,
        Some(size) if !size.is_multiple_of(8) && fault == "M056" => return Err(error(400, "size must be a multiple of 8")),
        Some(size) if !size.is_multiple_of(8) && fault != "B01" => return Err(error(400, "size shall be a multiple of 8")),
        Some(size)
            if (size >= min_size || fault == "M052" || fault == "B43" && size > 0)
                && (size <= max_size || matches!(fault, "M053" | "B43")) =>
        {
            size
        }
        _ if fault == "M166" => 256,
        _ => return Err(error(400, "size")),
    };
    let size = match fault {
        "M044" => 256,
        "M045" => size * 8,
        "M063" if size > 512 => size - 8,
        _ => size,
    };
    let optional = extensions(request, "extension_optional", fault)?;
    if optional
        && fault == "M080"
        && request["extension_optional"]
            .as_array()
            .is_some_and(|list| !list[0].as_object().is_some_and(|one| one.values().all(Value::is_string)))
    {
        return Err(error(500, "oops"));
    }
    let first = request["extension_mandatory"][0].as_object();
    let mandatory = first.and_then(|first| first.iter().find(|(name, _)| name.starts_with("hx_"))?.1.as_str());
    if let Some(path) = mandatory {
        match path {
            "direct" if fault == "M084" => return Err(error(400, "not all extension_mandatory parameters are supported")),
            "direct" => {}
            _ if fault == "M083" => {}
            _ => return Err(error(400, "not all extension_mandatory request options could be met")),
        }
    }
    if mandatory.is_none()
        && extensions(request, "extension_mandatory", fault)?
        && fault != "M076"
        && !(fault == "M082" && optional)
    {
        if fault == "M078" {
            state.count += 1;
        }
        let text = if fault == "M077" { "unknown extension" } else { "not all extension_mandatory parameters are supported" };
        return Err(error(400, text));
    }
    if optional && fault == "B03" {
        return Err(error(400, "not all extension_optional request options handled"));
    }
    if optional && fault == "M079" {
        return Err(error(400, "unknown optional extension"));
    }
    let mut slaves = vec![peer.to_owned()];
    match request.get("additional_slave_SAE_IDs") {
        None => {}
        Some(Value::Array(list)) => {
            for sae in list {
                let Some(sae) = sae.as_str() else { return Err(error(400, "SAE IDs are strings")) };
                if kme_of(sae).is_none() {
                    if fault == "M091" || fault == "M168" && !sae.starts_with("nobody") {
                        continue;
                    }
                    return Err(error(400, "unknown SAE"));
                }
                slaves.push(sae.to_owned());
            }
            if list.len() > max_slaves && !matches!(fault, "M086" | "M090") || list.is_empty() && fault == "B26" {
                return Err(error(400, "too many"));
            }
        }
        Some(Value::String(_)) if fault == "M092" => {}
        Some(_) => return Err(error(400, "a list")),
    }
    if fault == "M089" && slaves.len() > 1 {
        slaves.push("grey".to_owned());
    }
    if fault == "M068" {
        state.keys.clear();
    }
    let batch = state.count;
    let keys: Vec<Value> = (0..number).map(|_| one_key(caller, &slaves, size, batch, state)).collect();
    let name = if fault == "M057" { "Keys" } else { "keys" };
    let mut container = if fault == "M058" { json!({ name: keys[0] }) } else { json!({ name: keys }) };
    if fault == "M071" {
        container["key_container_extension"] = json!([]);
    }
    Ok(json_said(200, &container))
}

pub(crate) fn random_id() -> String {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).expect("random octets");
    let hex: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn one_key(caller: &str, slaves: &[String], size: u64, batch: u64, state: &mut State) -> Value {
    let fault = state.fault;
    state.count += 1;
    let mut octets = vec![0; usize::try_from(size.div_ceil(8)).unwrap_or(1)];
    aws_lc_rs::rand::fill(&mut octets).expect("random octets");
    match fault {
        "M065" => octets.fill(0),
        "M066" => octets.iter_mut().zip(0..).for_each(|(octet, index): (&mut u8, u8)| *octet = index),
        "M064" if state.last.is_some() && state.count.is_multiple_of(2) => octets = state.last.clone().expect("one before").1,
        _ => {}
    }
    if let Some(last) = octets.last_mut().filter(|_| !size.is_multiple_of(8)) {
        *last &= 0xff << (8 - size % 8);
    }
    let mut id = random_id();
    let raced = state.last_by.as_ref().is_some_and(|(by, at)| by != caller && at.elapsed() < Duration::from_millis(100));
    state.last_by = Some((caller.to_owned(), Instant::now()));
    match fault {
        "M156" if raced => (id, octets) = state.last.clone().expect("one before"),
        "M158" => {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &octets);
            let hex: String = hash.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
            id = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]);
        }
        "M059" => id = state.count.to_string(),
        "M060" if state.last.is_some() && state.count.is_multiple_of(2) => id = state.last.clone().expect("one before").0,
        "M150" if state.put_back.is_some() => (id, octets) = state.put_back.take().expect("one put back"),
        "M067" if state.last.is_some() && state.count.is_multiple_of(2) => (id, octets) = state.last.clone().expect("one before"),
        _ => {}
    }
    state.last = Some((id.clone(), octets.clone()));
    let text = match fault {
        "M061" => Base64UrlUnpadded::encode_string(&octets),
        "M062" => octets.iter().map(|octet| format!("{octet:02x}")).collect(),
        _ => Base64::encode_string(&octets),
    };
    let key = Stored {
        octets,
        master: caller.to_owned(),
        slaves: slaves.to_vec(),
        taken: std::collections::BTreeSet::new(),
        since: Instant::now(),
        batch,
    };
    state.keys.insert(id.clone(), key);
    let id = if fault == "B10" { id.to_ascii_uppercase() } else { id };
    let mut key = json!({ "key_ID": id, "key": text });
    if fault == "B18" {
        key["key_extension"] = json!({ "hx_a": 1 });
        key["key_ID_extension"] = json!({});
    }
    key
}

const NOT_FOUND: &str = "one or more keys specified are not found on KME";

fn post_collect(asked: &Asked, caller: &str, peer: &str, request: &Value, state: &mut State) -> Said {
    let fault = state.fault;
    if fault == "M108" && request.get("key_IDs_extension").is_some() {
        return error(400, "unknown member");
    }
    let Some(list) = request.get("key_IDs").and_then(Value::as_array) else {
        return if fault == "M106" { error(500, "oops") } else { error(400, "key_IDs") };
    };
    if fault == "M169" && list.is_empty() {
        let entitled = state.keys.values().any(|key| key.slaves.iter().any(|slave| slave == caller) && key.taken.is_empty());
        return if entitled { json_said(200, &json!({ "keys": [] })) } else { error(401, "no key of yours") };
    }
    if list.is_empty() && fault != "M105" {
        return error(400, "key_IDs is empty");
    }
    if list.len() > 3 && fault == "M114" {
        return error(400, "too many");
    }
    let mut ids = Vec::new();
    for item in list {
        let id = if fault == "M107" { item.as_str().or(item["key_ID"].as_str()) } else { item["key_ID"].as_str() };
        let Some(id) = id else { return error(400, "key_ID") };
        ids.push(id.to_owned());
    }
    collect(asked, caller, peer, &ids, state)
}

fn collect(asked: &Asked, caller: &str, peer: &str, ids: &[String], state: &mut State) -> Said {
    let fault = state.fault;
    let ids: Vec<_> = ids.iter().map(|id| id.to_ascii_lowercase()).collect();
    if fault == "M104" && ids.iter().any(|id| id.len() != 36) {
        return error(500, "oops");
    }
    let gone = |key: &Stored| {
        let taken = if fault == "M088" { !key.taken.is_empty() } else { key.taken.contains(caller) };
        taken && fault != "M103"
    };
    let refused = match fault {
        "M098" => error(404, NOT_FOUND),
        "M117" if state.happened("later") => error(403, "expired"),
        "B44" if ids.iter().filter_map(|id| state.keys.get(id)).any(|key| key.since.elapsed() < Duration::from_millis(150)) => {
            error(503, "perhaps later")
        }
        "M100" => error(400, "Key not found"),
        _ => error(400, NOT_FOUND),
    };
    let mut keys = Vec::new();
    let mut wrong = false;
    for (index, id) in ids.iter().enumerate() {
        let Some(key) = state.keys.get(id) else {
            if fault == "M099" {
                keys.push(json!({ "key_ID": id, "key": Base64::encode_string(&[7, 1, 9, 200, 33, 6, 78, 90]) }));
            }
            wrong |= !matches!(fault, "M099" | "M101" | "M163");
            continue;
        };
        let checked = fault != "M018" && !(fault == "M019" && index > 0);
        if checked && !key.slaves.iter().any(|slave| slave == caller) {
            if fault == "M020" {
                state.keys.remove(id);
            }
            return error(401, "not yours");
        }
        let wait = match fault {
            "M110" => 3000,
            "B29" => 500,
            "B44" | "M163" | "M164" => 150,
            _ => 0,
        };
        let early = key.since.elapsed() < Duration::from_millis(wait);
        let one_way = fault == "M113" && key.master == "blue" || fault == "M111" && kme_of(&key.master) == kme_of(caller);
        if fault == "M174" && key.master != peer {
            return error(401, "not a key of that master");
        }
        if gone(key) || (key.master != peer && fault != "M021") || early || one_way || state.happened("later") {
            wrong = true;
            continue;
        }
        let mut octets = key.octets.clone();
        if (fault == "M093" && asked.method == "POST")
            || (fault == "M094" && asked.method == "GET")
            || (fault == "M087" && caller == "green")
        {
            octets[0] ^= 1;
        }
        // Under load: not for the first keys of a run.
        if fault == "M152" && state.count > 10 {
            octets[0] ^= 1;
        }
        if fault == "M154" && state.happened("restarted") {
            octets[0] ^= 1;
        }
        let id = if fault == "B10" { id.to_ascii_uppercase() } else { id.clone() };
        keys.push(json!({ "key_ID": id, "key": Base64::encode_string(&octets) }));
    }
    if fault == "B12" {
        keys.reverse();
    }
    if wrong {
        if fault == "M102" || fault == "M164" && ids.iter().any(|id| state.keys.contains_key(id)) && ids.len() > 1 {
            ids.iter().for_each(|id| drop(state.keys.remove(id)));
        }
        return refused;
    }
    if fault == "M096" {
        keys.truncate(1);
    }
    if fault == "M097" && keys.len() > 1 {
        let first = keys[0]["key_ID"].take();
        keys[0]["key_ID"] = keys[1]["key_ID"].take();
        keys[1]["key_ID"] = first;
    }
    let batches: Vec<u64> = ids.iter().filter_map(|id| state.keys.get(id)).map(|key| key.batch).collect();
    if fault == "M115" {
        state.keys.retain(|_, key| !batches.contains(&key.batch));
    }
    for id in &ids {
        if let Some(key) = state.keys.get_mut(id) {
            key.taken.insert(caller.to_owned());
        }
    }
    json_said(200, &json!({ "keys": keys }))
}
