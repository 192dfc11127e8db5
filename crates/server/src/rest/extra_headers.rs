//! Headers that settings ask for: cross-origin rules and `response.http.headers.config`.

use super::config::{Cors, HeaderRule};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::time::{Duration, UNIX_EPOCH};

/// What Jetty's cross-origin filter allows a page to send.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("X-Requested-With,Content-Type,Accept,Origin");
/// How long a browser may remember the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("1800");

/// Tells a browser whether a page of another origin may see the answer. The request itself is served either way.
pub(crate) fn cors(rules: Option<&Cors>, method: &Method, request: &HeaderMap, response: &mut HeaderMap) {
    let Some(rules) = rules else { return };
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else { return };
    if !rules.origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes()) {
        return;
    }
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if method == Method::OPTIONS && request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        if let Ok(methods) = HeaderValue::from_str(&rules.methods.join(",")) {
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        response.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

/// Applies the rules in order. A header that is not HTTP is left out: the settings were read by then.
pub(crate) fn configured(rules: &[HeaderRule], response: &mut HeaderMap) {
    for rule in rules {
        let value = if rule.date { date(&rule.value) } else { rule.value.clone() };
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(rule.name.as_bytes()), HeaderValue::from_str(&value))
        else {
            continue;
        };
        if rule.add {
            response.append(name, value);
        } else {
            response.insert(name, value);
        }
    }
}

/// A number of milliseconds since 1970 as an HTTP date; other texts stay.
fn date(text: &str) -> String {
    match text.trim().parse().ok().and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms))) {
        // The date format ends with the year 9999.
        Some(time) if text.trim().len() <= 14 => httpdate::fmt_http_date(time),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(add: bool, date: bool, name: &str, value: &str) -> HeaderRule {
        HeaderRule { add, date, name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn rules_add_set_and_date() {
        let mut headers = HeaderMap::new();
        configured(
            &[
                rule(true, false, "a", "1"),
                rule(true, false, "a", "2"),
                rule(false, false, "b", "1"),
                rule(false, false, "b", "2"),
                rule(false, true, "Expires", "0"),
            ],
            &mut headers,
        );
        assert_eq!(headers.get_all("a").iter().count(), 2);
        assert_eq!(headers.get_all("b").iter().collect::<Vec<_>>(), ["2"]);
        assert_eq!(headers["expires"], "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn pages_of_allowed_origins_may_ask() {
        let rules = Cors { origins: vec!["http://bar.com".to_owned()], methods: vec!["PUT".to_owned()] };
        let ask = |origin: &str, preflight: bool| {
            let mut request = HeaderMap::new();
            request.insert(header::ORIGIN, origin.parse().unwrap());
            if preflight {
                request.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("DELETE"));
            }
            let mut response = HeaderMap::new();
            let method = if preflight { Method::OPTIONS } else { Method::GET };
            cors(Some(&rules), &method, &request, &mut response);
            response
        };
        assert_eq!(ask("http://bar.com", false)[header::ACCESS_CONTROL_ALLOW_ORIGIN], "http://bar.com");
        assert!(!ask("http://evil.com", false).contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(ask("http://bar.com", true)[header::ACCESS_CONTROL_ALLOW_METHODS], "PUT");
    }
}
