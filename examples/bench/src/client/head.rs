//! The head of an HTTP/1.1 response, as far as a load client needs it.

/// A response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The octets of the head, its empty line included.
    pub(super) octets: usize,
    pub(super) body_octets: usize,
}

/// Not a response of the servers that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the head at the start of `received`; `None` while it is not complete.
pub(super) fn parse(received: &[u8]) -> Result<Option<Head>, Malformed> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = received.get(..end).ok_or(Malformed)?;
    let mut lines = head.split(|&octet| octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let status = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.1 ")).and_then(|line| line.get(..3));
    let status = status.and_then(number).ok_or(Malformed)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(LENGTH.len())?;
        name.eq_ignore_ascii_case(LENGTH).then(|| number(value.trim_ascii()))
    });
    // Without a length the body would be chunked or end with the connection: none of these servers does so.
    let body_octets = length.flatten().ok_or(Malformed)?;
    Ok(Some(Head { status: u16::try_from(status).map_err(|_| Malformed)?, octets: end + 4, body_octets }))
}

const LENGTH: &[u8] = b"content-length:";

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let head = |status, octets, body_octets| Ok(Some(Head { status, octets, body_octets }));
        for (received, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello", head(200, 39, 11)),
            ("HTTP/1.1 503 Service Unavailable\r\ndate: x\r\nContent-Length:2\r\n\r\n", head(503, 63, 2)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r", Ok(None)),
            ("", Ok(None)),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", Err(Malformed)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", Err(Malformed)),
            ("HTTP/1.1 x\r\ncontent-length: 0\r\n\r\n", Err(Malformed)),
        ] {
            assert_eq!(parse(received.as_bytes()), expected, "{received:?}");
        }
    }
}
