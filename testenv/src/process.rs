//! One process of a control plane, that doesn't outlive who started it.

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

/// How much of a log an error shows, in lines.
const TAIL: usize = 20;

/// A process that ends with who started it: a part of a control plane, or the operator under test.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose output is added to `log`.
    ///
    /// # Errors
    /// Where it can't be started, or the log not be written.
    pub fn start(program: &Path, args: &[String], log: &Path) -> Result<Self, Error> {
        Self::start_with(program, args, &[], log)
    }

    /// Starts a program with more in its environment.
    ///
    /// # Errors
    /// As [`Process::start`].
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

    /// The process's id.
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
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it and waits until it has ended: by SIGTERM, and after that time by SIGKILL; at once by
    /// SIGKILL where the time is none.
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

    /// An error that shows what the process said last.
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

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// Runs a program to its end, and gives what it printed.
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

/// The program, set to be killed when its parent is: by util-linux's setpriv, where there is one.
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

/// Starts a process from a thread that lives as long as this process: Linux kills a child when the
/// thread that started it ends, and a test's threads end early.
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
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}
