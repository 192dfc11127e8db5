//! Versions of plugins that a config asks for (KIP-891): one version, or a range as Maven writes them.

use std::cmp::Ordering;

/// What Java says if no installed version is the wanted one; none if one is.
pub(crate) fn missing(class: &str, installed: &[&str], wanted: &str) -> Option<String> {
    let wanted = wanted.trim();
    // A bare version means itself, as Java reads it here.
    let is_range = wanted.starts_with(['[', '(']) && wanted.ends_with([']', ')']);
    let range = if is_range { wanted.to_owned() } else { format!("[{wanted},{wanted}]") };
    let fits =
        |version: &&str| if is_range { is_in(version, &range) } else { compare(version, wanted) == Ordering::Equal };
    if wanted == "latest" || installed.iter().any(fits) {
        return None;
    }
    Some(format!(
        "Plugin {class} not found that matches the version range {range}, available versions: [{}]",
        installed.join(", ")
    ))
}

fn is_in(version: &str, range: &str) -> bool {
    let Some(inner) = range.get(1..range.len().saturating_sub(1)) else { return false };
    let (low, high) = inner.split_once(',').unwrap_or((inner, inner));
    let above = low.is_empty()
        || match compare(version, low) {
            Ordering::Greater => true,
            Ordering::Equal => range.starts_with('['),
            Ordering::Less => false,
        };
    let below = high.is_empty()
        || match compare(version, high) {
            Ordering::Less => true,
            Ordering::Equal => range.ends_with(']'),
            Ordering::Greater => false,
        };
    above && below
}

/// Number by number; what is no number comes before numbers and is compared as text.
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(Option<u64>, String)> {
        text.trim().split(['.', '-']).map(|part| (part.parse().ok(), part.to_owned())).collect()
    };
    let (mut a, mut b) = (parts(a), parts(b));
    // `4.3` is `4.3.0`.
    let len = a.len().max(b.len());
    a.resize(len, (Some(0), "0".to_owned()));
    b.resize(len, (Some(0), "0".to_owned()));
    a.cmp(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_ranges_are_looked_for_as_java_does() {
        let cases = [
            ("4.3.1", None),
            ("latest", None),
            ("[4.0,5.0)", None),
            ("[4.0,)", None),
            ("(4.3.1,5]", Some("(4.3.1,5]")),
            ("[1.0,2.0)", Some("[1.0,2.0)")),
            ("1.0", Some("[1.0,1.0]")),
            ("x[", Some("[x[,x[]")),
            ("", Some("[,]")),
        ];
        for (wanted, range) in cases {
            let expected = range.map(|range| {
                format!("Plugin c.C not found that matches the version range {range}, available versions: [4.3.1]")
            });
            let found = missing("c.C", &["4.3.1"], wanted);
            assert_eq!(found, expected, "{wanted}");
        }
        assert_eq!(compare("4.3", "4.3.0"), Ordering::Equal);
        assert_eq!(compare("4.10", "4.9"), Ordering::Greater);
    }
}
