//! The fixtures in Kurier and their Java twins in Java Connect: the same story, the same answers.
mod common;

use common::{Bed, Worker, until};
use kurier_harness::{Java, compile_plugin, skip_without_java, workspace_root};

const SOURCES: [&str; 2] = ["kurierfixtures.MonitorableSource", "kurierfixtures.BlockingSource"];
const SINKS: [&str; 2] = ["kurierfixtures.MonitorableSink", "kurierfixtures.ErrantRecordSink"];

fn java_worker(java: &Java, bed: &Bed) -> Worker {
    let plugins = bed.file("plugins");
    let sources = workspace_root().join("tests/java/fixtures");
    compile_plugin(java, &sources, &plugins.join("fixtures"), (&SOURCES, &SINKS)).unwrap();
    bed.java(java, &plugins.display().to_string())
}

#[test]
fn both_workers_answer_the_same() {
    let Some(java) = skip_without_java("the fixtures' Java twins") else { return };
    // A broker each, so that the same names mean the same.
    let (ours, javas) = (Bed::start(), Bed::start());
    let answers = {
        let worker = java_worker(&java, &javas);
        let answers = common::scenario::tell(&javas, &worker);
        // What a call's error comes to in Kurier is tested by itself against the same table.
        until("records", || Ok(!javas.values("lines").is_empty()));
        common::cases::strike_everywhere(&javas, &worker, "lines", |text, _| {
            format!("java.lang.AssertionError: {text}")
        });
        // It is killed by its drop: with tasks that hang, Java Connect may take long to end.
        answers
    };
    let worker = ours.kurier();
    let told = common::scenario::tell(&ours, &worker);
    worker.stop();
    let mut different = Vec::new();
    for ((what, java), (also, kurier)) in answers.iter().zip(&told) {
        assert_eq!(what, also, "the story is the same");
        if java != kurier {
            different.push(format!("{what}\n  Java:   {java}\n  Kurier: {kurier}"));
        }
    }
    assert_eq!(answers.len(), told.len());
    assert!(different.is_empty(), "{} of {} answers differ:\n{}", different.len(), told.len(), different.join("\n"));
}
