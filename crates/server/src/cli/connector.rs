//! `kurier connector`: operate a worker that runs, Java's or ours, over its REST interface.
//!
//! It decides nothing: each command is one request, and what the worker says is shown. Connector files are read as `kurier standalone` reads them.

use super::rest_client::{RestClient, segment};
use super::{Failure, Output, print, table};
use clap::{Args, Subcommand};
use kurier_runtime::herder::{ConnectorFile, misspelt_settings};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  kurier connector list
  kurier connector create orders.properties clicks.json
  kurier connector create --replace orders.properties            change it if it is there already
  kurier connector status orders || echo 'something has failed'
  kurier connector restart orders --include-tasks --only-failed
  kurier connector validate orders.properties
  kurier connector --url http://worker-2:8083 list --output json

Works with any Kafka Connect worker. Exit codes: 0 done, 1 the worker refused or cannot be reached, 3 `status`
found a failed connector or task.";

/// Where the worker is, and what is asked of it.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ConnectorArgs {
    /// The worker's REST interface.
    #[arg(long, global = true, env = "KURIER_URL", default_value = "http://localhost:8083", value_name = "URL")]
    url: String,
    /// How the answer is written.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    #[command(subcommand)]
    command: ConnectorCommand,
}

#[derive(Debug, Subcommand)]
enum ConnectorCommand {
    /// Names, kinds and states of all connectors.
    #[command(after_help = "Example:\n  kurier connector list --output json | jq -r .[].name")]
    List,
    /// Create connectors from .properties or .json files.
    #[command(after_help = "Example:\n  kurier connector create orders.properties clicks.json")]
    Create {
        /// Files as `kurier standalone` takes them.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Give the new config to a connector that is there already.
        #[arg(long)]
        replace: bool,
    },
    /// The states of a connector and its tasks; exit code 3 if one has failed.
    #[command(after_help = "Example:\n  kurier connector status orders || echo 'something has failed'")]
    Status {
        /// The connector.
        name: String,
    },
    /// Let connectors and their tasks rest in place.
    #[command(after_help = "Example:\n  kurier connector pause orders clicks")]
    Pause(Names),
    /// Let paused or stopped connectors run again.
    #[command(after_help = "Example:\n  kurier connector resume orders clicks")]
    Resume(Names),
    /// End the tasks of connectors; offsets may be changed then.
    #[command(after_help = "Example:\n  kurier connector stop orders")]
    Stop(Names),
    /// Restart a connector, its tasks, or both.
    #[command(
        after_help = "Examples:\n  kurier connector restart orders --include-tasks --only-failed\n  kurier connector restart orders --task 0"
    )]
    Restart {
        /// The connector.
        name: String,
        /// Its tasks too.
        #[arg(long, conflicts_with = "task")]
        include_tasks: bool,
        /// Only what has failed.
        #[arg(long, conflicts_with = "task")]
        only_failed: bool,
        /// This task alone.
        #[arg(long, value_name = "NUMBER")]
        task: Option<u32>,
    },
    /// Stop and forget connectors; their offsets stay.
    #[command(after_help = "Example:\n  kurier connector delete orders")]
    Delete(Names),
    /// Check a connector's file without creating anything.
    #[command(after_help = "Example:\n  kurier connector validate orders.properties")]
    Validate {
        /// A .properties or .json file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Names {
    /// The connectors.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Asks the worker and shows its answer.
pub(super) fn run(args: ConnectorArgs) -> Result<(), Failure> {
    let rest = RestClient::new(&args.url)?;
    match args.command {
        ConnectorCommand::List => list(&rest, args.output),
        ConnectorCommand::Create { files, replace } => create(&rest, &files, replace, args.output),
        ConnectorCommand::Status { name } => status(&rest, &name, args.output),
        ConnectorCommand::Pause(Names { names }) => each(&rest, "PUT", &names, "/pause", "paused", args.output),
        ConnectorCommand::Resume(Names { names }) => each(&rest, "PUT", &names, "/resume", "resumed", args.output),
        ConnectorCommand::Stop(Names { names }) => each(&rest, "PUT", &names, "/stop", "stopped", args.output),
        ConnectorCommand::Delete(Names { names }) => each(&rest, "DELETE", &names, "", "deleted", args.output),
        ConnectorCommand::Restart { name, include_tasks, only_failed, task } => {
            let suffix = match task {
                Some(task) => format!("/tasks/{task}/restart"),
                None => format!("/restart?includeTasks={include_tasks}&onlyFailed={only_failed}"),
            };
            each(&rest, "POST", &[name], &suffix, "restarted", args.output)
        }
        ConnectorCommand::Validate { file } => validate(&rest, &file, args.output),
    }
}

fn list(rest: &RestClient, output: Output) -> Result<(), Failure> {
    let all = rest.ask("GET", "/connectors?expand=status", None)?;
    if output == Output::Json {
        return print_json(&all);
    }
    let mut rows = vec![vec!["CONNECTOR".to_owned(), "TYPE".to_owned(), "STATE".to_owned(), "TASKS".to_owned()]];
    for (name, entry) in all.as_object().into_iter().flatten() {
        let status = &entry["status"];
        rows.push(vec![name.clone(), text(&status["type"]), text(&status["connector"]["state"]), task_states(status)]);
    }
    print(&table(&rows))
}

/// `2 RUNNING, 1 FAILED`.
fn task_states(status: &Value) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for task in status["tasks"].as_array().into_iter().flatten() {
        let state = text(&task["state"]);
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    let counts: Vec<String> = counts.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn create(rest: &RestClient, files: &[PathBuf], replace: bool, output: Output) -> Result<(), Failure> {
    // All files are read before the first connector is created.
    let connectors = files.iter().map(|file| ConnectorFile::read(file)).collect::<Result<Vec<_>, _>>()?;
    let mut infos = Vec::new();
    for ConnectorFile { name, config, initial_state } in connectors {
        let config: Map<String, Value> = config.into_iter().map(|(key, value)| (key, json!(value))).collect();
        let info = if replace {
            rest.ask("PUT", &format!("/connectors/{}/config", segment(&name)), Some(&config.into()))?
        } else {
            let mut body = json!({ "name": &*name, "config": config });
            if let Some(state) = initial_state {
                body["initial_state"] = json!(format!("{state:?}").to_uppercase());
            }
            rest.ask("POST", "/connectors", Some(&body))?
        };
        if output == Output::Text {
            print(&format!("{name} {}\n", if replace { "configured" } else { "created" }))?;
        }
        infos.push(info);
    }
    if output == Output::Json { print_json(&infos.into()) } else { Ok(()) }
}

fn status(rest: &RestClient, name: &str, output: Output) -> Result<(), Failure> {
    let status = rest.ask("GET", &format!("/connectors/{}/status", segment(name)), None)?;
    match output {
        Output::Json => print_json(&status)?,
        Output::Text => print(&status_text(&status))?,
    }
    let tasks = status["tasks"].as_array().into_iter().flatten();
    let failed = tasks.chain([&status["connector"]]).filter(|unit| unit["state"] == "FAILED").count();
    match failed {
        0 => Ok(()),
        1 => Err(Failure::connector(format!("1 part of {name} has failed"))),
        more => Err(Failure::connector(format!("{more} parts of {name} have failed"))),
    }
}

fn status_text(status: &Value) -> String {
    let mut rows = vec![vec!["".to_owned(), "STATE".to_owned(), "WORKER".to_owned()]];
    let row = |what: String, unit: &Value| vec![what, text(&unit["state"]), text(&unit["worker_id"])];
    let what = format!("{} ({})", text(&status["name"]), text(&status["type"]));
    rows.push(row(what, &status["connector"]));
    for task in status["tasks"].as_array().into_iter().flatten() {
        rows.push(row(format!("  task {}", task["id"]), task));
    }
    let mut out = table(&rows);
    let units = status["tasks"].as_array().into_iter().flatten().map(|task| (format!("task {}", task["id"]), task));
    for (what, unit) in [("connector".to_owned(), &status["connector"])].into_iter().chain(units) {
        if let Some(trace) = unit["trace"].as_str() {
            write!(out, "\n{what} failed:\n{}\n", trace.trim_end()).expect("writing into memory does not fail");
        }
    }
    out
}

/// The same request for each of some connectors.
fn each(
    rest: &RestClient,
    method: &str,
    names: &[String],
    suffix: &str,
    done: &str,
    output: Output,
) -> Result<(), Failure> {
    let mut answers = Map::new();
    for name in names {
        let answer = rest.ask(method, &format!("/connectors/{}{suffix}", segment(name)), None)?;
        if output == Output::Text {
            print(&format!("{name} {done}\n"))?;
        }
        answers.insert(name.clone(), answer);
    }
    if output == Output::Json { print_json(&answers.into()) } else { Ok(()) }
}

fn validate(rest: &RestClient, file: &Path, output: Output) -> Result<(), Failure> {
    let connector = ConnectorFile::read(file)?;
    let Some(Some(class)) = connector.config.get("connector.class") else {
        return Err(Failure::new(format!("{} has no connector.class", file.display())));
    };
    // The worker compares the last part of the name only.
    let path = format!("/connector-plugins/{}/config/validate", segment(class.rsplit('.').next().unwrap_or(class)));
    let config: Map<String, Value> = connector.config.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let infos = rest.ask("PUT", &path, Some(&config.into()))?;
    if output == Output::Json {
        print_json(&infos)?;
    }
    let mut errors = String::new();
    for value in infos["configs"].as_array().into_iter().flatten().map(|config| &config["value"]) {
        for error in value["errors"].as_array().into_iter().flatten() {
            writeln!(errors, "{}: {}", text(&value["name"]), text(error)).expect("writing into memory does not fail");
        }
    }
    let definitions = infos["configs"].as_array().into_iter().flatten();
    let declared: Vec<&str> = definitions.filter_map(|config| config["definition"]["name"].as_str()).collect();
    let mut hints = String::new();
    for hint in misspelt_settings(connector.config.keys().map(String::as_str), &declared) {
        writeln!(hints, "{hint}").expect("writing into memory does not fail");
    }
    let is_good = infos["error_count"].as_u64() == Some(0);
    if output == Output::Text {
        print(&format!("{errors}{hints}{}", if is_good { "no errors\n" } else { "" }))?;
    }
    if is_good {
        return Ok(());
    }
    Err(Failure::new(format!("{} has {} error(s)", file.display(), infos["error_count"])))
}

fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// A JSON text as it is; nothing for null.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_shown_with_their_reasons() {
        let status = json!({
            "name": "c",
            "type": "sink",
            "connector": { "state": "RUNNING", "worker_id": "w:1" },
            "tasks": [
                { "id": 0, "state": "RUNNING", "worker_id": "w:1" },
                { "id": 1, "state": "FAILED", "worker_id": "w:1", "trace": "a reason\n\tat a place\n" },
                { "id": 2, "state": "RUNNING", "worker_id": "w:1" },
            ],
        });
        let expected = "          STATE    WORKER\n\
                        c (sink)  RUNNING  w:1\n  \
                        task 0  RUNNING  w:1\n  \
                        task 1  FAILED   w:1\n  \
                        task 2  RUNNING  w:1\n\
                        \ntask 1 failed:\na reason\n\tat a place\n";
        assert_eq!(status_text(&status), expected);
        assert_eq!(task_states(&status), "2 RUNNING, 1 FAILED");
        assert_eq!(task_states(&json!({})), "none");
    }
}
