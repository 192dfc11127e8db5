//! Settings of a connector that are probably misspelt: nothing declares them, and something declares one that is written almost like them.
//!
//! Java says nothing of them, and a connector then does something else than was meant, with a default. Settings with names of their own kind are left
//! alone, because connectors may take any: what a driver or client understands.

use super::request::{ConfigInfos, RawConfig};
use crate::registry::nearest;

/// What is said of each misspelt setting of a config that was validated.
pub(crate) fn misspelt(config: &RawConfig, infos: &ConfigInfos) -> Vec<String> {
    let declared = infos.configs.iter().filter_map(|info| Some(info.definition.as_ref()?.name.as_str()));
    misspelt_settings(config.keys().map(String::as_str), &declared.collect::<Vec<_>>())
}

/// A sentence for each setting that is not declared while one of a similar name is declared and not given.
pub fn misspelt_settings<'c>(given: impl Iterator<Item = &'c str> + Clone, declared: &[&str]) -> Vec<String> {
    let unknown = given.clone().filter(|key| !declared.contains(key));
    unknown
        .filter_map(|key| {
            let absent = declared.iter().copied().filter(|name| given.clone().all(|given| given != *name));
            let meant = nearest(key, absent)?;
            Some(format!("`{key}` is not a setting of this connector; did you mean `{meant}`?"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_of_settings_that_are_absent_are_meant() {
        let declared = ["file", "topic", "tasks.max", "transforms.x.field"];
        let long = "topic".repeat(1_000);
        let cases: [(&[&str], &[(&str, &str)]); 6] = [
            (&["file", "topc"], &[("topc", "topic")]),
            (&["file", "topic", "topc"], &[]),
            (&["fil", "task.max"], &[("fil", "file"), ("task.max", "tasks.max")]),
            (&["transforms.x.feild"], &[("transforms.x.feild", "transforms.x.field")]),
            (&["connection.password", "size"], &[]),
            (&[&long], &[]),
        ];
        for (given, expected) in cases {
            let said = misspelt_settings(given.iter().copied(), &declared);
            let expected: Vec<String> = expected
                .iter()
                .map(|(key, meant)| format!("`{key}` is not a setting of this connector; did you mean `{meant}`?"))
                .collect();
            assert_eq!(said, expected, "{given:?}");
        }
    }
}
