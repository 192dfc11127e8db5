//! Settings of a connector that are probably misspelt: nothing declares them, and something declares one that is written almost like them.
//!
//! Java says nothing of them, and a connector then does something else than was meant, with a default. Settings with names of their own kind are left
//! alone, because connectors may take any: what a driver or client understands.

use super::request::{ConfigInfos, RawConfig};
use kurier_api::config::closest;
use std::collections::HashSet;

/// What is said of each misspelt setting of a config that was validated.
pub(crate) fn misspelt(config: &RawConfig, infos: &ConfigInfos) -> Vec<String> {
    let declared = infos.configs.iter().filter_map(|info| Some(info.definition.as_ref()?.name.as_str()));
    misspelt_settings(config.keys().map(String::as_str), &declared.collect::<Vec<_>>())
}

/// So many settings that nothing declares are compared, the first ones: more are no slips of the pen, and whoever sends them must not hold up the herder.
const MOST_UNKNOWN: usize = 100;
/// With so many settings that were not given they are compared, the first ones: a list of transformations in a config can declare any number.
const MOST_ABSENT: usize = 1_000;

/// A sentence for each setting that is not declared while one of a similar name is declared and not given.
pub fn misspelt_settings<'c>(given: impl Iterator<Item = &'c str> + Clone, declared: &[&str]) -> Vec<String> {
    let all_given: HashSet<&str> = given.clone().collect();
    let all_declared: HashSet<&str> = declared.iter().copied().collect();
    let absent = declared.iter().copied().filter(|name| !all_given.contains(name));
    let absent: Vec<&str> = absent.take(MOST_ABSENT).collect();
    let unknown = given.filter(|key| !all_declared.contains(key));
    unknown
        .take(MOST_UNKNOWN)
        .filter_map(|key| {
            let meant = closest(key, absent.iter().copied())?;
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

    #[test]
    fn neither_many_keys_nor_many_declared_settings_are_all_compared() {
        let name = "a.setting.with.quite.a.long.name";
        let numbered: Vec<String> = (0..100_000).map(|i| format!("{name}.{i}")).collect();
        let numbered: Vec<&str> = numbered.iter().map(String::as_str).collect();
        let given = || numbered.iter().copied();
        assert_eq!(misspelt_settings(given(), &[name]).len(), MOST_UNKNOWN);
        assert_eq!(misspelt_settings(given(), &numbered), Vec::<String>::new());
        // Keys that are declared and given use up neither of the bounds.
        let declared = [&numbered[..], &[name]].concat();
        assert_eq!(misspelt_settings(given().chain(["a.setting.with.quite.a.long.nam"]), &declared).len(), 1);
        let declared: Vec<&str> = given().chain(["file"]).collect();
        assert_eq!(misspelt_settings(["fil"].into_iter(), &declared), Vec::<String>::new());
    }
}
