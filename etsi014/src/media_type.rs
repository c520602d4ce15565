//! The one media type of the API.

use http::{HeaderMap, HeaderValue, header};

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Whether there is one content type and it is JSON; parameters do not matter (014-A-30).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else { return false };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_with_parameters_in_any_case() {
        for (value, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json ;a=b", true),
            ("application/jsonx", false),
            ("text/json", false),
            ("application/problem+json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_json(&headers), json, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
        let mut twice = HeaderMap::new();
        twice.append(header::CONTENT_TYPE, JSON);
        twice.append(header::CONTENT_TYPE, JSON);
        assert!(!is_json(&twice));
    }
}
