//! The Java side: a JDK, Maven, and the jars of Apache Kafka.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Apache Kafka's jars of one version, fetched and ready.
#[derive(Clone, Debug)]
pub struct Java {
    version: String,
    libs: PathBuf,
}

/// What Kurier is compared with unless a test says otherwise.
pub(crate) const KAFKA_VERSION: &str = "4.3.1";

/// The modules a broker, its tools and Java Connect need.
const ARTIFACTS: [&str; 8] = [
    "kafka_2.13",
    "connect-runtime",
    "connect-json",
    "connect-transforms",
    "connect-basic-auth-extension",
    "connect-mirror",
    "connect-file",
    "kafka-tools",
];

fn answers(program: &str, flag: &str) -> bool {
    Command::new(program).arg(flag).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// Where downloads are kept between runs: `$KURIER_CACHE`, else `~/.cache/kurier`.
///
/// # Errors
/// If neither that nor `HOME` is set.
pub fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("KURIER_CACHE") {
        return Ok(dir.into());
    }
    let home = std::env::var_os("HOME").context("neither KURIER_CACHE nor HOME says where downloads may be kept")?;
    Ok(Path::new(&home).join(".cache/kurier"))
}

/// The jars, or none where the machine has no JDK or Maven: then says so on standard error and the test passes. With `CI=true` nothing is skipped.
///
/// # Panics
/// With `CI=true` where a JDK or Maven is missing, and where the jars cannot be fetched.
pub fn skip_without_java(test: &str) -> Option<Java> {
    let missing = missing_java();
    if missing.is_empty() {
        return Some(Java::fetch(KAFKA_VERSION).expect("Apache Kafka comes from Maven Central"));
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{test}: {} not found, and CI skips nothing",
        missing.join(", ")
    );
    say_skipped(test, &format!("{} not found; install JDK 17 and Maven to run it", missing.join(", ")));
    None
}

/// Says on standard error that `test` was not run, and why.
pub fn say_skipped(test: &str, why: &str) {
    // Not by `eprintln!`, which the test runner keeps to itself when a test passes. A closed standard error is no reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// Which of the programs that the Java side needs are not there.
pub fn missing_java() -> Vec<&'static str> {
    [("java", "-version"), ("javac", "-version"), ("mvn", "-version")]
        .into_iter()
        .filter(|(program, flag)| !answers(program, flag))
        .map(|(program, _)| program)
        .collect()
}

impl Java {
    /// Fetches the jars of a version from Maven Central, once.
    ///
    /// # Errors
    /// If Maven cannot be run or does not find them.
    pub fn fetch(version: &str) -> Result<Self> {
        let home = cache_dir()?;
        fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        let libs = home.join(format!("kafka-{version}"));
        let java = Self { version: version.to_owned(), libs: libs.clone() };
        // Tests start in parallel processes; the first fetches, the others wait.
        let lock = File::create(home.join(format!("kafka-{version}.lock")))?;
        lock.lock()?;
        if libs.join("complete").exists() {
            return Ok(java);
        }
        let staging = tempfile::tempdir_in(&home)?;
        let dependencies: String = ARTIFACTS
            .iter()
            .map(|a| format!("<dependency><groupId>org.apache.kafka</groupId><artifactId>{a}</artifactId><version>{version}</version></dependency>"))
            .chain(["log4j-slf4j-impl", "log4j-core"].map(|a| {
                format!("<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>{a}</artifactId><version>2.24.3</version></dependency>")
            }))
            .collect();
        let pom = staging.path().join("pom.xml");
        fs::write(
            &pom,
            format!(
                "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion><groupId>kurier</groupId>\
                 <artifactId>kafka-jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
            ),
        )?;
        eprintln!("fetching Apache Kafka {version} from Maven Central …");
        let output = Command::new("mvn")
            .args(["-q", "-B", "-f"])
            .arg(&pom)
            .arg("dependency:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", libs.display()))
            .output()
            .context("cannot run mvn")?;
        anyhow::ensure!(output.status.success(), "mvn: {}", String::from_utf8_lossy(&output.stdout));
        fs::write(libs.join("complete"), "")?;
        Ok(java)
    }

    /// The version of Apache Kafka.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The class path of all jars.
    pub fn class_path(&self) -> String {
        format!("{}/*", self.libs.display())
    }

    /// Runs a tool's main class to its end, giving it `input`; the output is standard output.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn run(&self, class: &str, args: &[&str], input: &[u8]) -> Result<String> {
        use std::io::Write;
        let mut child = Command::new("java")
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", &self.class_path(), class])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run java")?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output()?;
        // A tool that ends without reading its input breaks the pipe; its status tells whether that was right.
        let _ = feeder.join();
        anyhow::ensure!(
            output.status.success(),
            "{class} {args:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Compiles the Java classes of a folder into `plugin_dir/name.jar`, with service files for its connectors.
///
/// # Errors
/// If javac or jar fail.
pub fn compile_plugin(
    java: &Java,
    sources: &Path,
    plugin_dir: &Path,
    sources_and_sinks: (&[&str], &[&str]),
) -> Result<()> {
    let out = tempfile::tempdir()?;
    let services = out.path().join("META-INF/services");
    fs::create_dir_all(&services)?;
    fs::create_dir_all(plugin_dir)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(sources).with_context(|| format!("cannot read {}", sources.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "java") {
            files.push(path);
        }
    }
    let run = |command: &mut Command| -> Result<()> {
        let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
        anyhow::ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    run(Command::new("javac").args(["-cp", &java.class_path(), "-d"]).arg(out.path()).args(&files))?;
    fs::write(services.join("org.apache.kafka.connect.source.SourceConnector"), sources_and_sinks.0.join("\n"))?;
    fs::write(services.join("org.apache.kafka.connect.sink.SinkConnector"), sources_and_sinks.1.join("\n"))?;
    let name = sources.file_name().context("a folder of sources has a name")?.to_string_lossy();
    run(Command::new("jar").arg("cf").arg(plugin_dir.join(format!("{name}.jar"))).arg("-C").arg(out.path()).arg("."))
}
