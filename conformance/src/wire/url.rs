//! Where a KME is.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::ServerName;

/// `https://host[:port][/prefix]`; `http` for laboratories only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Empty, or begins with a slash and does not end with one.
    pub(crate) prefix: String,
}

impl BaseUrl {
    /// Reads a URL.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(format!("`{text}` does not begin with https://")),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') || path.contains(['?', '#']) {
            return Err(format!("`{text}` holds a user, a query or a fragment"));
        }
        let default = if tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') && (!host.contains(':') || host.starts_with('[')) => {
                (host, port.parse().map_err(|_| format!("`{port}` is not a port"))?)
            }
            _ => (authority, default),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let printable = |c: char| c.is_ascii_graphic();
        if host.is_empty() || !host.chars().all(printable) || !path.chars().all(printable) {
            return Err(format!("`{text}` has no usable host"));
        }
        Ok(Self { tls, host: host.to_owned(), port, prefix: path.trim_end_matches('/').to_owned() })
    }

    /// Reads what `base_url` is to be.
    pub(crate) fn of_kme(text: &str) -> Result<Self, String> {
        let url = Self::parse(text)?;
        if let Some((before, _)) =
            url.prefix.split_once("/api/v1").filter(|(_, after)| after.is_empty() || after.starts_with('/'))
        {
            let right = Self { prefix: before.to_owned(), ..url.clone() };
            return Err(format!("`{text}` holds the path of the API, which is added to it: write {right}"));
        }
        match ServerName::try_from(url.host.as_str()) {
            Ok(_) => Ok(url),
            Err(_) => Err(format!("`{}` is neither a host name nor an IP address", url.host)),
        }
    }

    /// Host and port as in the `Host` header.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == if self.tls { 443 } else { 80 } { host } else { format!("{host}:{}", self.port) }
    }

    /// Asks the resolver, which has no clock of its own.
    pub(crate) fn addresses(&self, wait: Duration) -> Result<Vec<SocketAddr>, String> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, self.port)]);
        }
        let (done, answer) = mpsc::channel();
        let place = (self.host.clone(), self.port);
        thread::spawn(move || done.send(place.to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
        let found = answer.recv_timeout(wait).map_err(|_| format!("the name {} is not resolved in time", self.host))?;
        let found = found.map_err(|error| format!("the name {} is not resolved: {error}", self.host))?;
        if found.is_empty() { Err(format!("the name {} has no address", self.host)) } else { Ok(found) }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.prefix)
    }
}

/// A text as one path segment or query value.
pub(crate) fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, octet| {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            encoded.push(char::from(octet));
        } else {
            encoded.push_str(&format!("%{octet:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let url = BaseUrl::parse("https://kme.example:8443/client/a/").expect("URL");
        assert_eq!((url.host.as_str(), url.port, url.prefix.as_str()), ("kme.example", 8443, "/client/a"));
        assert_eq!(BaseUrl::parse("https://[::1]:9").expect("URL").authority(), "[::1]:9");
        assert_eq!(BaseUrl::parse("https://[::1]").expect("URL").port, 443);
        assert_eq!(BaseUrl::parse("https://kme.example").expect("URL").to_string(), "https://kme.example");
        for wrong in ["kme:8443", "https://", "https://a:b", "https://u@a", "https://a/?x", "ftp://a"] {
            assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn where_a_kme_is_says_no_more() {
        for (wrong, why) in [
            ("https://kme/api/v1/keys", "write https://kme"),
            ("https://kme:8443/tenant/api/v1/", "write https://kme:8443/tenant"),
            ("https://127.1", "neither a host name nor an IP address"),
        ] {
            let error = BaseUrl::of_kme(wrong).expect_err(wrong);
            assert!(error.contains(why) && !error.ends_with('/'), "{error}");
        }
        for right in ["https://127.0.0.1:8443", "https://[::1]:1", "https://kme_a.lab/api/v10"] {
            assert!(BaseUrl::of_kme(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn segments_are_encoded() {
        assert_eq!(percent_encoded("a b/%é"), "a%20b%2F%25%C3%A9");
    }
}
