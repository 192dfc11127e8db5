//! The checks: what a change must pass.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::build::cargo;

/// The version of cargo-deny that `ci` fetches.
const DENY_VERSION: &str = "0.20.2";

fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("── {what}");
    let start = Instant::now();
    let status = command
        .current_dir(kurier_harness::workspace_root())
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    anyhow::ensure!(status.success(), "{what} failed ({status}); run it alone with: {command:?}");
    eprintln!("── {what}: {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}

/// All tests, as the README says.
pub(crate) fn test(args: &[String]) -> Result<()> {
    let mut command = cargo(&["test", "--workspace", "--locked"]);
    run("tests", command.args(args))?;
    let missing = kurier_harness::missing_java();
    if !missing.is_empty() {
        eprintln!(
            "SKIPPED what runs against Apache Kafka and beside Java Connect, named above: {} not found; install JDK 17 and Maven to run it",
            missing.join(", ")
        );
    }
    Ok(())
}

/// Everything.
pub(crate) fn ci() -> Result<()> {
    run("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
    run(
        "clippy",
        // With the families of connectors that are not in by default.
        cargo(&["clippy", "--workspace", "--all-targets", "--features", "kurier/bench", "--locked", "--quiet"])
            .args(["--", "-D", "warnings"]),
    )?;
    run("dependencies", Command::new(deny()?).args(["--log-level", "error", "check", "bans", "licenses", "sources"]))?;
    // The advisory database lies in a git repository; where that cannot be reached, the check would say nothing about our dependencies.
    let advisories = Command::new(deny()?).args(["--log-level", "error", "check", "advisories"]).output()?;
    if !advisories.status.success() {
        let text = String::from_utf8_lossy(&advisories.stderr);
        anyhow::ensure!(text.contains("failed to fetch advisory database"), "advisories: {text}");
        eprintln!("SKIPPED advisories: the advisory database cannot be fetched from here");
    }
    test(&[])?;
    rival()?;
    kerberos()?;
    crate::docs::run(&crate::docs::Args { check: true }).context("generated pages")
}

/// What needs librdkafka, which is built from C.
fn rival() -> Result<()> {
    if Command::new("make").arg("--version").output().is_err() {
        eprintln!("SKIPPED librdkafka against our broker: make not found; install it to run it");
        return Ok(());
    }
    let package = ["--package", "kurier-clients", "--features", "librdkafka", "--locked"];
    let clippy = ["clippy", "--all-targets", "--quiet"].iter().chain(&package).copied().collect::<Vec<_>>();
    run("clippy with librdkafka", cargo(&clippy).args(["--", "-D", "warnings"]))?;
    let test = ["test"].iter().chain(&package).chain(&["librdkafka"]).copied().collect::<Vec<_>>();
    run("librdkafka against our broker", &mut cargo(&test))
}

/// What needs the system's Kerberos library, and a KDC to try it with.
fn kerberos() -> Result<()> {
    let mut missing = kurier_harness::missing_kdc();
    let answers =
        |program: &str, args: &[&str]| Command::new(program).args(args).output().is_ok_and(|out| out.status.success());
    if !answers("pkg-config", &["--exists", "mit-krb5-gssapi"]) {
        missing.push("libkrb5-dev or pkg-config");
    }
    if std::env::var_os("LIBCLANG_PATH").is_none() && !has_libclang() {
        missing.push("libclang");
    }
    if !missing.is_empty() {
        eprintln!(
            "SKIPPED GSSAPI against a KDC: {} not found; install krb5-kdc, krb5-admin-server, krb5-user, libkrb5-dev, libclang-dev and pkg-config to run it",
            missing.join(", ")
        );
        return Ok(());
    }
    let features = ["--features", "kurier/gssapi,kurier-kafka/gssapi", "--locked"];
    let clippy = ["clippy", "--all-targets", "--quiet", "--package", "kurier", "--package", "kurier-kafka"];
    run("clippy with Kerberos", cargo(&clippy).args(features).args(["--", "-D", "warnings"]))?;
    let test = ["test", "--package", "kurier-kafka", "--features", "gssapi", "--locked", "--lib", "--test", "gssapi"];
    run("GSSAPI against a KDC", &mut cargo(&test))
}

/// Whether the library that reads C headers is where systems keep it.
fn has_libclang() -> bool {
    let names = |folder: &Path| {
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut folders = names(Path::new("/usr/lib"));
    let versions: Vec<PathBuf> = folders.iter().map(|folder| folder.join("lib")).collect();
    folders.extend(versions);
    folders.extend(["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from));
    let is_libclang = |path: &PathBuf| {
        path.file_name().is_some_and(|name| {
            name.to_string_lossy().starts_with("libclang") && name.to_string_lossy().contains(".so")
        })
    };
    folders.iter().any(|folder| names(folder).iter().any(is_libclang))
}

/// The path of cargo-deny, installed into the cache folder if it is not there.
fn deny() -> Result<PathBuf> {
    let tools = kurier_harness::cache_dir()?.join("tools");
    let deny = tools.join("bin/cargo-deny");
    let there = Command::new(&deny)
        .arg("--version")
        .output()
        .is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains(DENY_VERSION));
    if !there {
        run(
            "fetching cargo-deny",
            cargo(&["install", "--quiet", "--locked", "--force", "cargo-deny", "--version", DENY_VERSION, "--root"])
                .arg(&tools),
        )?;
    }
    Ok(deny)
}
