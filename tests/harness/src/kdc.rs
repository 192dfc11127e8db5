//! A Kerberos KDC (MIT krb5) on the loopback, with a database of its own.

use crate::{Guarded, free_port, wait_for};
use anyhow::{Context, Result};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Whom the database is for.
const REALM: &str = "KURIER.TEST";
/// A realm of which the configuration says that its KDC is where nobody listens.
const AWAY: &str = "AWAY.TEST";
/// Debian keeps a KDC where only root looks for programs.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/lib/mit/sbin"];

/// A KDC of the realm `KURIER.TEST`. Needs no root; nothing of the machine's own Kerberos is touched.
#[derive(Debug)]
pub struct Kdc {
    dir: tempfile::TempDir,
    /// Kept for its drop: ends the KDC.
    _process: Guarded,
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Which of the programs that a KDC needs are not there.
pub fn missing_kdc() -> Vec<&'static str> {
    ["krb5kdc", "kdb5_util", "kadmin.local", "kinit"].into_iter().filter(|name| program(name).is_none()).collect()
}

impl Kdc {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// If it does not, or if a program of [`missing_kdc`] is not there.
    pub fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (port, nobody, at) = (free_port(), free_port(), dir.path().display());
        // Names are taken as they are written, whatever the machine's resolver makes of them.
        let client = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n dns_canonicalize_hostname = false\n \
             rdns = false\n udp_preference_limit = 1\n default_ccache_name = FILE:{at}/nobody\n[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n \
             {AWAY} = {{\n  kdc = 127.0.0.1:{nobody}\n }}\n"
        );
        let server = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n {REALM} = {{\n  database_name = {at}/principal\n  \
             key_stash_file = {at}/stash\n  acl_file = {at}/acl\n  supported_enctypes = aes256-cts:normal aes128-cts:normal\n }}\n\
             [logging]\n kdc = FILE:{at}/kdc.log\n"
        );
        fs::write(dir.path().join("krb5.conf"), client)?;
        fs::write(dir.path().join("kdc.conf"), server)?;
        run(dir.path(), "kdb5_util", &["create", "-s", "-r", REALM, "-P", "of the database"])?;
        let path = program("krb5kdc").context("krb5kdc is not there")?;
        let command = [&*path.to_string_lossy(), "-n", "-P", &format!("{at}/kdc.pid")].map(str::to_owned);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let environment = environment(dir.path());
        let environment: Vec<(&str, &str)> = environment.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let mut process = Guarded::start(dir.path(), "krb5kdc", &command, &environment)?;
        wait_for("the KDC's port", Duration::from_secs(30), || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("the KDC ended with {status}: {}", process.output());
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        Ok(Self { dir, _process: process })
    }

    /// What clients read: `KRB5_CONFIG`, or `java.security.krb5.conf`.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("krb5.conf")
    }

    /// Adds a principal with a random key, with options as `kadmin` takes them; answers with a keytab that holds the key.
    ///
    /// # Errors
    /// If `kadmin.local` fails.
    pub fn principal(&self, name: &str, options: &str) -> Result<PathBuf> {
        let keytab = self.dir.path().join(format!("{}.keytab", name.replace(['/', '@'], "-")));
        self.kadmin(&format!("addprinc -randkey {options} {name}"))?;
        self.kadmin(&format!("ktadd -k {} {name}", keytab.display()))?;
        Ok(keytab)
    }

    /// A command of `kadmin.local`.
    ///
    /// # Errors
    /// If it fails.
    pub fn kadmin(&self, command: &str) -> Result<()> {
        run(self.dir.path(), "kadmin.local", &["-r", REALM, "-q", command])
    }

    /// Gets a ticket for a principal, with further options of `kinit`; answers with the cache that holds it.
    ///
    /// # Errors
    /// If `kinit` fails.
    pub fn ticket_cache(&self, name: &str, keytab: &Path, principal: &str, options: &[&str]) -> Result<PathBuf> {
        let cache = self.dir.path().join(name);
        let (cache_text, keytab) = (cache.display().to_string(), keytab.display().to_string());
        let args = [&["-c", &cache_text, "-k", "-t", &keytab], options, &[principal]].concat();
        run(self.dir.path(), "kinit", &args)?;
        Ok(cache)
    }
}

fn environment(dir: &Path) -> [(&'static str, String); 2] {
    let path = |name: &str| dir.join(name).display().to_string();
    [("KRB5_CONFIG", path("krb5.conf")), ("KRB5_KDC_PROFILE", path("kdc.conf"))]
}

fn run(dir: &Path, name: &str, args: &[&str]) -> Result<()> {
    let path = program(name).with_context(|| format!("{name} is not there"))?;
    let output = Command::new(path).args(args).envs(environment(dir)).output()?;
    // kadmin.local says what went wrong and ends well.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_well = output.status.success()
        && !said.lines().any(|line| line.starts_with(&format!("{name}: ")) || line.contains(" while "));
    anyhow::ensure!(is_well, "{name} {args:?}: {said}");
    Ok(())
}
