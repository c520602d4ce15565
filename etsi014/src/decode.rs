//! How JSON is read: strictness, errors, and the machinery under the decoders of the messages.
//!
//! serde's own error texts quote the input, and the input may be a key. So every value is read through one visitor, `Read`, that
//! reports a [`Problem`] without any text from the body.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON object of extension parameters: any names, values of any JSON type (014-6.2-17).
pub type Object = Map<String, Value>;

/// How closely a decoder keeps to the letter of the standard.
///
/// Both ways refuse duplicate members (also within extensions), trailing data, a byte order mark and text that is not UTF-8
/// (014-4-10); both skip unknown members (014-A-26) and take `null` in an optional member for its absence (014-A-27).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Decoding {
    /// Accepts what implementations in the field are known to do, where that is harmless:
    ///
    /// * a POST of Get key without any octets is an empty request (014-A-25);
    /// * a POST without a content type is JSON; so is a 200 answer of another media type when it reads as JSON (014-A-30);
    /// * `Keys` stands for `keys` in a key container, as the table of the standard prints it (014-A-29);
    /// * the base64 of a key may lack its padding or use the URL-safe alphabet (014-6.3-04);
    /// * integers may be written `1.0`, and in Status as text, as the standard's table quotes `max_SAE_ID_count`;
    /// * an Error body may have `detail` for `message`, and `details` that are no objects, which are dropped (014-A-17, 014-A-18).
    #[default]
    Lenient,
    /// Accepts what the standard prints, and nothing else.
    Strict,
}

impl Decoding {
    pub(crate) fn is_lenient(self) -> bool {
        self == Self::Lenient
    }
}

/// Why a body is no message of the wanted format.
///
/// Tells place and kind, and holds no text from the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    line: usize,
    column: usize,
    member: &'static str,
    problem: Problem,
}

impl DecodeError {
    /// The line, counted from 1, as far as the decoder got.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// The column in octets, counted from 1; 0 at the start of a line.
    #[must_use]
    pub fn column(&self) -> usize {
        self.column
    }

    /// The member at fault, by its name in the standard; empty when it is the body as a whole.
    #[must_use]
    pub fn member(&self) -> &'static str {
        self.member
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> Problem {
        self.problem
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.member.is_empty() {
            write!(f, "{}: ", self.member)?;
        }
        write!(f, "{} (line {}, column {})", self.problem, self.line, self.column)
    }
}

/// What can be wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// Not JSON, too deeply nested, or followed by more text.
    #[error("not JSON")]
    Syntax,
    /// The body ends within a value.
    #[error("unexpected end")]
    UnexpectedEnd,
    /// A value of another JSON type than the standard has there.
    #[error("wrong type")]
    WrongType,
    /// An integer that is negative, too small or too large.
    #[error("out of range")]
    OutOfRange,
    /// A mandatory member is absent.
    #[error("missing")]
    Missing,
    /// A member occurs twice in one object.
    #[error("occurs twice")]
    Duplicate,
    /// Text that is no SAE ID or KME ID.
    #[error("not an SAE ID or KME ID")]
    InvalidId,
    /// Text that is no UUID.
    #[error("not in UUID form")]
    InvalidKeyId,
    /// A key that is not base64, or empty.
    #[error("not the base64 text of a key")]
    InvalidKey,
    /// A key whose octets do not make the size asked for, or that has padding bits set (014-A-40).
    #[error("not of the size asked for")]
    WrongKeySize,
}

/// Reads one value and nothing after it.
pub(crate) fn parse<'de, S: Shape<'de>>(body: &'de [u8], shape: S) -> Result<S::Out, DecodeError> {
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    let fault = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let read = Read { shape, at: At { fault: &fault, member: "" } }.deserialize(&mut json);
    read.and_then(|value| json.end().map(|()| value)).map_err(|error| {
        let (member, problem) = fault.get().unwrap_or(match error.classify() {
            serde_json::error::Category::Eof => ("", Problem::UnexpectedEnd),
            serde_json::error::Category::Data => ("", Problem::WrongType),
            _ => ("", Problem::Syntax),
        });
        DecodeError { line: error.line(), column: error.column(), member, problem }
    })
}

fn not_utf8(body: &[u8], valid_up_to: usize) -> DecodeError {
    let valid = body.get(..valid_up_to).unwrap_or_default();
    let line = valid.iter().filter(|octet| **octet == b'\n').count() + 1;
    let column = valid.iter().rev().take_while(|octet| **octet != b'\n').count() + 1;
    DecodeError { line, column, member: "", problem: Problem::NotUtf8 }
}

/// Where the decoder is, and where it leaves word of what went wrong.
#[derive(Clone, Copy)]
pub(crate) struct At<'c> {
    fault: &'c Cell<Option<(&'static str, Problem)>>,
    member: &'static str,
}

