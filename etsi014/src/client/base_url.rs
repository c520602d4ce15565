//! Where a KME serves the API.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

const MAX_OCTETS: usize = 2048;

/// The part of a KME's URL before `/api/v1/keys/`: `https`, a host name or IP address, perhaps a port (014-5.2-02), and perhaps a path
/// that some KMEs put before the standard's (014-A-42).
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    authority: Authority,
    path: String,
}

impl BaseUrl {
    /// Reads a URL such as `https://kme.example:8443` or `https://[2001:db8::1]/site-a`.
    ///
    /// # Errors
    /// [`InvalidBaseUrl`] for another scheme (014-4-08), and when there is a user name, query or fragment.
    pub fn parse(url: &str) -> Result<Self, InvalidBaseUrl> {
        if url.len() > MAX_OCTETS || !url.is_ascii() || url.contains(['?', '#', '@']) {
            return Err(InvalidBaseUrl);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidBaseUrl)?;
        let parts = uri.into_parts();
        let authority = parts.authority.filter(|authority| !authority.host().is_empty()).ok_or(InvalidBaseUrl)?;
        // `Authority` shows an unusable port as none
        let has_port = authority.as_str().len() > authority.host().len();
        if parts.scheme != Some(Scheme::HTTPS) || (has_port && authority.port_u16().is_none()) {
            return Err(InvalidBaseUrl);
        }
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
        Ok(Self { authority, path })
    }

    /// The host, as in the URL; an IPv6 address has its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.authority.host()
    }

    /// The port, 443 unless the URL has another.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(443)
    }

    /// The absolute form of a path of the API.
    pub(super) fn join(&self, path: &Uri) -> Uri {
        let path = path.path_and_query().map_or("/", PathAndQuery::as_str);
        Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path}", self.path))
            .build()
            .expect("a checked prefix and a checked path of bounded length are a URI")
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;
    fn from_str(url: &str) -> Result<Self, InvalidBaseUrl> {
        Self::parse(url)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority, self.path)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

/// Text that is no base URL of a KME.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the URL of a KME is https with a host, without user name, query or fragment")]
pub struct InvalidBaseUrl;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_checked_and_joined() {
        let path: Uri = "/api/v1/keys/blue/enc_keys?number=2".parse().expect("a path");
        for (url, joined) in [
            ("https://kme.example", "https://kme.example/api/v1/keys/blue/enc_keys?number=2"),
            ("https://kme.example:8443/", "https://kme.example:8443/api/v1/keys/blue/enc_keys?number=2"),
            ("HTTPS://192.0.2.1:1/a/b/", "https://192.0.2.1:1/a/b/api/v1/keys/blue/enc_keys?number=2"),
            ("https://[2001:db8::1]:9/x", "https://[2001:db8::1]:9/x/api/v1/keys/blue/enc_keys?number=2"),
        ] {
            let base = BaseUrl::parse(url).expect(url);
            assert_eq!(base.join(&path).to_string(), joined);
        }
        for url in [
            "",
            "kme.example",
            "http://kme.example",
            "ftp://kme.example",
            "https://",
            "https:///x",
            "https://user@kme.example",
            "https://kme.example/?a=b",
            "https://kme.example/#a",
            "https://kme.example:99999",
            "https://kme.example:",
            "https://kme.example:x",
            "https://kme.example/a b",
        ] {
            assert_eq!(BaseUrl::parse(url), Err(InvalidBaseUrl), "{url:?}");
        }
        let base = BaseUrl::parse("https://kme.example/x/").expect("valid");
        assert_eq!((base.host(), base.port(), base.to_string().as_str()), ("kme.example", 443, "https://kme.example/x"));
    }
}
