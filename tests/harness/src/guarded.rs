//! A child process that cannot outlive us.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Runs a command as the child of a small shell that holds our end of a pipe: when we drop it, crash or are killed, the pipe closes and the shell
/// kills the command. Nothing is left behind, without `unsafe` and on every Unix.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    pid: u32,
    log: PathBuf,
}

/// What a process and its children used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
}

/// `"$@"` runs with its output in the log; the shell waits for the end of standard input or of the command, whichever comes first.
const SCRIPT: &str = r#"
pidfile=$1; log=$2; shift 2
exec 3<&0
"$@" </dev/null >>"$log" 2>&1 3<&- &
p=$!
echo $p >"$pidfile.new" && mv "$pidfile.new" "$pidfile"
( cat <&3 >/dev/null; kill -9 $p 2>/dev/null ) &
guard=$!
exec 3<&-
wait $p; code=$?
kill $guard 2>/dev/null
exit $code
"#;

impl Guarded {
    /// Starts `command`; its output goes to `dir/name.log`, its pid to `dir/name.pid`.
    ///
    /// # Errors
    /// If the folder cannot be written or the shell cannot start.
    pub fn start(dir: &Path, name: &str, command: &[&str], envs: &[(&str, &str)]) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let (pid_file, log) = (dir.join(format!("{name}.pid")), dir.join(format!("{name}.log")));
        // A pid of an earlier start must not be taken for this one's; that there is none is the usual case.
        let _ = fs::remove_file(&pid_file);
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(&pid_file)
            .arg(&log)
            .args(command)
            .envs(envs.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let pid = loop {
            if let Ok(text) = fs::read_to_string(&pid_file) {
                break text.trim().parse().context("the pid file holds a pid")?;
            }
            if let Some(status) = shell.try_wait()? {
                anyhow::bail!("{command:?} ended at once with {status}; see {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Ok(Self { shell, pid, log })
    }

    /// The command's own pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.shell.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it has not ended in time.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let mut status = None;
        super::wait_for("end of process", timeout, || {
            status = self.shell.try_wait()?;
            Ok(status.is_some())
        })
        .with_context(|| self.output())?;
        Ok(status.expect("waited for it"))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            // Already gone is as good.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Errors
    /// If the system does not say how it ended.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(rustix::process::Signal::KILL);
        self.shell.wait()?;
        Ok(())
    }

    /// kill -TERM.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// kill -INT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// CPU time and memory of the command and its children, read from `/proc`.
    ///
    /// # Errors
    /// If it is gone.
    pub fn usage(&self) -> Result<Usage> {
        let mut total = Usage::default();
        let mut open = vec![self.pid];
        while let Some(pid) = open.pop() {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process is gone")?;
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
            let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
            total.cpu += Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
            let pages: u64 =
                fs::read_to_string(format!("/proc/{pid}/statm"))?.split_whitespace().nth(1).unwrap_or("0").parse()?;
            total.resident += pages * rustix::param::page_size() as u64;
            for child in
                fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default().split_whitespace()
            {
                open.push(child.parse()?);
            }
        }
        Ok(total)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        // The shell ends with its child; nobody is left to tell if it does not.
        let _ = self.shell.wait();
    }
}
