//! Paths and queries as Jetty and Jersey read them.
//!
//! Jetty refuses ambiguous paths before anybody looks at them; so a connector called `a/b` can be created and never be reached by name.

use std::borrow::Cow;

/// The server refuses the path: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadPath(pub(crate) &'static str);

/// The decoded segments of a path. One trailing slash is dropped, and so is what follows a `;`.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, BadPath> {
    if path.is_empty() || path == "/" {
        return Ok(Vec::new());
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').map(segment).collect()
}

fn segment(raw: &str) -> Result<String, BadPath> {
    if raw.is_empty() {
        return Err(BadPath("Ambiguous URI empty segment"));
    }
    if raw.contains(['{', '}']) {
        return Err(BadPath("Illegal character in path"));
    }
    let plain = raw.split(';').next().unwrap_or(raw);
    let bytes = decode(plain, false).ok_or(BadPath("Bad URI encoding"))?;
    if plain.contains('%') && bytes.iter().any(|b| matches!(b, b'/' | b'%' | b'\\' | 0..0x20 | 0x7f)) {
        return Err(BadPath("Ambiguous URI encoding"));
    }
    if plain.contains('%') && (&*bytes == b"." || &*bytes == b"..") {
        return Err(BadPath("Ambiguous URI path segment"));
    }
    String::from_utf8(bytes).map_err(|_| BadPath("Bad URI encoding"))
}

/// The decoded pairs of a query, in order. What is badly escaped stays as it is.
pub(crate) fn query(raw: Option<&str>) -> Vec<(String, String)> {
    let Some(raw) = raw else { return Vec::new() };
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (query_text(key), query_text(value))
        })
        .collect()
}

fn query_text(raw: &str) -> String {
    let bytes = decode(raw, true).map_or(Cow::Borrowed(raw.as_bytes()), Cow::Owned);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Undoes percent-encoding; none if an escape is malformed.
fn decode(text: &str, plus_is_blank: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    Some(bytes)
}

/// The name in a `Location`: Java escapes these and leaves `/ ; & : @ + ' , = ! $ * .` alone.
pub(crate) fn encode_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for &byte in name.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(byte)),
            b'-' | b'_' | b'.' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            | b':' | b'@' | b'/' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_and_decoded() {
        for (path, expected) in [
            ("/", &[][..]),
            ("/connectors", &["connectors"]),
            ("/connectors/", &["connectors"]),
            ("/connectors/a%20b+c", &["connectors", "a b+c"]),
            ("/connectors/a;x=1/status", &["connectors", "a", "status"]),
            ("/connectors/a%3Bb", &["connectors", "a;b"]),
            ("/connectors/%E4%B8%AD", &["connectors", "中"]),
        ] {
            assert_eq!(segments(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused() {
        for path in [
            "/connectors//a",
            "//",
            "/connectors/a%2Fb",
            "/connectors/%25",
            "/connectors/%5C",
            "/connectors/%09",
            "/connectors/%00",
            "/connectors/%2E%2E",
            "/connectors/%FF",
            "/connectors/%zz",
            "/connectors/%4",
            "/connectors/{a}",
        ] {
            assert!(segments(path).is_err(), "{path}");
        }
    }

    #[test]
    fn queries_are_decoded_leniently() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(
            query(Some("a=1+2&a=%33&b&&c=%zz")),
            [pair("a", "1 2"), pair("a", "3"), pair("b", ""), pair("c", "%zz")]
        );
        assert!(query(None).is_empty());
    }

    #[test]
    fn names_in_locations_are_escaped_as_java_does() {
        assert_eq!(encode_name("a b?#%\"|^<>[]`é"), "a%20b%3F%23%25%22%7C%5E%3C%3E%5B%5D%60%C3%A9");
        assert_eq!(encode_name("/;&:@+',=!$*."), "/;&:@+',=!$*.");
    }
}
