//! What the demo stands on: a control plane, the operator beside it, eyes on the API server, and kubectl.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use testenv::{ControlPlane, Process};
use tokio::{process::Command, time::sleep};

use crate::{eyes::Eyes, screen::Screen};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the operator may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether the operator still runs.
const LOOK: Duration = Duration::from_millis(200);
/// How much of the operator's log a failure shows, in lines.
const TAIL: usize = 20;

/// Everything that the demo needs. It ends when it is dropped.
pub struct Stage {
    // Before the control plane, so that it ends first.
    operator: Option<Process>,
    pub eyes: Eyes,
    screen: Screen,
    /// The folder of kubectl.
    bin: PathBuf,
    control_plane: ControlPlane,
}

impl Stage {
    /// Starts a control plane.
    pub async fn set() -> anyhow::Result<Self> {
        let screen = Screen::new();
        screen.heading("A real Kubernetes control plane, its nodes kwok's")?;
        let began = Instant::now();
        let control_plane = ControlPlane::start().await?;
        screen.say(&format!(
            "etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok: ready in {:.1} s",
            began.elapsed().as_secs_f32()
        ))?;
        let kubectl = testenv::binary("kubectl")?;
        let bin = kubectl
            .parent()
            .context("kubectl has no folder")?
            .to_owned();
        Ok(Self {
            operator: None,
            eyes: Eyes::open(&control_plane.client().await?),
            screen,
            bin,
            control_plane,
        })
    }

    /// Starts the operator as a process of its own.
    pub fn start_operator(&mut self) -> anyhow::Result<()> {
        let program = operator_binary()?;
        let kubeconfig = self.kubeconfig();
        let environment = [("KUBECONFIG", kubeconfig.as_os_str())];
        let log = self.operator_log();
        let operator = Process::start_with(&program, &[], &environment, &log)?;
        self.screen
            .say(&format!("belay: started as process {}", operator.pid()))?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Shows a text.
    pub fn say(&self, text: &str) -> anyhow::Result<()> {
        Ok(self.screen.say(text)?)
    }

    /// Shows what comes now.
    pub fn heading(&self, text: &str) -> anyhow::Result<()> {
        Ok(self.screen.heading(text)?)
    }

    /// Runs a command as a person would type it, and shows it with what it prints.
    pub async fn run(&self, line: &str) -> anyhow::Result<()> {
        self.screen.command(line)?;
        let output = self.shell(line).output().await?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        if !text.trim().is_empty() {
            self.screen.say(text.trim_end())?;
        }
        if !output.status.success() {
            bail!("`{line}` ended with {}", output.status);
        }
        Ok(())
    }

    /// Waits until something was seen, and shows meanwhile how far the Operations are.
    pub async fn until<T>(
        &mut self,
        what: &str,
        see: impl Fn(&Eyes) -> Option<T>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        loop {
            if let Some(seen) = see(&self.eyes) {
                return Ok(seen);
            }
            if began.elapsed() > PATIENCE {
                bail!("waited {} s and never saw {what}", PATIENCE.as_secs());
            }
            self.look()
                .await
                .with_context(|| format!("while waiting to see {what}"))?;
        }
    }

    /// Shows how far the Operations are, for as long as the operator runs.
    pub async fn look_on(&mut self) -> anyhow::Result<()> {
        loop {
            self.look().await?;
        }
    }

    /// Looks for a moment.
    async fn look(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            seen = self.eyes.next() => {
                if let Some(operation) = seen {
                    self.screen.operation(&operation)?;
                }
            }
            () = sleep(LOOK) => {
                if self.operator.as_mut().is_some_and(|operator| !operator.is_running()) {
                    bail!("the operator ended by itself");
                }
            }
        }
        Ok(())
    }

    /// Shows how to try things by hand.
    pub fn invite(&self) -> anyhow::Result<()> {
        self.say(&format!(
            "\nIt stays up until Ctrl-C. In another terminal:\n\n  \
             export KUBECONFIG={} PATH=\"{}:$PATH\"\n  \
             kubectl get mc,ap,op\n  \
             kubectl scale agentpool demo-np1 --replicas=5\n  \
             kubectl get operations --watch\n\n\
             Logs: {}\n",
            self.kubeconfig().display(),
            self.bin.display(),
            self.control_plane.logs_dir().display()
        ))
    }

    /// Shows how things stand, how the operator's log ends, and where the logs are kept.
    pub async fn tell_of_failure(&self) {
        let line = "kubectl get mc,ap,op";
        eprintln!("\n$ {line}");
        // What it prints is all that there is to tell.
        let _ = self.shell(line).stdout(io::stderr()).status().await;
        if let Ok(log) = fs::read_to_string(self.operator_log()) {
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL)..];
            eprintln!("\nThe operator's log ends:\n{}", tail.join("\n"));
        }
        match self.keep_logs() {
            Ok(kept) => eprintln!("\nAll logs: {}\n", kept.display()),
            Err(error) => eprintln!("\nfailed to keep the logs: {error}\n"),
        }
    }

    /// Copies the logs to where they outlive the control plane.
    fn keep_logs(&self) -> io::Result<PathBuf> {
        let kept = std::env::temp_dir().join(format!("belay-demo-{}", std::process::id()));
        fs::create_dir_all(&kept)?;
        for log in fs::read_dir(self.control_plane.logs_dir())? {
            let log = log?;
            fs::copy(log.path(), kept.join(log.file_name()))?;
        }
        Ok(kept)
    }

    fn shell(&self, line: &str) -> Command {
        let mut path = OsString::from(&self.bin);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", path)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        shell
    }

    fn kubeconfig(&self) -> PathBuf {
        self.control_plane.dir().join("admin.kubeconfig")
    }

    fn operator_log(&self) -> PathBuf {
        self.control_plane.logs_dir().join("belay.log")
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(operator) = &mut self.operator {
            operator.end(GRACE);
        }
    }
}

/// The operator, built beside the demo.
fn operator_binary() -> anyhow::Result<PathBuf> {
    let demo = std::env::current_exe()?;
    let folder = demo.parent().and_then(Path::parent);
    let program = folder.context("the demo has no folder")?.join("belay");
    if !program.is_file() {
        bail!("{} is missing: run cargo build --bins", program.display());
    }
    Ok(program)
}
