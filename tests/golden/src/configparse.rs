//! Makes the recorded calls of parsing and checking of settings.

use crate::Answer;
use crate::case::{Case, Suite};
use crate::configs;
use crate::settings::{Recorded, RecordedClasses, parsed_to, setting_from, setting_to, type_from, value_to};
use anyhow::{Context, Result, bail};
use kurier_api::ConnectError;
use kurier_api::config::{
    ConfigDef, Key, Parsed, Props, Recommender, Setting, Type, Validator, Width, invalid, parse_type,
};
use serde_json::{Value as Json, json};

/// The key of recorded calls that concern one setting.
const KEY: &str = "k";

/// Makes the call of a case; [`Answer::NotThere`] where there is no such class or operation.
///
/// # Errors
/// If the case breaks the notation.
pub fn run(_suite: &Suite, case: &Case) -> Result<Answer> {
    Ok(match (case.simple_class(), case.op.as_str()) {
        ("ConfigDef", "parseType" | "parseType/object") => {
            let setting = setting_from(case.input())?;
            parse_type(KEY, &setting, kind(case)?, &RecordedClasses).map(|setting| setting_to(&setting)).into()
        }
        ("ConfigDef", "convertToString") => {
            let setting = setting_from(case.input())?;
            setting.try_to_text(kind(case)?).map(|text| text.map_or(Json::Null, Json::from)).into()
        }
        ("ConfigDef", "ensureValid") => return ensure_valid(case),
        ("ConfigDef", "parse" | "validate" | "define") => return definition(case),
        ("ConfigException", "new") => {
            let given = |i: usize| setting_from(&case.input()[i]);
            let name = given(0)?.to_string();
            let message = case.input()[2].as_str().unwrap_or_default();
            Answer::Error(invalid(&name, &given(1)?, message))
        }
        ("AbstractConfig", op) => return abstract_config(op, case.input().as_str().unwrap_or_default()),
        (class, "validate") if class.ends_with("ConnectorClientConfigOverridePolicy") => return configs::policy(case),
        ("SinkConnectorConfig", "new") => return configs::sink(case),
        ("SinkConnectorConfig", _) => return configs::sink_topics(case),
        ("SourceConnectorConfig", "new") => return configs::source(case),
        ("ConnectorConfig", "enrichAndValidate" | "key") => return configs::enriched(case),
        ("StandaloneConfig", "new") => return configs::standalone(case),
        _ => Answer::NotThere,
    })
}

fn kind(case: &Case) -> Result<Type> {
    type_from(case.setting("type").context("no type")?)
}

/// The validator that a case names.
fn validator(name: &str) -> Result<Validator> {
    let list = |of: &[&str], empty, null| Validator::ValidList {
        of: of.iter().map(|&text| text.to_owned()).collect(),
        empty,
        null,
    };
    Ok(match name {
        "Range.atLeast(1)" => Validator::at_least(1),
        "Range.between(0,10)" => Validator::between(0, 10),
        "Range.between(0.5,1.5)" => Validator::between_reals(0.5, 1.5),
        "ValidString.in(a,b)" => Validator::one_of(["a", "b"]),
        "CaseInsensitiveValidString.in(Aa,b)" => Validator::one_of_ignoring_case(["Aa", "b"]),
        "NonNullValidator" => Validator::NonNull,
        "NonEmptyString" => Validator::NonEmptyString,
        "NonEmptyStringWithoutControlChars" => Validator::NonEmptyStringWithoutControlChars,
        "NonEmptyListValidator" => Validator::NonEmptyList,
        "ListSize.atMostOfSize(2)" => Validator::ListSize(2),
        "ValidList.in(a,b)" | "ValidList.in(true,a,b)" => list(&["a", "b"], true, false),
        "ValidList.in(false,a,b)" => list(&["a", "b"], false, false),
        "ValidList.anyNonDuplicateValues(true,true)" => list(&[], true, true),
        "ValidList.anyNonDuplicateValues(true,false)" => list(&[], true, false),
        "ValidList.anyNonDuplicateValues(false,true)" => list(&[], false, true),
        "ValidList.anyNonDuplicateValues(false,false)" => list(&[], false, false),
        "Composite(NonNull,Range.atLeast(1))" => Validator::All(vec![Validator::NonNull, Validator::at_least(1)]),
        "Lambda" => Validator::custom("txt", |name, value| match value {
            Setting::Text(text) if text == "bad" => Err(invalid(name, value, "no")),
            _ => Ok(()),
        }),
        "RegexValidator" => Validator::regex(),
        other => bail!("unknown validator {other}"),
    })
}

