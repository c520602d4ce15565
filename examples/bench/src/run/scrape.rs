//! The meters of a KME.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::failure::Failure;

/// Every series by its full name with labels.
#[derive(Debug, Default)]
pub(super) struct Meters(BTreeMap<String, f64>);

impl Meters {
    pub(super) fn read(admin: SocketAddr) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let series = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect())
    }

    /// The sum of the series of this name that have this in their labels.
    pub(super) fn sum(&self, name: &str, label: &str) -> f64 {
        let matches = |series: &str| {
            let (its_name, labels) = series.split_once('{').unwrap_or((series, ""));
            its_name == name && labels.contains(label)
        };
        self.0.iter().filter(|(series, _)| matches(series)).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        let text = "# TYPE a counter\na_total{x=\"1\",y=\"2\"} 3\na_total{x=\"2\",y=\"2\"} 4.5\nb 7\n# EOF";
        let meters = Meters::parse(text);
        assert_eq!(meters.sum("a_total", "y=\"2\""), 7.5);
        assert_eq!(meters.sum("a_total", "x=\"1\""), 3.0);
        assert_eq!(meters.sum("b", ""), 7.0);
        assert_eq!(meters.sum("a", ""), 0.0);
    }
}
