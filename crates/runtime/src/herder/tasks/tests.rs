use super::super::validate::tests::{raw, validation};
use super::*;
use crate::unit::{Start, TargetState, UnitId};
use async_trait::async_trait;
use parking_lot::Mutex;

/// A worker whose connector gives these task configs, or fails.
#[derive(Default)]
struct Says {
    configs: Vec<Props>,
    error: Option<&'static str>,
    /// The greatest number of tasks that it was asked for.
    max: Mutex<Option<usize>>,
}

#[async_trait]
impl Worker for Says {
    fn start(&self, _: Start) {}

    fn set_target(&self, _: &UnitId, _: Epoch, _: TargetState) {}

    fn stop(&self, _: &UnitId, _: Epoch) {}

    async fn task_configs(&self, _: &ConnectorName, _: Epoch, max: usize) -> Result<Vec<Props>, ConnectError> {
        *self.max.lock() = Some(max);
        match self.error {
            Some(error) => Err(ConnectError::connect(error)),
            None => Ok(self.configs.clone()),
        }
    }
}

fn props(text: &str) -> Props {
    text.split_whitespace().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// What becomes of these task configs of a connector with this config, a line a task, or the error; both written as `key=value`.
async fn check(connector: &str, worker: &Says, expected: &str) {
    let pairs: Vec<_> = connector.split_whitespace().filter_map(|pair| pair.split_once('=')).collect();
    let config = raw(&pairs.iter().map(|(key, value)| (*key, Some(*value))).collect::<Vec<_>>());
    let herder = validation("All");
    let generated = generate(&herder.registry, &herder.resolver, worker, &"c".into(), Epoch(1), &config).await;
    let text = match generated {
        Generated::Configs { configs, holds_for } => {
            assert_eq!(holds_for, None, "{connector}");
            let line = |config: &Arc<RawConfig>| -> String {
                let pairs: Vec<_> =
                    config.iter().map(|(k, v)| format!("{k}={}", v.as_deref().unwrap_or("null"))).collect();
                pairs.join(" ")
            };
            configs.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Generated::TooMany(error) => format!("too many: {}", error.message().unwrap_or_default()),
        Generated::Failed(error) => format!("failed: {}", error.message().unwrap_or_default()),
    };
    assert!(text.starts_with(expected) && (text == expected || expected.ends_with(' ')), "{connector}: {text}");
}

fn says(configs: &[&str]) -> Says {
    Says { configs: configs.iter().map(|text| props(text)).collect(), ..Says::default() }
}

#[tokio::test]
async fn tasks_get_what_the_framework_adds() {
    let source = "connector.class=PlainSource tasks.max=2";
    let class = "task.class=test.PlainSourceTask";
    let expected = format!("table=a {class}\ntable=b {class}");
    check(source, &says(&["table=a", "table=b task.class=overwritten"]), &expected).await;
    let sink = "connector.class=test.PlainSinkConnector topics=x,y";
    check(sink, &says(&["table=a"]), "table=a task.class=test.PlainSinkTask topics=x,y").await;
    let sink = "connector.class=PlainSink topics.regex=x.*";
    check(sink, &says(&["topics.regex=other"]), "task.class=test.PlainSinkTask topics.regex=x.*").await;
    check("connector.class=PlainSource", &says(&[]), "").await;
}

#[tokio::test]
async fn secrets_become_references_again_where_they_stood() {
    let config = "connector.class=PlainSource table=${vault:p:k} other=plain";
    let task = "table=s3cret copy=s3cret other=plain";
    let expected = "copy=s3cret other=plain table=${vault:p:k} task.class=test.PlainSourceTask";
    check(config, &says(&[task]), expected).await;
    check(config, &says(&["table=changed"]), "table=changed task.class=test.PlainSourceTask").await;
}

#[tokio::test]
async fn no_connector_has_more_tasks_than_it_may() {
    let two = || says(&["table=a", "table=b"]);
    let refused = "too many: The connector c has generated 2 tasks, which is greater than 1, ";
    for more in ["", " tasks.max=1", " tasks.max=1 tasks.max.enforce=true", " tasks.max.enforce=maybe"] {
        check(&format!("connector.class=PlainSource{more}"), &two(), refused).await;
    }
    for more in [" tasks.max=2", " tasks.max.enforce=false", " tasks.max.enforce=FALSE"] {
        let worker = two();
        let class = "task.class=test.PlainSourceTask";
        let expected = format!("table=a {class}\ntable=b {class}");
        check(&format!("connector.class=PlainSource{more}"), &worker, &expected).await;
        assert_eq!(*worker.max.lock(), Some(if more.contains("max=2") { 2 } else { 1 }), "{more}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_a_failure_with_its_reason() {
    let cases = [
        (
            "connector.class=PlainSource tasks.max=x",
            None,
            "failed: Invalid value x for configuration tasks.max: ",
            false,
        ),
        ("connector.class=Gone", None, "failed: Failed to find any class that implements Connector ", false),
        ("connector.class=PlainSource", Some("away"), "failed: away", true),
    ];
    for (config, error, expected, asked) in cases {
        let worker = Says { error, ..Says::default() };
        check(config, &worker, expected).await;
        assert_eq!(worker.max.lock().is_some(), asked, "{config}");
    }
}
