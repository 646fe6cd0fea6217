//! Completion: a script for each shell, and the words that kubectl requests from a plugin when someone presses TAB.

use std::{ffi::OsString, io, process::ExitCode, time::Duration};

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use kube::api::ListParams;

use crate::{
    api::{AgentPool, ManagedCluster, Operation},
    cli::{
        cluster::session::{GlobalFlags, Session},
        terminal::output,
    },
};

/// How long a person waits at most after TAB.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest number of names that are offered.
const MOST: u32 = 500;
/// "Offer nothing but these", in the form of kubectl's own completion.
const NO_FILES: &str = ":4";

/// The script that kubectl runs. It is an executable on PATH, with the name in its comment.
const KUBECTL_SCRIPT: &str = "#!/usr/bin/env sh
# Save this as kubectl_complete-belay in a folder of PATH, and make it executable.
exec kubectl-belay __complete -- \"$@\"
";

/// Print the completion for a shell, or for kubectl itself.
///
/// `kubectl belay completion kubectl > ~/.local/bin/kubectl_complete-belay`, made executable, completes `kubectl belay`
/// in every shell that kubectl completes. It completes names of objects in the cluster, too. The other scripts complete
/// `kubectl-belay`.
#[derive(Args, Debug)]
pub struct CompletionFlags {
    /// What the completion is for.
    #[arg(value_enum)]
    pub shell: For,
}

/// The programs that complete commands.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum For {
    /// kubectl: `kubectl belay`, in any shell.
    Kubectl,
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// Prints the script that completes this program.
///
/// # Errors
/// Returns an error if the script can't be written.
pub fn run(flags: &CompletionFlags, program: Command) -> anyhow::Result<ExitCode> {
    let shell = match flags.shell {
        For::Kubectl => {
            output::say(KUBECTL_SCRIPT.trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut program = program.bin_name("kubectl-belay");
    clap_complete::generate(shell, &mut program, "kubectl-belay", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}

/// Prints the candidates for the last of these words, one per line, then the directive for kubectl.
///
/// # Errors
/// Returns an error if they can't be written.
pub async fn complete(words: &[String], program: Command) -> anyhow::Result<ExitCode> {
    let names = tokio::time::timeout(PATIENCE, names(words)).await;
    // Without an answer, there is no name to offer, and the error can't be shown to anybody.
    for name in names.ok().flatten().unwrap_or_default() {
        output::say(&name)?;
    }
    for candidate in candidates(words, program) {
        output::say(&candidate)?;
    }
    output::say(NO_FILES)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the commands, flags and flag values that fit.
fn candidates(words: &[String], mut program: Command) -> Vec<String> {
    let mut arguments = vec![OsString::from("kubectl-belay")];
    arguments.extend(words.iter().map(OsString::from));
    let last = arguments.len() - 1;
    let found = clap_complete::engine::complete(&mut program, arguments, last.max(1), None);
    let found = found.unwrap_or_default();
    let is_shown = |candidate: &&clap_complete::CompletionCandidate| !candidate.is_hide_set();
    found
        .iter()
        .filter(is_shown)
        .map(|candidate| {
            let value = candidate.get_value().to_string_lossy();
            match candidate.get_help() {
                Some(help) => format!(
                    "{value}\t{}",
                    help.to_string().lines().next().unwrap_or_default()
                ),
                None => value.into_owned(),
            }
        })
        .collect()
}

/// Returns the names that fit, if the next word is a name.
async fn names(words: &[String]) -> Option<Vec<String>> {
    let (prefix, before) = words.split_last()?;
    let (flags, place) = place(before);
    let kinds: &[&str] = match place.as_slice() {
        ["status"] => &["cluster"],
        ["why"] => &["cluster", "pool", "operation"],
        ["operation", "show" | "wait"] | ["force"] => &["operation"],
        ["operation", "list" | "show-latest", kind] | [_, kind] => &[*kind],
        _ => return None,
    };
    let session = Session::open(&flags).await.ok()?;
    let mut names = Vec::new();
    for kind in kinds {
        names.extend(match *kind {
            "cluster" => list::<ManagedCluster>(&session).await?,
            "pool" => list::<AgentPool>(&session).await?,
            "operation" => list::<Operation>(&session).await?,
            _ => return None,
        });
    }
    names.retain(|name| name.starts_with(prefix));
    Some(names)
}

/// Separates the flags that select the cluster and namespace from the other words that aren't flags.
fn place(words: &[String]) -> (GlobalFlags, Vec<&str>) {
    let mut flags = GlobalFlags::default();
    let mut place = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-n" | "--namespace" => flags.namespace = words.next().cloned(),
            "--context" => flags.context = words.next().cloned(),
            "--kubeconfig" => flags.kubeconfig = words.next().map(Into::into),
            flag if flag.starts_with('-') => {}
            word => place.push(word),
        }
    }
    (flags, place)
}

/// Lists names. Reads only the metadata.
async fn list<K>(session: &Session) -> Option<Vec<String>>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let params = ListParams::default().limit(MOST);
    let list = session.api::<K>().list_metadata(&params).await.ok()?;
    Some(list.items.iter().map(kube::ResourceExt::name_any).collect())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::cli::Cli;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn completion_offers_commands_and_values_but_no_hidden_ones() {
        let commands = candidates(&words(""), Cli::command()).join("\n");
        assert!(
            commands.contains("status\t") && commands.contains("abort\t"),
            "{commands}"
        );
        assert!(!commands.contains("__complete"), "{commands}");
        let kinds = candidates(&words("abort "), Cli::command()).join("\n");
        assert!(kinds.contains("pool"), "{kinds}");
    }

    #[test]
    fn completion_reads_namespace_and_context_from_the_line() {
        let line = words("-n team-a abort --context prod cluster");
        let (flags, place) = place(&line);
        assert_eq!(flags.namespace.as_deref(), Some("team-a"));
        assert_eq!(flags.context.as_deref(), Some("prod"));
        assert_eq!(place, ["abort", "cluster"]);
    }
}
