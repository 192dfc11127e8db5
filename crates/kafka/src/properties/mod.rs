//! Every property of Java's producer, consumer and admin client, as of Apache Kafka 4.3: its type, default and rule, and what becomes of it here.
//!
//! The tables are the truth for parsing ([`crate::config`]), for the validation of a connector's overrides and for `docs/client-properties.md`. A test
//! holds them against what Java prints of itself, another one against what the parsers of this crate really read.

mod admin;
mod common;
mod consumer;
mod page;
mod producer;
mod rule;
mod security;
mod table;

pub use page::page;
pub use rule::Rule;
pub(crate) use rule::iso_nanos;

/// Which of Java's clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// `ProducerConfig`.
    Producer,
    /// `ConsumerConfig`.
    Consumer,
    /// `AdminClientConfig`.
    Admin,
}

/// The type of a property: Java's `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Java's `STRING`.
    Text,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// A fraction.
    Double,
    /// With commas between.
    List,
    /// The name of a Java class.
    Class,
    /// A secret.
    Password,
}

/// What holds if a property is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It has to be given.
    Required,
    /// Nothing.
    Null,
    /// This text, as it would be given.
    Value(&'static str),
}

/// How much Java makes of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// `HIGH`.
    High,
    /// `MEDIUM`.
    Medium,
    /// `LOW`.
    Low,
}

/// What becomes of a property here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what it does in Java, within the limits of the note.
    Supported,
    /// It may be given and changes nothing; the note says why that is right.
    Ignored,
    /// No client is made with another value than the default; the note says why.
    Refused,
}

/// A property of a client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What holds without it.
    pub default: Default,
    /// How much Java makes of it.
    pub importance: Importance,
    /// What its values have to keep to.
    pub rule: Rule,
    /// What becomes of it here.
    pub status: Status,
    /// Why, or within which limits; empty where there is nothing to say.
    pub note: &'static str,
}

impl Property {
    /// What Java says of a value; nothing if it takes it. Secrets are never said.
    pub fn refusal(&self, value: &str) -> Option<String> {
        self.refusal_as(self.name, value)
    }

    /// As [`Self::refusal`], where the property was given under another name.
    pub(crate) fn refusal_as(&self, name: &str, value: &str) -> Option<String> {
        rule::refusal(self, name, value)
    }

    /// Whether a value says the same as none at all.
    pub(crate) fn is_default(&self, value: &str) -> bool {
        match self.default {
            Default::Value(default) if self.kind == Kind::Boolean => default.eq_ignore_ascii_case(value.trim()),
            Default::Value(default) if self.kind == Kind::List => rule::elements(default) == rule::elements(value),
            Default::Value(default) => default == value.trim(),
            Default::Required => false,
            Default::Null => value.trim().is_empty(),
        }
    }
}

impl Client {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Producer, Self::Consumer, Self::Admin];

    /// As in `producer.override.` and in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
            Self::Admin => "admin",
        }
    }

    /// Its properties: first its own, then those that all have.
    pub fn properties(self) -> impl Iterator<Item = &'static Property> {
        self.tables().into_iter().flatten()
    }

    /// A property by its name.
    pub fn property(self, name: &str) -> Option<&'static Property> {
        self.tables().into_iter().find_map(|table| {
            let at = table.binary_search_by_key(&name, |property| property.name).ok()?;
            Some(&table[at])
        })
    }

    fn tables(self) -> [&'static [Property]; 3] {
        let own = match self {
            Self::Producer => producer::KEYS,
            Self::Consumer => consumer::KEYS,
            Self::Admin => admin::KEYS,
        };
        [own, common::KEYS, security::KEYS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What Java prints of itself: see `tests/java/clients/ClientProperties.java`.
    const JAVA: &str = include_str!("../../tests/fixtures/client-properties.tsv");

    fn lines(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
        JAVA.lines().map(|line| line.split('\t').collect::<Vec<_>>()).filter(move |line| line[0] == kind)
    }

    fn named(client: &str) -> Client {
        Client::ALL.into_iter().find(|known| known.name() == client).unwrap()
    }

    #[test]
    fn the_list_is_javas() {
        let mut expected = Vec::new();
        for line in lines("key") {
            // Java prints classes of a list with a word in front of each.
            let default = line[4].replace("class ", "");
            expected.push([line[1], line[2], line[3], &default, line[5]].join("\t"));
        }
        let mut found = Vec::new();
        for client in Client::ALL {
            for property in client.properties() {
                let kind = match property.kind {
                    Kind::Text => "STRING".to_owned(),
                    kind => format!("{kind:?}").to_uppercase(),
                };
                let default = match property.default {
                    Default::Required => "(required)",
                    Default::Null => "(null)",
                    Default::Value(value) => value,
                };
                let importance = format!("{:?}", property.importance).to_uppercase();
                found.push([client.name(), property.name, &kind, default, &importance].join("\t"));
            }
        }
        expected.sort();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_java_refuses_is_refused_in_its_words() {
        let mut refused: BTreeMap<(Client, &str), BTreeMap<&str, &str>> = BTreeMap::new();
        let mut values: BTreeMap<Kinds, Vec<&str>> = BTreeMap::new();
        for line in lines("values") {
            values.entry(line[1].to_owned()).or_default().push(line[2]);
        }
        for line in lines("refused") {
            for client in line[1].split(',') {
                refused.entry((named(client), line[2])).or_default().insert(line[3], line[4]);
            }
        }
        assert!(refused.len() > 150 && values.len() > 5, "the fixture is whole");
        for client in Client::ALL {
            for property in client.properties() {
                let kind = match (property.name, property.kind) {
                    ("auto.offset.reset", _) => "auto.offset.reset".to_owned(),
                    (_, Kind::Text) => "STRING".to_owned(),
                    (_, kind) => format!("{kind:?}").to_uppercase(),
                };
                let said = refused.remove(&(client, property.name)).unwrap_or_default();
                for value in values.get(&kind).into_iter().flatten() {
                    let expected = said.get(value).map(|message| (*message).to_owned());
                    assert_eq!(property.refusal(value), expected, "{client:?} {} {value:?}", property.name);
                }
            }
        }
        assert!(refused.is_empty(), "{refused:?}");
    }

    type Kinds = String;

    #[test]
    fn the_tables_are_sorted_and_give_their_reasons() {
        for client in Client::ALL {
            for table in client.tables() {
                assert!(table.is_sorted_by_key(|property| property.name), "{client:?}");
            }
            for property in client.properties() {
                assert_eq!(client.property(property.name), Some(property));
                assert!(property.status == Status::Supported || !property.note.is_empty(), "{}", property.name);
            }
        }
        assert_eq!(Client::Admin.property("acks"), None);
    }
}