impl At<'_> {
    /// An error of the underlying parser that says nothing itself.
    pub(crate) fn fail<E: Error>(self, problem: Problem) -> E {
        self.fault.set(Some((self.member, problem)));
        E::custom("")
    }

    pub(crate) fn member(self, member: &'static str) -> Self {
        Self { member, ..self }
    }
}

/// What is wanted of one JSON value. Every kind of value is refused unless the shape takes it.
pub(crate) trait Shape<'de>: Sized {
    type Out;

    fn null(self) -> Result<Self::Out, Problem> {
        Err(Problem::WrongType)
    }
    fn boolean(self, _: bool) -> Result<Self::Out, Problem> {
        Err(Problem::WrongType)
    }
    fn unsigned(self, _: u64) -> Result<Self::Out, Problem> {
        Err(Problem::WrongType)
    }
    fn negative(self, _: i64) -> Result<Self::Out, Problem> {
        Err(Problem::WrongType)
    }
    fn float(self, _: f64) -> Result<Self::Out, Problem> {
        Err(Problem::WrongType)
    }
    fn text(self, _: &str) -> Result<Self::Out, Problem> {
        Err(Problem::WrongType)
    }
    fn array<A: SeqAccess<'de>>(self, at: At<'_>, _: A) -> Result<Self::Out, A::Error> {
        Err(at.fail(Problem::WrongType))
    }
    fn object<A: MapAccess<'de>>(self, at: At<'_>, _: A) -> Result<Self::Out, A::Error> {
        Err(at.fail(Problem::WrongType))
    }
}

/// A shape on its way through serde.
struct Read<'c, S> {
    shape: S,
    at: At<'c>,
}

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Read<'_, S> {
    type Value = S::Out;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Out, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Read<'_, S> {
    type Value = S::Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another value")
    }
    fn visit_unit<E: Error>(self) -> Result<S::Out, E> {
        self.shape.null().map_err(|problem| self.at.fail(problem))
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<S::Out, E> {
        self.shape.boolean(value).map_err(|problem| self.at.fail(problem))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<S::Out, E> {
        self.shape.unsigned(value).map_err(|problem| self.at.fail(problem))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<S::Out, E> {
        let read = match u64::try_from(value) {
            Ok(value) => self.shape.unsigned(value),
            Err(_) => self.shape.negative(value),
        };
        read.map_err(|problem| self.at.fail(problem))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<S::Out, E> {
        self.shape.float(value).map_err(|problem| self.at.fail(problem))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<S::Out, E> {
        self.shape.text(value).map_err(|problem| self.at.fail(problem))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<S::Out, A::Error> {
        self.shape.array(self.at, seq)
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Out, A::Error> {
        self.shape.object(self.at, map)
    }
}

/// The next member with one of these names; others are skipped.
pub(crate) fn next_member<'de, A: MapAccess<'de>>(
    map: &mut A,
    names: &'static [&'static str],
) -> Result<Option<&'static str>, A::Error> {
    while let Some(name) = map.next_key_seed(Name(names))? {
        match name {
            Some(name) => return Ok(Some(name)),
            None => drop(map.next_value::<IgnoredAny>()?),
        }
    }
    Ok(None)
}

/// A member name, matched without keeping its text.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static str>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().find(|known| *known == name))
    }
}

/// One member of an object under construction: at most once, and absent or `null` is the same.
pub(crate) struct Slot<T> {
    seen: bool,
    value: Option<T>,
}

impl<T> Slot<T> {
    pub(crate) const fn new() -> Self {
        Self { seen: false, value: None }
    }

    pub(crate) fn read<'de, A, S>(&mut self, at: At<'_>, map: &mut A, shape: S) -> Result<(), A::Error>
    where
        A: MapAccess<'de>,
        S: Shape<'de, Out = T>,
    {
        self.mark(at)?;
        self.value = map.next_value_seed(Read { shape: OrNull(shape), at })?;
        Ok(())
    }

    /// Notes that the member was met; for values that are not read through a [`Shape`].
    pub(crate) fn mark<E: Error>(&mut self, at: At<'_>) -> Result<(), E> {
        if std::mem::replace(&mut self.seen, true) { Err(at.fail(Problem::Duplicate)) } else { Ok(()) }
    }

    pub(crate) fn set(&mut self, value: T) {
        self.value = Some(value);
    }

    pub(crate) fn optional(self) -> Option<T> {
        self.value
    }

    pub(crate) fn required<E: Error>(self, at: At<'_>) -> Result<T, E> {
        self.value.ok_or_else(|| at.fail(Problem::Missing))
    }
}

struct OrNull<S>(S);

impl<'de, S: Shape<'de>> Shape<'de> for OrNull<S> {
    type Out = Option<S::Out>;

    fn null(self) -> Result<Self::Out, Problem> {
        Ok(None)
    }
    fn boolean(self, value: bool) -> Result<Self::Out, Problem> {
        self.0.boolean(value).map(Some)
    }
    fn unsigned(self, value: u64) -> Result<Self::Out, Problem> {
        self.0.unsigned(value).map(Some)
    }
    fn negative(self, value: i64) -> Result<Self::Out, Problem> {
        self.0.negative(value).map(Some)
    }
    fn float(self, value: f64) -> Result<Self::Out, Problem> {
        self.0.float(value).map(Some)
    }
    fn text(self, value: &str) -> Result<Self::Out, Problem> {
        self.0.text(value).map(Some)
    }
    fn array<A: SeqAccess<'de>>(self, at: At<'_>, seq: A) -> Result<Self::Out, A::Error> {
        self.0.array(at, seq).map(Some)
    }
    fn object<A: MapAccess<'de>>(self, at: At<'_>, map: A) -> Result<Self::Out, A::Error> {
        self.0.object(at, map).map(Some)
    }
}

