//! Reads one HTTP/1.1 response, however odd, within bounds.

use std::time::Instant;

use super::{Stream, WireError};

pub(crate) use crate::bounds::BODY as MAX_BODY;
use crate::bounds::{HEAD as MAX_HEAD, HEADERS as MAX_HEADERS};
use crate::secret::Secret;

/// A response as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) minor: u8,
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Secret,
    /// What is wrong with how the body is delimited.
    pub(crate) framing: Vec<String>,
    /// The connection ends with this response.
    pub(crate) last: bool,
}

impl Response {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The media type, without parameters, in lower case.
    pub(crate) fn media_type(&self) -> Option<String> {
        self.header("content-type").map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

/// Reads a response. `buffer` holds what was read beyond the previous one, and afterwards what was read beyond this one.
///
/// With `to_head`, the request was HEAD and no body follows.
pub(crate) fn read_response(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    to_head: bool,
    deadline: Instant,
) -> Result<Response, WireError> {
    let mut input = Input { stream, buffer, deadline, ended: false };
    loop {
        let head = input.head()?;
        // Interim responses announce the real one.
        if (100..200).contains(&head.status) && head.status != 101 {
            continue;
        }
        return input.body(head, to_head);
    }
}

struct Input<'a> {
    stream: &'a mut Stream,
    buffer: &'a mut Vec<u8>,
    deadline: Instant,
    ended: bool,
}

impl Input<'_> {
    /// Reads more; false at the end.
    fn more(&mut self) -> Result<bool, WireError> {
        if self.ended {
            return Ok(false);
        }
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk, self.deadline)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        zeroize::Zeroize::zeroize(&mut chunk[..count]);
        self.ended = count == 0;
        Ok(count > 0)
    }

    fn head(&mut self) -> Result<Response, WireError> {
        loop {
            if let Some((head, length)) = parse_head(self.buffer)? {
                self.buffer.drain(..length);
                return Ok(head);
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(WireError::Malformed(format!("a head of more than {MAX_HEAD} octets")));
            }
            if !self.more()? {
                let when = if self.buffer.is_empty() { "before any answer" } else { "within the head of the answer" };
                return Err(WireError::Closed(when.to_owned()));
            }
        }
    }

    fn body(&mut self, mut head: Response, to_head: bool) -> Result<Response, WireError> {
        let lengths: Vec<_> = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).collect();
        let length = lengths.first().map(|(_, value)| value.trim().to_owned());
        if lengths.iter().any(|(_, value)| Some(value.trim()) != length.as_deref()) {
            head.framing.push("several different Content-Length headers".to_owned());
        }
        let chunked = head.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
        if chunked && length.is_some() {
            head.framing.push("Content-Length and Transfer-Encoding together".to_owned());
        }
        let mut framing = Vec::new();
        let body = if to_head || matches!(head.status, 204 | 304) {
            Vec::new()
        } else if chunked {
            self.chunks(&mut framing)?
        } else if let Some(length) = length {
            let length: u64 = length.parse().map_err(|_| WireError::Malformed("Content-Length is not a number".to_owned()))?;
            let length = usize::try_from(length).ok().filter(|length| *length <= MAX_BODY).ok_or_else(too_long)?;
            self.exactly(length, &mut framing)?
        } else {
            head.last = true;
            self.until_the_end()?
        };
        head.framing.append(&mut framing);
        head.body = Secret::new(body);
        let close = head.header("connection").is_some_and(|value| value.to_ascii_lowercase().contains("close"));
        head.last |= close || head.minor == 0 || self.ended;
        if !self.buffer.is_empty() && head.status != 101 {
            head.framing.push(format!("at least {} octets follow the body", self.buffer.len()));
        }
        Ok(head)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        self.buffer.drain(..count).collect()
    }

    fn exactly(&mut self, length: usize, framing: &mut Vec<String>) -> Result<Vec<u8>, WireError> {
        while self.buffer.len() < length {
            match self.more() {
                Ok(true) => {}
                // Late is not short; but after a whole JSON text, what else was announced does not come.
                Err(WireError::Timeout(_)) if crate::json::read(self.buffer).is_err() => {
                    return Err(WireError::Timeout("rest of the body"));
                }
                Ok(false) | Err(WireError::Timeout(_)) => {
                    framing.push(format!("{} octets announced, {} came", length, self.buffer.len()));
                    self.ended = true;
                    return Ok(self.take(self.buffer.len()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.take(length))
    }

    fn until_the_end(&mut self) -> Result<Vec<u8>, WireError> {
        while self.more()? {
            if self.buffer.len() > MAX_BODY {
                return Err(too_long());
            }
        }
        Ok(self.take(self.buffer.len()))
    }

    fn chunks(&mut self, framing: &mut Vec<String>) -> Result<Vec<u8>, WireError> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = String::from_utf8_lossy(&line);
            let size = size.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(size, 16).map_err(|_| WireError::Malformed("a chunk size is misspelt".to_owned()))?;
            if size > MAX_BODY - body.len() {
                return Err(too_long());
            }
            if size == 0 {
                // Trailers, up to the empty line.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            let before = framing.len();
            body.append(&mut self.exactly(size, framing)?);
            if framing.len() > before {
                return Ok(body);
            }
            if !self.line()?.is_empty() {
                return Err(WireError::Malformed("a chunk is longer than announced".to_owned()));
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, WireError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|octet| *octet == b'\n') {
                let mut line = self.take(end + 1);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(line);
            }
            if self.buffer.len() > 4096 {
                return Err(WireError::Malformed("a line between chunks is too long".to_owned()));
            }
            if !self.more()? {
                return Err(WireError::Closed("within a chunked body".to_owned()));
            }
        }
    }
}

fn too_long() -> WireError {
    WireError::TooMuch(format!("a body of more than {MAX_BODY} octets"))
}

fn parse_head(buffer: &[u8]) -> Result<Option<(Response, usize)>, WireError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(length)) => {
            let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
            let response = Response {
                minor: parsed.version.unwrap_or(1),
                status: parsed.code.unwrap_or_default(),
                reason: parsed.reason.unwrap_or_default().to_owned(),
                headers: parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
                body: Secret::new(Vec::new()),
                framing: Vec::new(),
                last: false,
            };
            Ok(Some((response, length)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(WireError::Malformed(error.to_string())),
    }
}
