//! The SAE's end: the requests of the operations, what is checked of answers, and the client against a KME in memory.

mod support;

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use etsi014::client::{CallError, Mandated, Refusal};
use etsi014::{
    BaseUrl, Body, Call, Client, ClientError, Decoding, Form, GetKey, GetKeyWithKeyIds, GetStatus, Key, KeyContainer, KeyIds,
    KeyMaterial, KeyRequest, Limits, Operation, Parties, Rejection, Reply, Transport, answer,
};
use http::{Request, Response};
use proptest::prelude::*;
use support::*;

use Decoding::{Lenient, Strict};
use Form::{GetWhereAllowed, Post};

fn get_key(request: KeyRequest) -> GetKey {
    GetKey { slave: sae("sae blue/1"), request }
}

fn dec_keys(ids: &[&str]) -> GetKeyWithKeyIds {
    GetKeyWithKeyIds { master: sae("red"), key_ids: ids.iter().map(|id| key_id(id)).collect() }
}

fn line(request: &Request<Body>) -> String {
    let body = std::str::from_utf8(request.body().as_ref()).expect("UTF-8");
    format!("{} {} {body}", request.method(), request.uri()).trim_end().to_owned()
}

#[test]
fn operations_make_requests() {
    let status = GetStatus { slave: sae("grün") };
    for form in [Post, GetWhereAllowed] {
        let request = status.to_http(form);
        assert_eq!(line(&request), "GET /api/v1/keys/gr%C3%BCn/status");
        assert!(!request.headers().contains_key("content-type"));
        assert_eq!(request.headers()["accept"], "application/json");
    }

    let path = "/api/v1/keys/sae%20blue%2F1/enc_keys";
    let both = KeyRequest::new(count(3), bits(512));
    let size = KeyRequest { size: Some(bits(257)), ..KeyRequest::default() };
    let slaves = KeyRequest { additional_slaves: vec![sae("green")], ..both.clone() };
    let mandatory = KeyRequest { extension_mandatory: vec![object(r#"{"hx_a":1}"#)], ..KeyRequest::default() };
    let optional = KeyRequest { extension_optional: vec![object(r#"{"hx_a":1}"#)], ..KeyRequest::default() };
    for (request, form, expected) in [
        (&KeyRequest::default(), GetWhereAllowed, format!("GET {path}")),
        (&KeyRequest::default(), Post, format!("POST {path} {{}}")),
        (&both, GetWhereAllowed, format!("GET {path}?number=3&size=512")),
        (&both, Post, format!(r#"POST {path} {{"number":3,"size":512}}"#)),
        (&size, GetWhereAllowed, format!("GET {path}?size=257")),
        (&slaves, GetWhereAllowed, format!(r#"POST {path} {{"number":3,"size":512,"additional_slave_SAE_IDs":["green"]}}"#)),
        (&mandatory, GetWhereAllowed, format!(r#"POST {path} {{"extension_mandatory":[{{"hx_a":1}}]}}"#)),
        (&optional, GetWhereAllowed, format!(r#"POST {path} {{"extension_optional":[{{"hx_a":1}}]}}"#)),
    ] {
        let request = get_key(request.clone()).to_http(form);
        assert_eq!(line(&request), expected);
        assert_eq!(request.headers().contains_key("content-type"), expected.starts_with("POST"));
    }
}

#[test]
fn key_ids_go_by_get_only_alone_and_without_extension() {
    let path = "/api/v1/keys/red/dec_keys";
    let one = dec_keys(&[ID_1]);
    assert_eq!(line(&one.to_http(GetWhereAllowed)), format!("GET {path}?key_ID={ID_1}"));
    let body = format!(r#"{{"key_IDs":[{{"key_ID":"{ID_1}"}}]}}"#);
    assert_eq!(line(&one.to_http(Post)), format!("POST {path} {body}"));
    let mut of_all = one.clone();
    of_all.key_ids.extension = Some(object("{}"));
    let mut of_one = one;
    of_one.key_ids.keys[0].extension = Some(object("{}"));
    for operation in [dec_keys(&[]), dec_keys(&[ID_1, ID_2]), of_all, of_one] {
        let request = operation.to_http(GetWhereAllowed);
        assert_eq!((request.method().as_str(), request.uri().query()), ("POST", None));
    }
}

fn response(status: u16, body: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    Response::builder().status(status).header("content-type", "application/json").body(body.into()).expect("a response")
}

fn container(ids: &[&str], octets: usize) -> Response<Vec<u8>> {
    let container: KeyContainer = ids.iter().map(|id| key(id, &vec![7; octets])).collect();
    response(200, container.encode().as_ref())
}

#[test]
fn keys_must_be_as_many_and_as_large_as_asked() {
    let two = get_key(KeyRequest::new(count(2), bits(128)));
    assert_eq!(two.read_http(&container(&[ID_1, ID_2], 16), Strict).expect("as asked").keys.len(), 2);
    for (answer, error) in [
        (container(&[ID_1], 16), "1 keys instead of 2"),
        (container(&[], 16), "0 keys instead of 2"),
        (container(&[ID_1, ID_2, ID_3], 16), "3 keys instead of 2"),
        (container(&[ID_1, &ID_1.to_uppercase()], 16), &format!("the key ID {} occurs twice", ID_1.to_uppercase())),
    ] {
        assert_eq!(two.read_http(&answer, Lenient).expect_err(error).to_string(), error);
    }
    let error = two.read_http(&container(&[ID_1, ID_2], 32), Lenient).expect_err("256 bits");
    assert!(error.to_string().starts_with("unreadable answer: key: not of the size asked for"), "{error}");
    // nothing asked: one key, of whatever size the KME has
    let any = get_key(KeyRequest::default());
    assert!(any.read_http(&container(&[ID_1], 5), Strict).is_ok());
    assert!(any.read_http(&container(&[ID_1, ID_2], 5), Strict).is_err());
}

#[test]
fn keys_are_matched_by_id() {
    let asked = dec_keys(&[ID_1, ID_2]);
    let got = asked.read_http(&container(&[&ID_2.to_uppercase(), ID_1], 16), Strict).expect("both");
    assert_eq!(got.keys.iter().map(|key| key.id).collect::<Vec<_>>(), [key_id(ID_1), key_id(ID_2)]);
    for (answer, matches) in [
        (container(&[ID_1], 16), (|error| matches!(error, CallError::MissingKey(id) if id == key_id(ID_2))) as fn(_) -> bool),
        (container(&[ID_1, ID_2, ID_3], 16), |error| matches!(error, CallError::UnaskedKey(id) if id == key_id(ID_3))),
        (container(&[ID_1, ID_2, ID_1], 16), |error| matches!(error, CallError::DuplicateKey(id) if id == key_id(ID_1))),
    ] {
        assert!(matches(asked.read_http(&answer, Lenient).expect_err("not as asked")));
    }
}

#[test]
fn refusals_carry_status_and_message() {
    let operation = dec_keys(&[ID_1]);
    let refusal = |status, body: &str| -> Refusal {
        let error = operation.read_http(&response(status, body), Lenient).expect_err("refused");
        error.refusal().expect("a refusal").clone()
    };
    let literal = r#"{"message":"one or more keys specified are not found on KME","details":[{"key_ID":"x"}]}"#;
    let not_found = refusal(400, literal);
    assert_eq!(not_found.mandated(), Some(Mandated::KeysNotFound));
    assert_eq!(not_found.details(), [object(r#"{"key_ID":"x"}"#)]);
    assert_eq!(refusal(404, literal).mandated(), None);
    assert_eq!(refusal(400, r#"{"message":"One or more keys"}"#).mandated(), None);
    assert_eq!(refusal(401, "").to_string(), "the KME refused with status 401");
    assert_eq!(refusal(503, "<html>").message(), None);
    assert_eq!(refusal(422, r#"{"detail":"no"}"#).to_string(), "the KME refused with status 422: no");
    let long = refusal(503, &format!(r#"{{"message":"\u001b[2J\n{}"}}"#, "x".repeat(1000)));
    let message = long.message().expect("an Error body");
    assert!(message.chars().count() == 256 && message.starts_with(" [2J x"), "{message}");
}

#[test]
fn other_statuses_are_no_success() {
    let operation = get_key(KeyRequest::default());
    for status in [201, 202, 204, 206, 301, 304] {
        let error = operation.read_http(&response(status, container(&[ID_1], 8).into_body()), Lenient).expect_err("no 200");
        assert!(matches!(error, CallError::UnexpectedStatus(found) if found == status));
    }
}

#[test]
fn strict_clients_want_the_media_type() {
    let operation = get_key(KeyRequest::default());
    let mut answer = container(&[ID_1], 8);
    answer.headers_mut().insert("content-type", "application/json;charset=utf-8".parse().expect("a value"));
    assert!(operation.read_http(&answer, Strict).is_ok());
    answer.headers_mut().insert("content-type", "text/html".parse().expect("a value"));
    assert!(matches!(operation.read_http(&answer, Strict), Err(CallError::NotJson)));
    assert!(operation.read_http(&answer, Lenient).is_ok());
}

/// A KME that hands out one key per ID it invents, and keeps no books on who may have it.
struct MemoryKme {
    limits: Limits,
    keys: Mutex<Vec<Key>>,
    lines: Mutex<Vec<String>>,
}

impl MemoryKme {
    fn new() -> Self {
        Self { limits: Limits::default(), keys: Mutex::default(), lines: Mutex::default() }
    }

    fn handle(&self, call: Call) -> Result<Reply, Rejection> {
        let mut keys = self.keys.lock().expect("not poisoned");
        match call {
            Call::GetStatus(call) => {
                let parties =
                    Parties { source_kme: kme("north"), target_kme: kme("south"), master: sae("red"), slave: call.slave };
                Ok(Reply::Status(self.limits.status(parties, 3, 10)))
            }
            Call::GetKey(call) => {
                let order = self.limits.admit(&sae("red"), call)?;
                let made = (0..order.number().get()).map(|index| {
                    let mut octets = [index as u8; 16];
                    octets[0] = keys.len() as u8;
                    let id = itu_y3803::KeyId::from_octets(octets).into();
                    Key::new(id, KeyMaterial::generate(order.size(), &mut |out: &mut [u8]| out.fill(index as u8)))
                });
                let made: Vec<Key> = made.collect();
                let container = made.iter().map(|key| Key::new(key.id, key.material.duplicate())).collect();
                keys.extend(made);
                Ok(Reply::Keys(container))
            }
            Call::GetKeyWithKeyIds(call) => {
                let order = self.limits.admit_ids(&sae("blue"), call)?;
                let missing = |id: &&_| !keys.iter().any(|key| key.id == **id);
                let ids: Vec<_> = order.ids().iter().filter(missing).copied().collect();
                if !ids.is_empty() {
                    return Err(Rejection::KeysNotFound { ids });
                }
                Ok(Reply::Keys(keys.extract_if(.., |key| order.ids().contains(&key.id)).collect()))
            }
        }
    }
}

impl Transport for &MemoryKme {
    type Error = Infallible;
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
        self.lines.lock().expect("not poisoned").push(line(&request));
        // what a proxy does that serves the API below a path
        let path = request.uri().path_and_query().expect("a path").as_str().replacen("/site", "", 1);
        *request.uri_mut() = path.parse().expect("a path");
        Ok(answer(&request, Strict, |call| self.handle(call)))
    }
}

fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing to wait for"),
    }
}

#[test]
fn client_and_kme_understand_each_other() {
    for form in [Post, GetWhereAllowed] {
        let transport = MemoryKme::new();
        let base = BaseUrl::parse("https://kme.example:8443/site").expect("a URL");
        let client = Client::new(base, &transport).with_form(form).with_decoding(Strict);
        let (red, blue) = (sae("red"), sae("blue"));

        let status = ready(client.status(&blue)).expect("a status");
        assert_eq!((status.slave, status.stored_key_count), (blue.clone(), 3));

        let keys = ready(client.get_key(&blue, KeyRequest::new(count(3), bits(128)))).expect("keys");
        let ids: Vec<_> = keys.keys.iter().map(|key| key.id).collect();
        let asked: Vec<_> = ids.iter().rev().copied().collect();
        let fetched = ready(client.get_key_with_key_ids(&red, asked.iter().copied().collect())).expect("the same keys");
        assert_eq!(fetched.keys.iter().map(|key| key.id).collect::<Vec<_>>(), asked);
        let reversed = KeyContainer { keys: fetched.keys.into_iter().rev().collect(), extension: None };
        assert!(same_keys(&reversed, &keys));

        let again = ready(client.get_key_with_key_ids(&red, KeyIds::from_iter([ids[0]]))).expect_err("taken");
        let ClientError::Call(again) = again else { panic!("{again}") };
        assert_eq!(again.refusal().and_then(Refusal::mandated), Some(Mandated::KeysNotFound));

        let odd = ready(client.get_key(&blue, KeyRequest { size: Some(bits(257)), ..KeyRequest::default() })).expect_err("odd");
        assert_eq!(odd.to_string(), "the KME refused with status 400: size shall be a multiple of 8");

        let lines = transport.lines.into_inner().expect("not poisoned");
        assert_eq!(lines[0], "GET https://kme.example:8443/site/api/v1/keys/blue/status");
        let (get, post) = ("GET https://kme.example:8443/site/api/v1/keys/blue/enc_keys?number=3&size=128", "POST ");
        assert!(lines[1].starts_with(if form == Post { post } else { get }), "{}", lines[1]);
    }
}

proptest! {
    #[test]
    fn the_server_reads_what_the_client_writes(slave in any_sae(), request in any_key_request(), ids in any_key_ids()) {
        let get_status = GetStatus { slave: slave.clone() };
        let get_key = GetKey { slave: slave.clone(), request };
        let get_ids = GetKeyWithKeyIds { master: slave, key_ids: ids };
        for form in [Post, GetWhereAllowed] {
            for decoding in [Lenient, Strict] {
                prop_assert_eq!(Call::decode(&get_status.to_http(form), decoding), Ok(Call::GetStatus(get_status.clone())));
                prop_assert_eq!(Call::decode(&get_key.to_http(form), decoding), Ok(Call::GetKey(get_key.clone())));
                prop_assert_eq!(Call::decode(&get_ids.to_http(form), decoding), Ok(Call::GetKeyWithKeyIds(get_ids.clone())));
            }
        }
    }

    #[test]
    fn no_answer_makes_the_client_panic(status in 200u16..600, body in prop::collection::vec(any::<u8>(), 0..80)) {
        let response = response(status, body);
        for decoding in [Lenient, Strict] {
            let _ = GetStatus { slave: sae("blue") }.read_http(&response, decoding);
            let _ = get_key(KeyRequest::default()).read_http(&response, decoding);
            let _ = dec_keys(&[ID_1]).read_http(&response, decoding);
        }
    }
}
