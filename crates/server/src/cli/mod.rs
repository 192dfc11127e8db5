//! The command line: what may be asked, in which words it is answered, with which exit code it ends.
//!
//! One module a command. `docs/commands.md` is written from the declarations here ([`docs`]). Exit codes are in [`Failure`].

mod broker;
mod connector;
mod dev;
mod docs;
mod failure;
mod plugin_docs;
mod rest_client;
mod standalone;
mod table;
mod topic;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use kurier_runtime::registry::Registry;
use std::io::Write;
use std::process::ExitCode;

pub(crate) use failure::Failure;
pub(crate) use table::table;

const AFTER_HELP: &str = "\
Examples:
  kurier dev examples/quickstart --until-idle                     a pipeline on a broker of its own
  kurier standalone worker.properties connector.properties        the files that connect-standalone.sh takes
  kurier broker --data kafka-data                                 a broker alone
  kurier connector status my-connector                            ask a running worker
  kurier topic print my-topic                                     look at records

Exit codes:
  0  done, or stopped as asked (Ctrl-C, SIGTERM)
  1  it failed; the reason is the last line on stderr
  2  the command line is wrong
  3  a connector or task has failed (kurier dev --until-idle, kurier connector status)";

/// Kafka Connect without the JVM: a worker, a broker for development, and the commands to operate them.
#[derive(Debug, Parser)]
#[command(name = "kurier", version, after_help = AFTER_HELP, propagate_version = true, disable_help_subcommand = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a broker and a worker in one process, for development.
    Dev(dev::DevArgs),
    /// Run a worker of its own, with the files that connect-standalone.sh takes.
    Standalone(standalone::StandaloneArgs),
    /// Run a single-node Kafka broker for development.
    Broker(broker::BrokerArgs),
    /// Operate the connectors of a running worker.
    Connector(connector::ConnectorArgs),
    /// Look at topics and their records.
    Topic(topic::TopicArgs),
    /// Print a script that completes commands and options in a shell.
    #[command(after_help = "Example:\n  kurier completions bash > ~/.local/share/bash-completion/completions/kurier")]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print docs/commands.md.
    #[command(name = "command-docs", hide = true)]
    Docs,
    /// Print docs/plugins.md.
    #[command(name = "plugin-docs", hide = true)]
    PluginDocs,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Runs what the command line asks for; workers have these plugins.
pub fn main(plugins: Registry) -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Dev(args) => dev::run(args, plugins),
        Command::Standalone(args) => standalone::run(&args, plugins),
        Command::Broker(args) => broker::run(args),
        Command::Connector(args) => connector::run(args),
        Command::Topic(args) => topic::run(args),
        Command::Completions { shell } => completions(shell),
        Command::Docs => print(&docs::markdown(Cli::command())),
        Command::PluginDocs => print(&plugin_docs::markdown(&plugins)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "kurier", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Writes to stdout. A reader that has gone (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Reads `key=value`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
