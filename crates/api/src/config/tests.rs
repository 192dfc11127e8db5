//! What is not in the recorded answers.

use super::*;

fn sample() -> ConfigDef {
    ConfigDef::new()
        .define(Key::new("topic", Type::String).validator(Validator::NonEmptyString).doc("Where to."))
        .define(Key::new("batch.size", Type::Int).default("2000").validator(Validator::at_least(1)))
        .define(Key::new("password", Type::Password).default_null())
        .define(
            Key::new("kurier.format", Type::String)
                .default("text")
                .validator(Validator::one_of(["text", "json"]))
                .hidden(),
        )
}

fn props(pairs: &[(&str, &str)]) -> Props {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_first_problem_ends_parsing_and_validation_tells_all() {
    let bad = props(&[("batch.size", "0"), ("kurier.format", "xml")]);
    let error = sample().parse(&bad).unwrap_err();
    assert_eq!(error.to_string(), "Missing required configuration \"topic\" which has no default value.");
    let mut errors: Vec<String> = sample().validate(&bad).into_iter().flat_map(|value| value.errors).collect();
    errors.sort();
    assert_eq!(
        errors,
        [
            "Invalid value 0 for configuration batch.size: Value must be at least 1",
            "Invalid value xml for configuration kurier.format: String must be one of: text, json",
            "Missing required configuration \"topic\" which has no default value.",
        ]
    );
}

#[test]
fn keys_of_ours_are_read_but_not_listed() {
    let good = props(&[("topic", "t"), ("kurier.format", "json")]);
    assert_eq!(sample().parse(&good).unwrap().get_str("kurier.format"), Some("json"));
    assert!(sample().keys().all(|key| key.name != "kurier.format"));
    assert!(sample().validate(&good).iter().all(|value| value.name != "kurier.format"));
}

#[test]
fn secrets_do_not_print() {
    let parsed = sample().parse(&props(&[("topic", "t"), ("password", "s3cret")])).unwrap();
    assert_eq!(parsed.get_password("password").unwrap().reveal(), "s3cret");
    let printed = format!("{parsed:?} {:?}", parsed.values());
    assert!(!printed.contains("s3cret"), "{printed}");
    let shown = sample().validate(&props(&[("topic", "t"), ("password", "s3cret")]));
    assert!(shown.iter().all(|value| value.value.as_deref() != Some("s3cret")));
}

#[test]
fn a_definition_that_contradicts_itself_is_refused() {
    let mut def = sample();
    let twice = def.try_define(Key::new("topic", Type::String)).unwrap_err();
    assert_eq!(twice.to_string(), "Configuration topic is defined twice.");
    let wrong = def.try_define(Key::new("n", Type::Int).default("x")).unwrap_err();
    assert_eq!(wrong.to_string(), "Invalid value x for configuration n: Not a number of type INT");
}

#[test]
fn embedded_settings_come_by_weight_and_are_checked_under_their_own_names() {
    let mut child = ConfigDef::new()
        .define(Key::new("late", Type::String).default("x").importance(Importance::High))
        .define(Key::new("size", Type::Int).validator(Validator::at_least(1)))
        .define(Key::new("again", Type::String).default("x").importance(Importance::High).dependents(["late"]));
    child.try_define(Key::new("grouped", Type::String).default("x").group("Own", 1)).unwrap();
    let mut def = sample();
    def.embed("t.a.", "T: a", 2, &child).unwrap();
    let keys: Vec<_> = def
        .keys()
        .skip(3)
        .map(|key| (key.name.as_str(), key.group.as_deref().unwrap_or_default(), key.order_in_group))
        .collect();
    let expected =
        [("t.a.size", "T: a", 2), ("t.a.again", "T: a", 3), ("t.a.late", "T: a", 4), ("t.a.grouped", "T: a: Own", 5)];
    assert_eq!(keys, expected);
    assert_eq!(def.key("t.a.again").unwrap().dependents, ["t.a.late"]);
    let error = def.parse(&props(&[("topic", "t"), ("t.a.size", "0")])).unwrap_err();
    assert_eq!(error.to_string(), "Invalid value 0 for configuration size: Value must be at least 1");
}