/// An integer that `accept` turns into the wanted type.
pub(crate) struct Integer<F> {
    pub(crate) decoding: Decoding,
    /// Whether a lenient decoder takes decimal text too.
    pub(crate) text: bool,
    pub(crate) accept: F,
}

impl<T, F: FnOnce(u64) -> Option<T>> Shape<'_> for Integer<F> {
    type Out = T;

    fn unsigned(self, value: u64) -> Result<T, Problem> {
        (self.accept)(value).ok_or(Problem::OutOfRange)
    }
    fn negative(self, _: i64) -> Result<T, Problem> {
        Err(Problem::OutOfRange)
    }
    fn float(self, value: f64) -> Result<T, Problem> {
        if !self.decoding.is_lenient() || value.fract() != 0.0 {
            return Err(Problem::WrongType);
        }
        // up to here a float is exact; JSON numbers beyond are no counts
        if (0.0..=9_007_199_254_740_992.0).contains(&value) { self.unsigned(value as u64) } else { Err(Problem::OutOfRange) }
    }
    fn text(self, value: &str) -> Result<T, Problem> {
        if !self.text || !self.decoding.is_lenient() || !value.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(Problem::WrongType);
        }
        value.parse().map_err(|_| Problem::WrongType).and_then(|value| self.unsigned(value))
    }
}

/// Text that the function turns into the wanted type.
pub(crate) struct Text<F>(pub(crate) F);

impl<T, F: FnOnce(&str) -> Result<T, Problem>> Shape<'_> for Text<F> {
    type Out = T;
    fn text(self, value: &str) -> Result<T, Problem> {
        (self.0)(value)
    }
}

/// An array of values of one shape, made anew for each.
pub(crate) struct ListOf<F>(pub(crate) F);

impl<'de, S: Shape<'de>, F: Fn() -> S> Shape<'de> for ListOf<F> {
    type Out = Vec<S::Out>;
    fn array<A: SeqAccess<'de>>(self, at: At<'_>, mut seq: A) -> Result<Self::Out, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(Read { shape: (self.0)(), at })? {
            list.push(value);
        }
        Ok(list)
    }
}

/// An object of extension parameters.
pub(crate) struct AnyObject;

impl<'de> Shape<'de> for AnyObject {
    type Out = Object;
    fn object<A: MapAccess<'de>>(self, at: At<'_>, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::new();
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(Read { shape: AnyValue, at })?;
            if object.insert(name, value).is_some() {
                return Err(at.fail(Problem::Duplicate));
            }
        }
        Ok(object)
    }
}

/// Any JSON value, without duplicate members at any depth.
pub(crate) struct AnyValue;

impl<'de> Shape<'de> for AnyValue {
    type Out = Value;

    fn null(self) -> Result<Value, Problem> {
        Ok(Value::Null)
    }
    fn boolean(self, value: bool) -> Result<Value, Problem> {
        Ok(Value::Bool(value))
    }
    fn unsigned(self, value: u64) -> Result<Value, Problem> {
        Ok(Value::Number(value.into()))
    }
    fn negative(self, value: i64) -> Result<Value, Problem> {
        Ok(Value::Number(value.into()))
    }
    fn float(self, value: f64) -> Result<Value, Problem> {
        Number::from_f64(value).map(Value::Number).ok_or(Problem::OutOfRange)
    }
    fn text(self, value: &str) -> Result<Value, Problem> {
        Ok(Value::String(value.to_owned()))
    }
    fn array<A: SeqAccess<'de>>(self, at: At<'_>, seq: A) -> Result<Value, A::Error> {
        ListOf(|| Self).array(at, seq).map(Value::Array)
    }
    fn object<A: MapAccess<'de>>(self, at: At<'_>, map: A) -> Result<Value, A::Error> {
        AnyObject.object(at, map).map(Value::Object)
    }
}