fn ensure_valid(case: &Case) -> Result<Answer> {
    let validator = validator(case.setting("validator").context("no validator")?)?;
    if let Some(text) = case.setting("text")
        && validator.to_string() != text
    {
        return Ok(Answer::Output(validator.to_string().into()));
    }
    Ok(validator.ensure_valid(KEY, &setting_from(case.input())?).map(|()| "ok".into()).into())
}

/// Proposes values of `dep` of the sample.
struct OneOrTwo;

impl Recommender for OneOrTwo {
    fn valid_values(&self, _name: &str, _parsed: &Parsed) -> Result<Vec<Setting>, ConnectError> {
        Ok(vec![Setting::Long(1), Setting::Long(2)])
    }

    fn visible(&self, _name: &str, parsed: &Parsed) -> bool {
        parsed.get("int") == Some(&Setting::Int(5))
    }
}

/// The definition that the recording calls "sample".
fn sample() -> ConfigDef {
    let int = Key::new("int", Type::Int).default("5").validator(Validator::between(0, 9)).group("G1", 1);
    let dep = Key::new("dep", Type::Long).default_null().group("G1", 2).width(Width::Long).display_name("Dep");
    ConfigDef::new()
        .define(Key::new("req", Type::String).group("G2", 1).width(Width::Short).display_name("Req"))
        .define(int.width(Width::Medium).display_name("Int").dependents(["dep"]))
        .define(dep.recommender(OneOrTwo))
        .define(Key::new("list", Type::List).default("a,b"))
        .define(Key::new("bool", Type::Boolean).default("false"))
        .define(Key::new("pw", Type::Password).default_null())
        .define(Key::new("cls", Type::Class).default_null())
        .define(Key::new("dbl", Type::Double).default("1.5"))
        .define(Key::new("reqlist", Type::List))
        .define(Key::new("short", Type::Short).default("7"))
}

fn definition(case: &Case) -> Result<Answer> {
    let mut def = ConfigDef::new();
    let given = Recorded(case.config().as_object());
    match case.input().as_str().unwrap_or_default() {
        "sample" => def = sample(),
        "default out of range" => {
            let key = Key::new(KEY, Type::Int).default("-1").validator(Validator::at_least(0));
            return Ok(def.try_define(key).map(|()| Json::Null).into());
        }
        "default of wrong type" => {
            return Ok(def.try_define(Key::new(KEY, Type::Int).default("x")).map(|()| Json::Null).into());
        }
        "undefined dependent" => def = def.define(Key::new(KEY, Type::Int).default("1").dependents(["zz"])),
        twice if twice.contains("twice") || twice.contains("duplicate") => {
            let mut define = || def.try_define(Key::new(KEY, Type::Int).default("1"));
            return Ok(define().and_then(|()| define()).map(|()| Json::Null).into());
        }
        other => bail!("unknown definition {other}"),
    }
    Ok(match case.op.as_str() {
        "validate" => {
            Answer::Output(def.validate_given(&given, &RecordedClasses).iter().map(value_to).collect::<Vec<_>>().into())
        }
        _ => def.parse_given(&given, &RecordedClasses).map(|parsed| parsed_to(&parsed)).into(),
    })
}

/// A config with the settings `p.a` and `p.c` given.
fn abstract_config(op: &str, key: &str) -> Result<Answer> {
    let def = ConfigDef::new().define(Key::new("a", Type::Int).default("1"));
    let given: Props = [("p.a", " 5 "), ("p.c", "z")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let config = def.parse(&given)?;
    Ok(match op {
        "get" => config.get(key).map(setting_to).into(),
        "originalsWithPrefix" => Answer::Output(json!(config.originals_with_prefix(key))),
        _ => Answer::NotThere,
    })
}
