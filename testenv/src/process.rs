//! One process of a control plane, which ends when its parent process ends.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{OnceLock, mpsc},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, tried};

/// How many lines of a log an error shows.
const TAIL: usize = 20;

/// A process that ends with its parent: a part of a control plane, or the operator under test.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program and appends its output to `log`.
    ///
    /// # Errors
    /// If it can't be started, or the log can't be written.
    pub fn start(program: &Path, args: &[String], log: &Path) -> Result<Self, Error> {
        Self::start_with(program, args, &[], log)
    }

    /// Starts a program with additional environment variables.
    ///
    /// # Errors
    /// The same as [`Process::start`].
    pub fn start_with(
        program: &Path,
        args: &[String],
        environment: &[(&str, &OsStr)],
        log: &Path,
    ) -> Result<Self, Error> {
        let output = tried(
            format!("failed to write {}", log.display()),
            File::options().create(true).append(true).open(log),
        )?;
        let errors = tried("failed to write a log", output.try_clone())?;
        let mut command = guarded(program);
        command
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = tried(
            format!("failed to start {}", program.display()),
            spawn(command),
        )?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in the meantime.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends the process and waits until it has ended: with SIGTERM and, after the grace period, with SIGKILL. A grace
    /// period of zero means SIGKILL at once.
    pub fn end(&mut self, grace: Duration) {
        if !grace.is_zero() {
            self.signal(Signal::TERM);
            let asked = Instant::now();
            while self.is_running() && asked.elapsed() < grace {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Returns an error with the last lines of the process's log.
    pub(crate) fn error(&self, component: &str, what: &str) -> Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        Error::Component {
            component: component.into(),
            what: what.into(),
            log: self.log.clone(),
            tail: tail(&log),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Returns the last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Runs a program until it ends, and returns its output.
pub(crate) fn output(command: &mut Command) -> Result<String, Error> {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let what = format!("failed to run {}", words.join(" "));
    let output = tried(what.clone(), command.output())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    tried(what, Err(std::io::Error::other(said)))
}

/// Returns a command that is killed when its parent ends: by util-linux's setpriv, if it is installed.
fn guarded(program: &Path) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let has_setpriv = SETPRIV.get_or_init(|| {
        let probe = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .output();
        probe.is_ok_and(|output| output.status.success())
    });
    if !has_setpriv {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Starts a process from a thread that lives as long as this process. Linux kills a child when the thread that started
/// it ends, and a test's threads end early.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Request = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });
    let (answer, child) = mpsc::channel();
    let gone = || std::io::Error::other("the thread that starts processes has ended");
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
