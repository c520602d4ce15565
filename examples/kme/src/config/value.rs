//! Readers of single values. Each says what is wrong, and what to write instead.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::reader::{Wrong, closest};

pub(super) fn text(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value.as_str() {
        Some("") => Err(Wrong::new("is empty", "write something between the quotes, or remove the line")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Wrong::new(format!("is {}", kind(value)), "write a text in double quotes")),
    }
}

/// Any type with a checked constructor from text: the identifiers.
pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(value: &DeValue<'_>) -> Result<T, Wrong> {
    text(value)?.parse().map_err(|error: T::Err| Wrong::new("cannot be used", error.to_string()))
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| Wrong::new(format!("is {}", kind(value)), "write true or false"))
}

pub(super) fn address(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    const FIX: &str = "write IP address and port, as \"127.0.0.1:8443\" or \"[::1]:8443\"";
    text(value)?.parse().map_err(|_| Wrong::new("is no address with a port", FIX))
}

/// `host:port`, looked up when it is used.
pub(super) fn host_and_port(value: &DeValue<'_>) -> Result<String, Wrong> {
    let wrong = || Wrong::new("is not host and port", "write it as \"kme-south.example:8453\" or \"192.0.2.1:8453\"");
    let text = text(value)?;
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plausible_host = if bracketed {
        // Reads an address only: nothing is looked up.
        text.parse::<SocketAddr>().is_ok_and(|address| address.to_socket_addrs().is_ok())
    } else {
        !host.is_empty() && host.chars().all(|character| character.is_ascii_alphanumeric() || "-._".contains(character))
    };
    match port.parse::<u16>() {
        Ok(1..) if plausible_host => Ok(text),
        _ => Err(wrong()),
    }
}

pub(super) fn path<'f>(folder: &'f Path) -> impl Fn(&DeValue<'_>) -> Result<PathBuf, Wrong> + use<'f> {
    move |value| text(value).map(|text| folder.join(text))
}

/// One path or a list of paths, not empty.
pub(super) fn paths<'f>(folder: &'f Path) -> impl Fn(&DeValue<'_>) -> Result<Vec<PathBuf>, Wrong> + use<'f> {
    move |value| match value.as_array() {
        Some(array) if array.is_empty() => Err(Wrong::new("is an empty list", "name one file at least, or remove the line")),
        Some(array) => array.iter().map(|value| path(folder)(value.get_ref())).collect(),
        None => Ok(vec![path(folder)(value)?]),
    }
}

pub(super) fn integer(min: u64, max: u64) -> impl Fn(&DeValue<'_>) -> Result<u64, Wrong> {
    move |value| {
        let fix = || format!("write a whole number from {min} to {max}");
        let Some(integer) = value.as_integer() else {
            return Err(Wrong::new(format!("is {}", kind(value)), fix()));
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(Wrong::new("is out of range", fix())),
        }
    }
}

pub(super) fn u32_in(min: u32, max: u32) -> impl Fn(&DeValue<'_>) -> Result<u32, Wrong> {
    // The range sees to it that nothing is cut off.
    move |value| integer(min.into(), max.into())(value).map(|number| u32::try_from(number).unwrap_or(max))
}

pub(super) fn usize_in(min: usize, max: usize) -> impl Fn(&DeValue<'_>) -> Result<usize, Wrong> {
    move |value| integer(min as u64, max as u64)(value).map(|number| usize::try_from(number).unwrap_or(max))
}

/// A number above 0, with or without a decimal point.
pub(super) fn positive(value: &DeValue<'_>) -> Result<f64, Wrong> {
    const FIX: &str = "write a number above 0, as 100 or 0.5";
    let number = match value {
        DeValue::Float(float) => float.as_str().parse().unwrap_or(f64::NAN),
        DeValue::Integer(_) => integer(1, 1 << 52)(value).map_or(f64::NAN, |number| number as f64),
        _ => return Err(Wrong::new(format!("is {}", kind(value)), FIX)),
    };
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err(Wrong::new("is not above 0", FIX)) }
}

/// A time with its unit, from one millisecond to ten years.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    const FIX: &str = "write a number with a unit, as \"250ms\", \"10s\", \"5min\", \"1h30min\" or \"7d\"";
    let Some(text) = value.as_str() else {
        return Err(Wrong::new(format!("is {} without a unit", kind(value)), FIX));
    };
    let longest = Duration::from_secs(10 * 365 * 24 * 3600);
    match parse_duration(text) {
        Some(time) if time.is_zero() || time > longest => {
            Err(Wrong::new("is out of range", "write a time from \"1ms\" to \"3650d\""))
        }
        Some(time) => Ok(time),
        None => Err(Wrong::new("is no time", FIX)),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| {
        let text = text(value)?;
        if let Some((_, chosen)) = choices.iter().find(|(name, _)| *name == text) {
            return Ok(*chosen);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let fix = match closest(&text, &names) {
            Some(close) => format!("did you mean \"{close}\"?"),
            None => format!("write one of {}", names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")),
        };
        Err(Wrong::new(format!("cannot be \"{}\"", text.escape_debug()), fix))
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|character: char| !character.is_ascii_digit())?);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(after.len()));
        let number: u64 = number.parse().ok()?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 24 * 3600 * 1000,
            _ => return None,
        };
        sum = sum.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = after.trim_start();
    }
    (!text.trim().is_empty()).then_some(sum)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
