use super::*;
use serde_json::json;

fn offsets(partition: Json, offset: Json) -> Vec<ConnectorOffset> {
    vec![ConnectorOffset { partition, offset }]
}

#[test]
fn offsets_of_sinks_are_read_with_javas_words() {
    let at = |partition: Json, offset: Json| match sink_offsets(&offsets(partition, offset)) {
        Ok(wanted) => wanted.iter().map(|(partition, offset)| format!("{partition} {offset:?}")).collect(),
        Err(error) => format!("{} {error}", error.status()),
    };
    let partition = |n: Json| json!({"kafka_topic": "t", "kafka_partition": n});
    let number = |n: &str| {
        format!(
            "400 Failed to parse the following Kafka partition value in the provided offsets: '{n}'. Partition values for \
             sink connectors need to be integers."
        )
    };
    let offset = |n: &str| {
        format!(
            "400 Failed to parse the following Kafka offset value in the provided offsets: '{n}'. Offset values for sink \
             connectors need to be integers."
        )
    };
    let keys =
        "400 The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'";
    let key = "400 The offset for a sink connector should either be null or contain the key 'kafka_offset'";
    let cases = [
        (partition(json!(0)), json!({"kafka_offset": 7}), "t-0 Some(7)".to_owned()),
        (partition(json!("3")), json!({"kafka_offset": "8", "x": 1}), "t-3 Some(8)".to_owned()),
        (partition(json!(0)), json!(null), "t-0 None".to_owned()),
        (json!({"kafka_topic": 5, "kafka_partition": 0}), json!(null), "5-0 None".to_owned()),
        (
            json!(null),
            json!(null),
            "400 The partition for a sink connector offset cannot be null or missing".to_owned(),
        ),
        (json!({}), json!(null), keys.to_owned()),
        (json!({"kafka_topic": "t"}), json!(null), keys.to_owned()),
        (
            json!({"kafka_topic": null, "kafka_partition": 0}),
            json!(null),
            "400 Kafka topic names must be valid strings and may not be null".to_owned(),
        ),
        (
            partition(json!(null)),
            json!(null),
            "400 Kafka partitions must be valid numbers and may not be null".to_owned(),
        ),
        (partition(json!("x")), json!(null), number("x")),
        (partition(json!(0.0)), json!(null), number("0.0")),
        (partition(json!([1])), json!(null), number("[1]")),
        (partition(json!(true)), json!(null), number("true")),
        (partition(json!(0)), json!({}), key.to_owned()),
        (partition(json!(0)), json!({"kafka_offset": null}), offset("null")),
        (partition(json!(0)), json!({"kafka_offset": 1.7}), offset("1.7")),
        (partition(json!(0)), json!({"kafka_offset": true}), offset("true")),
    ];
    for (partition, offset, expected) in cases {
        assert_eq!(at(partition.clone(), offset.clone()), expected, "{partition} {offset}");
    }
}

#[test]
fn offsets_of_sources_hold_primitives_and_the_last_word_counts() {
    let mut all = offsets(json!({"file": "a"}), json!({"position": 1}));
    all.extend(offsets(json!({"file": "b"}), json!({"position": 2})));
    all.extend(offsets(json!({"file": "a"}), json!({"position": 3.5, "done": true})));
    all.extend(offsets(json!({"file": "b"}), json!(null)));
    let shown: Vec<_> = source_offsets(&all)
        .unwrap()
        .iter()
        .map(|(partition, offset)| (map_json(partition), offset.as_ref().map(|offset| map_json(offset))))
        .collect();
    assert_eq!(
        shown,
        [(json!({"file": "a"}), Some(json!({"position": 3.5, "done": true}))), (json!({"file": "b"}), None)]
    );
    let error = source_offsets(&offsets(json!({"file": "a"}), json!({"position": {"x": 1}}))).unwrap_err();
    assert_eq!(error.message(), "Offsets may only contain primitive types as values, but field position contains MAP");
    assert_eq!(error.status(), 500);
}

#[test]
fn a_connectors_refusal_is_passed_on_if_it_speaks_connect() {
    let otherwise = "Failed to modify offsets for source connector c";
    let cases = [
        (ConnectError::connect("no such file"), "no such file"),
        (ConnectError::illegal_argument("x"), otherwise),
        (
            ConnectError::of_class("java.lang.UnsupportedOperationException", ""),
            "Failed to modify offsets for connector c because it doesn't support external modification of offsets",
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(refused(error, otherwise), HerderError::internal(expected));
    }
}
