//! `docs/commands.md`, from what clap knows.

use clap::Command;
use std::fmt::Write;

const HEAD: &str = "\
# Commands

Written by `cargo xtask docs` from the program's own help; change that, not this file.

Answers go to stdout, everything said on the way to stderr. With `--output json` an answer is JSON. Exit codes: 0 done or stopped as asked, 1 it failed
(the reason is the last line on stderr), 2 the command line is wrong, 3 a connector or task has failed.

`KURIER_LOG` sets what is logged: a level (`error`, `warn`, `info`, `debug`, `trace`, `off`) or several with loggers, `info,kurier_kafka=debug`.
`KURIER_LOG_FORMAT=json` writes log lines as JSON. Loggers have the names of Java's packages, so that `org.apache.kafka.connect=debug` means what it does in Java.
`KURIER_URL` names the worker that `kurier connector` talks to, `KURIER_BOOTSTRAP_SERVERS` the brokers that `kurier topic` talks to.
";

/// One section a command, in the order of the help.
pub(super) fn markdown(mut root: Command) -> String {
    root.build();
    let mut text = HEAD.to_owned();
    section(&mut root.clone(), &mut text);
    text
}

fn section(command: &mut Command, text: &mut String) {
    // Written for a page, not for the terminal that happens to be there.
    *command = command.clone().term_width(PAGE_WIDTH);
    let name = command.get_display_name().unwrap_or(command.get_name()).replace('-', " ");
    let help = command.render_long_help().to_string();
    write!(text, "\n## {name}\n\n```text\n{}\n```\n", help.trim_end()).expect("writing into memory does not fail");
    let children: Vec<Command> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").cloned().collect();
    for mut child in children {
        section(&mut child, text);
    }
}

/// Columns of the page.
const PAGE_WIDTH: usize = 110;
