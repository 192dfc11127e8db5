//! The page about all of this.

use std::fmt::Write as _;

use super::{Client, Default, Property, Status, admin, common, consumer, producer, security};

const HEAD: &str = "# Properties of Kafka clients\n\n\
This page is written by `cargo xtask docs`.\n\n\
These are all properties of the producer, consumer and admin client of Apache Kafka 4.3, as Kurier takes them: in a worker's file with `producer.`, `consumer.` or \
`admin.` in front, in a connector's config with `producer.override.`, `consumer.override.` or `admin.override.`. Types, defaults, ranges and messages are Java's.\n\n\
- **yes**: it does what it does in Java, within the limits that are named.\n\
- **ignored**: it may be given and changes nothing, for the reason that is named. Where somebody might count on it, the log says so once.\n\
- **refused**: with another value than the default no client is made, for the reason that is named.\n\n\
A property that is not listed is a warning in the log, with the nearest one that is.\n";

/// `docs/client-properties.md`.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let parts: [(&str, &[Property]); 5] = [
        ("Producer", producer::KEYS),
        ("Consumer", consumer::KEYS),
        ("Admin client", admin::KEYS),
        ("All clients", common::KEYS),
        ("All clients: TLS and SASL", security::KEYS),
    ];
    for (title, properties) in parts {
        page.push_str(&format!("\n## {title}\n\n| property | type | default | |\n|---|---|---|---|\n"));
        properties.iter().for_each(|property| row(&mut page, property));
    }
    let (mut supported, mut all) = (0, 0);
    for property in Client::ALL.into_iter().flat_map(Client::properties) {
        all += 1;
        supported += usize::from(property.status == Status::Supported);
    }
    // Counted once for each client that has it.
    let _ = writeln!(page, "\n{supported} of {all} are supported, counted for each client by itself.");
    page
}

fn row(page: &mut String, property: &Property) {
    let kind = format!("{:?}", property.kind).to_lowercase();
    let default = match property.default {
        Default::Required => "*required*".to_owned(),
        Default::Null | Default::Value("") => String::new(),
        Default::Value(value) => format!("`{}`", value.replace(',', ", ")),
    };
    let status = match property.status {
        Status::Supported => "yes",
        Status::Ignored => "ignored",
        Status::Refused => "refused",
    };
    let colon = if property.note.is_empty() { "" } else { ": " };
    page.push_str(&format!("| `{}` | {kind} | {default} | **{status}**{colon}{} |\n", property.name, property.note));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_docs_is_this_one() {
        // `cargo xtask docs` writes it, as does this test where UPDATE_EXPECT=1 says so.
        expect_test::expect_file!["../../../../docs/client-properties.md"].assert_eq(&super::page());
    }
}
