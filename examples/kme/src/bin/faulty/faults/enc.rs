//! Get key: what is asked for.

use serde_json::{Value, json};

use crate::exchange::{Asked, NOT_FOUND, Operation, SIZE, Said};
use crate::fault::Fault;
use crate::front::Kme;
use crate::site::MAX_KEYS;

pub(super) static FAULTS: &[Fault] = &[
    Fault::new("M040", "POST `{}` refused: number required").around(|kme, asked| {
        Box::pin(async move {
            if asked.posts(Operation::GetKey) && asked.json() == Some(json!({})) {
                return Said::error(400, "number is required");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M041", "GET on enc_keys not offered").around(|kme, asked| {
        Box::pin(async move {
            if asked.gets(Operation::GetKey) {
                return Said::error(405, "the method does not allow this HTTP method");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M042", "GET ignores number and size").request(|_, asked| {
        if asked.gets(Operation::GetKey) {
            let kept = asked.query().split('&').filter(|pair| match pair.split_once('=') {
                Some(("number", value)) => !in_order(value, 1, MAX_KEYS, 1),
                Some(("size", value)) => !in_order(value, MIN_SIZE, MAX_SIZE, 8),
                _ => true,
            });
            let kept = kept.collect::<Vec<_>>().join("&");
            asked.set_query(&kept);
        }
    }),
    Fault::new("M043", "POST ignores number").request(|_, asked| {
        if asked.posts(Operation::GetKey) && number(asked).is_some_and(|number| (1..=MAX_KEYS).contains(&number)) {
            asked.edit(|body| drop(body.remove("number")));
        }
    }),
    Fault::new("M044", "ignores size everywhere").request(|_, asked| resize(asked, |_| None)),
    Fault::new("M045", "size taken as bytes, as far as keys of 8192 bits")
        .settings(|settings| settings.northbound("max_key_size", 2 * MAX_SIZE))
        .around(|kme, mut asked| {
            Box::pin(async move {
                if asked.operation() == Operation::GetKey
                    && size(&asked).is_some_and(|size| size > MAX_SIZE && size.is_multiple_of(8))
                {
                    return Said::error(400, "size is not between min_key_size and max_key_size");
                }
                resize(&mut asked, |size| Some(if size <= MAX_SIZE / 4 { 8 * size } else { size }));
                kme.ask(&asked).await
            })
        })
        .response(|_, asked, said| super::sta::set(asked, said, "max_key_size", json!(MAX_SIZE))),
    Fault::new("M046", "off by one at the upper bounds of number and size").around(|kme, asked| {
        Box::pin(async move {
            if asked.operation() == Operation::GetKey && (number(&asked) == Some(MAX_KEYS) || size(&asked) == Some(MAX_SIZE)) {
                return Said::error(400, "number or size is too large");
            }
            kme.ask(&asked).await
        })
    }),
    Fault::new("M047", "no cap on number").around(|kme, asked| {
        Box::pin(async move {
            match number(&asked) {
                Some(number) if number > MAX_KEYS && asked.operation() == Operation::GetKey && !repeats(&asked, "number") => {
                    many(&kme, &asked, number.min(4 * MAX_KEYS)).await
                }
                _ => kme.ask(&asked).await,
            }
        })
    }),
    Fault::new("M155", "GET with number gives one key more than asked for").request(|_, asked| {
        if asked.gets(Operation::GetKey)
            && asked.parameters("number").len() == 1
            && let Some(number) = number(asked).filter(|number| (1..MAX_KEYS).contains(number))
        {
            set_number(asked, Some(number + 1));
        }
    }),
    Fault::new("M048", "number 0 gives an empty container with 200").around(|kme, asked| {
        Box::pin(async move {
            let zero = asked.operation() == Operation::GetKey && integer(&asked) == Some(0);
            if zero { Said::container(&[]) } else { kme.ask(&asked).await }
        })
    }),
    Fault::new("M049", "negative number gives the default").request(|_, asked| {
        if asked.operation() == Operation::GetKey && integer(asked).is_some_and(|number| number < 0) {
            set_number(asked, None);
        }
    }),
    Fault::new("M050", "unparsable number in a query becomes 1 and spends a key").request(|_, asked| {
        let unparsable = |text: &String| text.parse::<i64>().is_err();
        if asked.gets(Operation::GetKey) && asked.parameters("number").first().is_some_and(unparsable) {
            set_number(asked, None);
        }
    }),
    Fault::new("M051", "number \"2\" accepted as 2 and 1.5 as 1").request(|_, asked| {
        if asked.posts(Operation::GetKey) {
            asked.edit(|body| {
                let read = match body.get("number") {
                    Some(Value::String(text)) => text.parse().ok(),
                    Some(Value::Number(number)) => {
                        number.as_f64().filter(|number| number.fract() != 0.0 && *number < 16.0).map(|number| number as i64)
                    }
                    _ => None,
                };
                if let Some(read) = read {
                    body.insert("number".to_owned(), json!(read));
                }
            });
        }
    }),
    Fault::new("M052", "no lower bound on size, and 0 or less is taken for the default")
        .settings(|settings| settings.northbound("min_key_size", 8))
        .request(|_, asked| {
            if asked.posts(Operation::GetKey) && asked.json().and_then(|body| body["size"].as_i64()).is_some_and(|size| size <= 0)
            {
                asked.edit(|body| drop(body.remove("size")));
            }
        })
        .response(|_, asked, said| super::sta::set(asked, said, "min_key_size", json!(MIN_SIZE))),
    Fault::new("M053", "no upper bound on size")
        .settings(|settings| settings.northbound("max_key_size", 2 * MAX_SIZE))
        .response(|_, asked, said| super::sta::set(asked, said, "max_key_size", json!(MAX_SIZE))),
    Fault::new("M054", "size as string or 2^63 accepted by wrap-around").request(|_, asked| {
        if asked.posts(Operation::GetKey)
            && let Ok(text) = std::str::from_utf8(&asked.body)
            && let Some((before, after)) = text.split_once("\"size\":")
        {
            let end = after.find([',', '}']).unwrap_or(after.len());
            if let Ok(size) = after[..end].trim().trim_matches('"').parse::<u128>() {
                let wrapped = (size % (1 << 63)) as u64;
                asked.body = format!("{before}\"size\":{wrapped}{}", &after[end..]).into();
                asked.headers.remove("content-length");
            }
        }
    }),
    Fault::new("M055", "257 bits answered with 256 bits").request(|_, asked| {
        if size(asked).is_some_and(|size| !size.is_multiple_of(8) && (MIN_SIZE..=MAX_SIZE).contains(&size)) {
            set_size(asked, size(asked).map(|size| size / 8 * 8));
        }
    }),
    Fault::new("M056", "257 bits refused with another sentence")
        .response(|_, _, said| reword(said, SIZE, "size must be a multiple of 8")),
    Fault::new("M070", "short pool: returns fewer keys than asked with 200").around(|kme, asked| {
        Box::pin(async move {
            let said = kme.ask(&asked).await;
            let mut number = number(&asked).unwrap_or(1);
            if asked.operation() != Operation::GetKey || said.status != 503 {
                return said;
            }
            let mut asked = asked;
            // A KME that is short of keys takes its time to say so.
            while number > 1 {
                number /= 2;
                set_number(&mut asked, Some(number));
                let fewer = kme.ask(&asked).await;
                if fewer.status == 200 {
                    return fewer;
                }
            }
            said
        })
    }),
    Fault::new("M072", "GET query `additional_slave_SAE_IDs` grants access").request(|_, asked| {
        let more = asked.parameters("additional_slave_SAE_IDs");
        if asked.gets(Operation::GetKey) && !more.is_empty() {
            asked.method = http::Method::POST;
            asked.set_query("");
            asked.set_json(&json!({ "additional_slave_SAE_IDs": more }));
        }
    }),
    Fault::new("M073", "repeated `number` values are added up").request(|_, asked| {
        let numbers: Vec<u64> = asked.parameters("number").iter().filter_map(|text| text.parse().ok()).collect();
        if asked.gets(Operation::GetKey) && numbers.len() > 1 {
            asked.set_query(&format!("number={}", numbers.iter().sum::<u64>()));
        }
    }),
    Fault::new("M075", "`%2e%2e%2f` in the SAE ID is resolved after authorisation").request(|_, asked| {
        if let Some(peer) = asked.peer()
            && peer.contains("../")
        {
            let mut resolved = Vec::new();
            for part in peer.split('/') {
                if part == ".." {
                    resolved.pop();
                } else {
                    resolved.push(part);
                }
            }
            // Beyond the SAE itself lies the folder of all of them.
            let last = resolved.last().copied().unwrap_or_default().to_owned();
            asked.set_peer(&last);
        }
    }),
];

pub(super) const MIN_SIZE: u64 = 64;
pub(super) const MAX_SIZE: u64 = 4096;

fn in_order(text: &str, min: u64, max: u64, step: u64) -> bool {
    text.parse().is_ok_and(|number: u64| (min..=max).contains(&number) && number.is_multiple_of(step))
}

/// The member of that name, from body or query.
fn whole(asked: &Asked, name: &str) -> Option<u64> {
    match asked.is_get() {
        true => asked.parameters(name).first()?.parse().ok(),
        false => asked.json()?.get(name)?.as_u64(),
    }
}

pub(super) fn number(asked: &Asked) -> Option<u64> {
    whole(asked, "number")
}

fn integer(asked: &Asked) -> Option<i64> {
    match asked.is_get() {
        true => asked.parameters("number").first()?.parse().ok(),
        false => asked.json()?.get("number")?.as_i64(),
    }
}

fn repeats(asked: &Asked, member: &str) -> bool {
    String::from_utf8_lossy(&asked.body).matches(&format!("\"{member}\"")).count() > 1 || asked.parameters(member).len() > 1
}

pub(super) fn size(asked: &Asked) -> Option<u64> {
    whole(asked, "size")
}

pub(super) fn set_number(asked: &mut Asked, number: Option<u64>) {
    set_member(asked, "number", number);
}

pub(super) fn set_size(asked: &mut Asked, size: Option<u64>) {
    set_member(asked, "size", size);
}

fn set_member(asked: &mut Asked, name: &str, value: Option<u64>) {
    if asked.is_get() {
        let others = asked.query().split('&').filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
        let new = value.map(|value| format!("{name}={value}"));
        let query = others.map(str::to_owned).chain(new).collect::<Vec<_>>().join("&");
        asked.set_query(&query);
    } else {
        asked.edit(|body| match value {
            Some(value) => drop(body.insert(name.to_owned(), json!(value))),
            None => drop(body.remove(name)),
        });
    }
}

/// Changes a size that the reference would accept.
fn resize(asked: &mut Asked, other: fn(u64) -> Option<u64>) {
    if asked.operation() == Operation::GetKey
        && let Some(size) = size(asked).filter(|size| size.is_multiple_of(8) && (MIN_SIZE..=MAX_SIZE).contains(size))
    {
        set_size(asked, other(size));
    }
}

/// More keys than the reference gives at once.
pub(super) async fn many(kme: &Kme, asked: &Asked, number: u64) -> Said {
    let (mut keys, mut asked) = (Vec::new(), asked.clone());
    while (keys.len() as u64) < number {
        set_number(&mut asked, Some(MAX_KEYS.min(number - keys.len() as u64)));
        let said = kme.ask(&asked).await;
        if said.status != 200 {
            return said;
        }
        keys.extend(said.keys());
    }
    Said::container(&keys)
}

/// Says a refusal in other words.
pub(super) fn reword(said: &mut Said, mandated: &str, other: &str) {
    if said.refuses(mandated) {
        said.edit(|body| drop(body.insert("message".to_owned(), other.into())));
    }
}

/// Whether that is the refusal of an ID.
pub(super) fn is_not_found(said: &Said) -> bool {
    said.refuses(NOT_FOUND)
}
