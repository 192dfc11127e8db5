//! The configs of a group: those of the consumer protocol. Apache Kafka has more, of kinds of groups that are not served here.

use crate::topic_config::{Definition, Kind, Overrides};

/// All of them, by name, each with the configs of the broker that bound it.
static DEFINITIONS: [(Definition, i64, i64); 3] = [
    (Definition::free("consumer.assignment.interval.ms", Kind::Int, "1000"), 0, 15_000),
    (Definition::free("consumer.heartbeat.interval.ms", Kind::Int, "5000"), 5_000, 15_000),
    (Definition::free("consumer.session.timeout.ms", Kind::Int, "45000"), 45_000, 60_000),
];

/// All configs that a group may have.
pub(crate) fn definitions() -> impl Iterator<Item = &'static Definition> {
    DEFINITIONS.iter().map(|(definition, _, _)| definition)
}

/// Checks every name and value.
pub(crate) fn check(configs: &Overrides) -> Result<(), String> {
    for (name, value) in &configs.0 {
        let found = DEFINITIONS.iter().find(|(definition, _, _)| definition.name == name);
        let (definition, least, most) = found.ok_or_else(|| format!("Unknown group config name: {name}"))?;
        if let Some(reason) = definition.refuse(value) {
            return Err(reason);
        }
        let number: i64 = value.trim().parse().unwrap_or(0);
        let bound = |which: &str| {
            let (start, rest) = name.split_once('.').unwrap_or((name, ""));
            format!("group.{start}.{which}.{rest}")
        };
        if number < *least {
            return Err(format!("{name} must be greater than or equal to {}", bound("min")));
        }
        if number > *most {
            return Err(format!("{name} must be less than or equal to {}", bound("max")));
        }
    }
    let millis = |name: &str| configs.0.get(name).and_then(|value| value.trim().parse::<i64>().ok());
    let session = millis("consumer.session.timeout.ms").unwrap_or(45_000);
    if session <= millis("consumer.heartbeat.interval.ms").unwrap_or(5_000) {
        return Err("consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_apache_kafka() {
        let cases = [
            ("consumer.session.timeout.ms", "45000", None),
            (
                "consumer.session.timeout.ms",
                "44999",
                Some("greater than or equal to group.consumer.min.session.timeout.ms"),
            ),
            (
                "consumer.heartbeat.interval.ms",
                "15001",
                Some("less than or equal to group.consumer.max.heartbeat.interval.ms"),
            ),
            ("consumer.heartbeat.interval.ms", "soon", Some("Not a number of type INT")),
            ("no.such", "1", Some("Unknown group config name: no.such")),
        ];
        for (name, value, expected) in cases {
            let checked = check(&Overrides([(name.to_owned(), value.to_owned())].into()));
            match expected {
                None => assert_eq!(checked, Ok(()), "{name}={value}"),
                Some(reason) => assert!(checked.unwrap_err().contains(reason), "{name}={value}"),
            }
        }
    }
}
