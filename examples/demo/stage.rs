//! The environment of the demo: a control plane, the operator beside it, eyes on the API server, and kubectl.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use testenv::{ClusterApi, ControlPlane, Process};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{clouds::Clouds, eyes::Eyes, screen};

/// How long to wait for anything.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long the operator may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How often to check whether the operator still runs.
const LOOK: Duration = Duration::from_millis(200);
/// How long the plugin may take to show what the eyes have seen.
const BLINK: Duration = Duration::from_millis(300);
/// How many lines of the operator's log a failure shows.
const TAIL: usize = 20;

/// Everything that the demo needs. It ends when it is dropped.
pub struct Stage {
    // Before the control plane, so that it ends first.
    operator: Option<Process>,
    cluster_api: Option<ClusterApi>,
    pub clouds: Clouds,
    /// Additional environment variables of the operator and the plugin.
    pub environment: Vec<(&'static str, String)>,
    pub eyes: Eyes,
    /// The folders of kubectl and of the plugin.
    bin: [PathBuf; 2],
    control_plane: ControlPlane,
}

impl Stage {
    /// Starts a control plane.
    pub async fn set() -> anyhow::Result<Self> {
        screen::heading("A real Kubernetes control plane, with nodes of kwok")?;
        let began = Instant::now();
        let control_plane = ControlPlane::start().await?;
        screen::say(&format!(
            "etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok: ready in {:.1} s",
            began.elapsed().as_secs_f32()
        ))?;
        let kubectl = testenv::binary("kubectl")?;
        let kubectl = kubectl.parent().context("kubectl has no folder")?;
        Ok(Self {
            operator: None,
            cluster_api: None,
            clouds: Clouds::default(),
            environment: Vec::new(),
            eyes: Eyes::open(&control_plane.client().await?),
            bin: [kubectl.to_owned(), programs()?],
            control_plane,
        })
    }

    /// Starts Cluster API's controllers.
    pub async fn start_cluster_api(&mut self) -> anyhow::Result<()> {
        screen::heading("Cluster API's own controllers, with machines in memory")?;
        let began = Instant::now();
        self.cluster_api = Some(ClusterApi::start(&self.control_plane).await?);
        screen::say(&format!(
            "core, kubeadm bootstrap, kubeadm control plane and the development provider: ready in {:.1} s",
            began.elapsed().as_secs_f32()
        ))?;
        Ok(())
    }

    /// Returns the folder of the control plane.
    pub fn folder(&self) -> &Path {
        self.control_plane.dir()
    }

    /// Starts the operator in its own process.
    pub fn start_operator(&mut self) -> anyhow::Result<()> {
        let program = programs()?.join("belay");
        let kubeconfig = self.kubeconfig();
        let more = self.environment.iter();
        let more = more.map(|(name, value)| (*name, OsStr::new(value)));
        let environment: Vec<_> = [("KUBECONFIG", kubeconfig.as_os_str())]
            .into_iter()
            .chain(more)
            .collect();
        let log = self.operator_log();
        let operator = Process::start_with(&program, &[], &environment, &log)?;
        screen::say(&format!("belay: started as process {}", operator.pid()))?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Runs a command as a person would type it, and shows it with its output.
    pub async fn run(&self, line: &str) -> anyhow::Result<()> {
        screen::command(line)?;
        let status = self.shell(line).status().await?;
        if !status.success() {
            bail!("`{line}` ended with {status}");
        }
        Ok(())
    }

    /// Runs a command that is refused, shows it, and returns the answer.
    pub async fn refused(&self, line: &str) -> anyhow::Result<String> {
        screen::command(line)?;
        let output = self.capture(line).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        screen::say(said.trim_end())?;
        if output.status.success() {
            bail!("`{line}` was not refused");
        }
        Ok(said.into_owned())
    }

    /// Runs a command silently, again and again, until the answer contains a text.
    pub async fn until_answered(&self, line: &str, answer: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let output = self.capture(line).await?;
            if String::from_utf8_lossy(&output.stderr).contains(answer) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("`{line}` never answered {answer:?}");
            }
        }
    }

    async fn capture(&self, line: &str) -> io::Result<Output> {
        self.shell(line).output().await
    }

    /// Runs a command that doesn't end by itself and shows its output until something was seen; then presses Ctrl-C.
    pub async fn follow<T>(
        &mut self,
        line: &str,
        what: &str,
        see: impl Fn(&Eyes) -> Option<T>,
    ) -> anyhow::Result<T> {
        screen::command(line)?;
        let mut follower = self.shell(&format!("exec {line}")).spawn()?;
        let seen = self.until(what, see).await?;
        sleep(BLINK).await;
        press_ctrl_c(&follower)?;
        follower.wait().await?;
        Ok(seen)
    }

    /// Waits until something was seen. Fails if the operator ends.
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

    /// Waits as long as the operator runs.
    pub async fn look_on(&mut self) -> anyhow::Result<()> {
        loop {
            self.look().await?;
        }
    }

    /// Waits for a change, or for a moment. Fails if the operator has ended.
    async fn look(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            () = self.eyes.next() => {}
            () = sleep(LOOK) => {
                if self.operator.as_mut().is_some_and(|operator| !operator.is_running()) {
                    bail!("the operator ended unexpectedly");
                }
            }
        }
        Ok(())
    }

    /// Prints how to experiment by hand.
    pub fn invite(&self) -> anyhow::Result<()> {
        let pool = match &self.cluster_api {
            Some(_) => "md-0",
            None if self.clouds.is_any() => "np1",
            None => "demo-np1",
        };
        let more = self.environment.iter();
        let more: Vec<_> = more
            .map(|(name, value)| format!("  export {name}={value}\n"))
            .collect();
        let more = more.concat();
        screen::say(&format!(
            "\nIt stays up until Ctrl-C. In another terminal:\n\n  \
             export KUBECONFIG={} PATH=\"{}:{}:$PATH\"\n{more}  \
             kubectl belay status demo --watch\n  \
             kubectl scale agentpool {pool} --replicas=5\n  \
             kubectl get mc,ap,op\n\n\
             Logs: {}\n",
            self.kubeconfig().display(),
            self.bin[0].display(),
            self.bin[1].display(),
            self.control_plane.logs_dir().display()
        ))?;
        Ok(())
    }

    /// Prints the current state, the end of the operator's log, and where the logs are kept.
    pub async fn report_failure(&self) {
        let line = "kubectl get mc,ap,op";
        eprintln!("\n$ {line}");
        // If it fails, there is nothing else to show.
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

    /// Copies the logs to a folder that outlives the control plane.
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
        let mut path = OsString::new();
        for folder in &self.bin {
            path.push(folder);
            path.push(":");
        }
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell
            .args(["-c", line])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", path)
            .env("KUBECONFIG", self.kubeconfig())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
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

/// Returns the folder of the operator and the plugin, which are built beside the demo.
fn programs() -> anyhow::Result<PathBuf> {
    let demo = std::env::current_exe()?;
    let folder = demo.parent().and_then(Path::parent);
    let folder = folder.context("failed to find the demo's own folder")?;
    for program in ["belay", "kubectl-belay"] {
        let program = folder.join(program);
        if !program.is_file() {
            bail!("{} is missing: run cargo build --bins", program.display());
        }
    }
    Ok(folder.to_owned())
}

fn press_ctrl_c(follower: &Child) -> anyhow::Result<()> {
    let id = follower.id().and_then(|id| i32::try_from(id).ok());
    let pid = id.and_then(Pid::from_raw);
    kill_process(pid.context("the process has already ended")?, Signal::INT)?;
    Ok(())
}
