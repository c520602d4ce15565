//! What a ClientHello says.

use crate::bounds::OFFERED;

/// The members that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// `legacy_version`; the highest one offered, where `versions` is empty.
    pub(crate) legacy_version: u16,
    /// Of the extension `supported_versions`.
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<u16>,
    /// Early data follow.
    pub(crate) early_data: bool,
    /// Secure renegotiation, by extension or suite.
    pub(crate) renegotiation: bool,
}

/// What the first octets of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The beginning of a ClientHello.
    Partial,
    Hello(Hello),
    /// An HTTP request without TLS.
    PlainHttp,
    Garbage,
}

impl First {
    /// The same, of bounded length.
    pub(super) fn kept(&self) -> Self {
        let mut kept = self.clone();
        if let Self::Hello(hello) = &mut kept {
            hello.versions.truncate(OFFERED);
            hello.suites.truncate(OFFERED);
        }
        kept
    }
}

/// Looks at the first octets.
pub(crate) fn first(octets: &[u8]) -> First {
    let methods = ["GET ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "DELETE ", "CONNECT ", "PATCH ", "PRI "];
    if methods.iter().any(|method| octets.starts_with(method.as_bytes())) {
        return First::PlainHttp;
    }
    match octets {
        [] => return First::Partial,
        [22, ..] => {}
        _ if octets.len() < 8 && octets[0].is_ascii_uppercase() => return First::Partial,
        _ => return First::Garbage,
    }
    // The hello may be spread over several records.
    let mut message = Vec::new();
    let mut rest = octets;
    while let [kind, _, _, high, low, body @ ..] = rest {
        if *kind != 22 {
            break;
        }
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        message.extend_from_slice(&body[..length.min(body.len())]);
        rest = body.get(length..).unwrap_or_default();
    }
    let Some(length) = message.get(1..4) else { return First::Partial };
    let length = usize::from(length[0]) << 16 | usize::from(length[1]) << 8 | usize::from(length[2]);
    match message.get(4..4 + length) {
        None if length <= 64 * 1024 => First::Partial,
        Some(body) if message[0] == 1 => parse(body).map_or(First::Garbage, First::Hello),
        _ => First::Garbage,
    }
}

fn parse(body: &[u8]) -> Option<Hello> {
    let mut rest = body;
    let legacy_version = number(&mut rest, 2)?;
    take(&mut rest, 32)?;
    sized(&mut rest, 1)?;
    let suites = words(sized(&mut rest, 2)?);
    sized(&mut rest, 1)?;
    let mut hello = Hello { legacy_version, renegotiation: suites.contains(&0x00ff), suites, ..Hello::default() };
    let mut extensions = if rest.is_empty() { &[][..] } else { sized(&mut rest, 2)? };
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let mut content = sized(&mut extensions, 2)?;
        match kind {
            42 => hello.early_data = true,
            43 => hello.versions = words(sized(&mut content, 1)?),
            0xff01 => hello.renegotiation = true,
            _ => {}
        }
    }
    Some(hello)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn number(rest: &mut &[u8], octets: usize) -> Option<u16> {
    Some(take(rest, octets)?.iter().fold(0, |number, octet| number << 8 | u16::from(*octet)))
}

fn sized<'a>(rest: &mut &'a [u8], octets: usize) -> Option<&'a [u8]> {
    let length = number(rest, octets)?;
    take(rest, usize::from(length))
}

fn words(octets: &[u8]) -> Vec<u16> {
    octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::client_hello;

    #[test]
    fn a_hello_is_read_whole_and_in_pieces() {
        let octets = client_hello(0x0302, &[0x002f, 0x00ff], "kme.example", &[7; 32]);
        let First::Hello(hello) = first(&octets) else { panic!("no hello") };
        assert_eq!((hello.legacy_version, hello.suites.as_slice()), (0x0302, &[0x002f, 0x00ff][..]));
        assert!(hello.renegotiation && !hello.early_data && hello.versions.is_empty());
        for end in 0..octets.len() {
            assert_eq!(first(&octets[..end]), First::Partial, "{end} octets");
        }
    }

    #[test]
    fn what_is_no_hello_is_told_apart() {
        assert_eq!(first(b"GET / HTTP/1.1\r\n"), First::PlainHttp);
        assert_eq!(first(b"GE"), First::Partial);
        assert_eq!(first(&[0x80, 1, 2, 3]), First::Garbage);
        assert_eq!(first(&[22, 3, 1, 0, 4, 1, 0, 0, 0]), First::Garbage);
    }
}
