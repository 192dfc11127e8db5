//! Versions of plugins that a config asks for (KIP-891): one version, or ranges as Maven writes them.

use super::version_order::compare;
use kurier_api::ConnectError;
use std::cmp::Ordering;
use std::fmt;

/// Ranges of versions. Maven's `VersionRange`, as far as something that is not bounded in brackets is a version by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange(Vec<Restriction>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Restriction {
    low: Option<String>,
    low_included: bool,
    high: Option<String>,
    high_included: bool,
}

impl VersionRange {
    /// The versions that a setting wants; none if any will do. Java's `PluginUtils.connectorVersionRequirement`.
    ///
    /// # Errors
    /// Maven's text.
    pub fn wanted(text: Option<&str>) -> Result<Option<Self>, ConnectError> {
        let Some(text) = text.filter(|text| *text != "latest") else { return Ok(None) };
        let text = text.trim();
        let range = Self::parse(text)
            .and_then(|range| if range.0.is_empty() { Self::parse(&format!("[{text}]")) } else { Ok(range) });
        range.map(Some).map_err(loading)
    }

    /// Reads ranges; none if the text is a version.
    fn parse(spec: &str) -> Result<Self, String> {
        let mut ranges: Vec<Restriction> = Vec::new();
        let mut rest = spec;
        while rest.starts_with(['[', '(']) {
            let Some(end) = rest.find([')', ']']) else { return Err(format!("Unbounded range: {spec}")) };
            let range = Restriction::parse(&rest[..=end])?;
            if let Some(high) = ranges.last().map(|range| &range.high)
                && let Some(high) = high
                && range.low.as_ref().is_none_or(|low| compare(low, high) == Ordering::Less)
            {
                return Err(format!("Ranges overlap: {spec}"));
            }
            ranges.push(range);
            rest = rest[end + 1..].trim();
            rest = rest.strip_prefix(',').map_or(rest, str::trim);
        }
        if !rest.is_empty() && !ranges.is_empty() {
            return Err(format!("Only fully-qualified sets allowed in multiple set scenario: {spec}"));
        }
        Ok(Self(ranges))
    }

    fn contains(&self, version: &str) -> bool {
        self.0.iter().any(|range| range.contains(version))
    }
}

impl Restriction {
    fn parse(spec: &str) -> Result<Self, String> {
        let (low_included, high_included) = (spec.starts_with('['), spec.ends_with(']'));
        let inner = spec[1..spec.len() - 1].trim();
        let Some((low, high)) = inner.split_once(',') else {
            if !low_included || !high_included {
                return Err(format!("Single version must be surrounded by []: {spec}"));
            }
            let version = Some(inner.to_owned());
            return Ok(Self { low: version.clone(), low_included, high: version, high_included });
        };
        let bound = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let (low, high) = (bound(low), bound(high));
        if let (Some(low), Some(high)) = (&low, &high) {
            let order = compare(high, low);
            if order == Ordering::Less || order == Ordering::Equal && !(low_included && high_included) {
                return Err(format!("Range defies version ordering: {spec}"));
            }
        }
        Ok(Self { low, low_included, high, high_included })
    }

    fn contains(&self, version: &str) -> bool {
        let within = |bound: &Option<String>, included, beyond| {
            let Some(bound) = bound else { return true };
            match compare(version, bound) {
                Ordering::Equal => included,
                order => order == beyond,
            }
        };
        within(&self.low, self.low_included, Ordering::Greater)
            && within(&self.high, self.high_included, Ordering::Less)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let open = if range.low_included { '[' } else { '(' };
            let close = if range.high_included { ']' } else { ')' };
            let bound = |bound: &Option<String>| bound.clone().unwrap_or_default();
            write!(f, "{comma}{open}{},{}{close}", bound(&range.low), bound(&range.high))?;
        }
        Ok(())
    }
}

/// Whether an installed version of a class is a wanted one.
///
/// # Errors
/// Java's `VersionedPluginLoadingException`.
pub fn ensure_installed(class: &str, installed: &[&str], wanted: Option<&VersionRange>) -> Result<(), ConnectError> {
    match wanted {
        Some(range) if !installed.iter().any(|version| range.contains(version)) => Err(loading(format!(
            "Plugin {class} not found that matches the version range {range}, available versions: [{}]",
            installed.join(", ")
        ))),
        _ => Ok(()),
    }
}

/// Java's exception for a version that cannot be read or is not there.
pub(super) const VERSION_NOT_FOUND: &str = "org.apache.kafka.connect.runtime.isolation.VersionedPluginLoadingException";

fn loading(message: String) -> ConnectError {
    ConnectError::of_class(VERSION_NOT_FOUND, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_ranges_are_looked_for_as_java_does() {
        let no = |range: &str| {
            Err(format!("Plugin c.C not found that matches the version range {range}, available versions: [4.3.1]"))
        };
        let cases = [
            (None, Ok(())),
            (Some("4.3.1"), Ok(())),
            (Some("latest"), Ok(())),
            (Some("[4.0,5.0)"), Ok(())),
            (Some("[4.0,)"), Ok(())),
            (Some("[1,2),[4,5)"), Ok(())),
            (Some("(4.3.1,5]"), no("(4.3.1,5]")),
            (Some("[1.0,2.0)"), no("[1.0,2.0)")),
            (Some("[1.0, 2.0) , (,1]"), Err("Ranges overlap: [1.0, 2.0) , (,1]".to_owned())),
            (Some("1.0"), no("[1.0,1.0]")),
            (Some("[1.0]"), no("[1.0,1.0]")),
            (Some("x["), no("[x[,x[]")),
            (Some(""), no("[,]")),
            (Some("["), Err("Unbounded range: [".to_owned())),
            (Some("(1)"), Err("Single version must be surrounded by []: (1)".to_owned())),
            (Some("[2,1]"), Err("Range defies version ordering: [2,1]".to_owned())),
            (Some("[1]x"), Err("Only fully-qualified sets allowed in multiple set scenario: [1]x".to_owned())),
        ];
        for (wanted, expected) in cases {
            let found = VersionRange::wanted(wanted)
                .and_then(|range| ensure_installed("c.C", &["4.3.1"], range.as_ref()))
                .map_err(|error| error.message().unwrap_or_default().to_owned());
            assert_eq!(found, expected, "{wanted:?}");
        }
    }
}
