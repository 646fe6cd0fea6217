//! `kubectl belay wait -f`: waits until everything that an apply started has ended, and sums it up.

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use clap::Args;
use futures::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Api, Resource, ResourceExt as _,
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt as _, watcher},
};
use serde::de::DeserializeOwned;

use crate::{
    api::{AgentPool, ManagedCluster, Operation},
    cli::{
        cluster::{
            errors,
            manifests::{Manifest, ManifestFlags},
            session::Session,
            view::condition,
        },
        display::{follow::after, progress},
        terminal::{output, table::Table, text},
    },
    lifecycle::messages::reason,
    machinery::watches::WATCH_TIMEOUT_SECONDS,
};

use super::duration;

/// Wait until everything that an apply of manifests started has ended, and sum it up.
///
/// A cluster or a pool has ended if it is as its spec says, if all that is left waits for a maintenance window, or if it is
/// on hold until someone acts. An Operation has ended if it succeeded, failed or was canceled. Objects of other kinds are left out.
///
/// Exit codes: 0 if all clusters and pools are Ready and all Operations succeeded; 1 otherwise, or if --timeout has
/// passed.
#[derive(Args, Debug)]
pub struct WaitFlags {
    #[command(flatten)]
    pub manifests: ManifestFlags,

    /// How long to wait, such as 1h.
    #[arg(long, value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// How the wait for one object ended.
struct Ended {
    /// The object, as `KIND NAME`.
    object: String,
    /// Whether it ended well, in a word.
    state: String,
    /// Whether it ended well.
    is_well: bool,
    /// Its message.
    message: String,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if a manifest can't be read, or if an object doesn't exist.
pub async fn run(session: &Session, flags: &WaitFlags) -> anyhow::Result<ExitCode> {
    let (ours, others) = flags.manifests.read()?;
    if ours.is_empty() {
        let others = text::count(others.len(), "object");
        output::say(&format!(
            "There is nothing to wait for: Belay manages none of the {others}."
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut waits: FuturesUnordered<_> = ours.iter().map(|it| wait_for(session, it)).collect();
    let count = waits.len();
    let mut ended = Vec::new();
    let mut time_is_up = std::pin::pin!(after(flags.timeout));
    let in_time = loop {
        tokio::select! {
            next = waits.next() => match next {
                Some(one) => {
                    let one = one?;
                    output::say(&format!("{}   {}   {}", one.object, one.state, one.message))?;
                    ended.push(one);
                }
                None => break true,
            },
            () = &mut time_is_up => break false,
            _ = tokio::signal::ctrl_c() => return Ok(super::INTERRUPTED.into()),
        }
    };
    drop(waits);
    summary(session, &ended, count)?;
    if !in_time {
        let left = text::count(count - ended.len(), "object");
        bail!(
            "{left} did not end yet: --timeout has passed. `kubectl belay status` shows what blocks them"
        );
    }
    let is_well = ended.iter().all(|one| one.is_well);
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(session: &Session, ended: &[Ended], count: usize) -> anyhow::Result<()> {
    let mut table = Table::new(&[("OBJECT", 0), ("STATE", 0), ("MESSAGE", 1)]);
    let mut sorted: Vec<_> = ended.iter().collect();
    sorted.sort_by_key(|one| (one.is_well, &one.object));
    for one in sorted {
        table.push([one.object.clone(), one.state.clone(), one.message.clone()]);
    }
    let well = ended.iter().filter(|one| one.is_well).count();
    let all = text::count(count, "object");
    output::say(&format!(
        "\n{}\n\n{well} of {all} ended well.",
        table.page(&session.look.now())
    ))?;
    Ok(())
}

/// Waits for the object of one manifest.
async fn wait_for(session: &Session, manifest: &Manifest) -> anyhow::Result<Ended> {
    let namespace = manifest.namespace().unwrap_or(&session.namespace);
    let (client, name) = (session.client.clone(), manifest.name());
    match manifest.kind() {
        "ManagedCluster" => {
            let api = Api::<ManagedCluster>::namespaced(client, namespace);
            until(&api, name, |cluster| {
                let status = cluster.status.as_ref()?;
                of_conditions(cluster, status.observed_generation, &status.conditions)
            })
            .await
        }
        "AgentPool" => {
            let api = Api::<AgentPool>::namespaced(client, namespace);
            until(&api, name, |pool| {
                let status = pool.status.as_ref()?;
                of_conditions(pool, status.observed_generation, &status.conditions)
            })
            .await
        }
        "Operation" => {
            let api = Api::<Operation>::namespaced(client, namespace);
            until(&api, name, |operation| {
                let status = operation
                    .status
                    .as_ref()
                    .filter(|it| it.phase.is_finished())?;
                let is_well = status.phase == crate::api::OperationPhase::Succeeded;
                Some((
                    is_well,
                    format!("{:?}", status.phase),
                    progress::end(status),
                ))
            })
            .await
        }
        other => bail!(
            "{}: there is no kind {other} in {}",
            manifest.place,
            crate::api::GROUP
        ),
    }
}

/// Returns how a cluster or a pool ended. None if Belay is still at work on it.
fn of_conditions<K: Resource>(
    object: &K,
    observed: Option<i64>,
    conditions: &[Condition],
) -> Option<(bool, String, String)> {
    let is = |type_: &str| condition(conditions, type_).is_some_and(|it| it.status == "True");
    let ready = condition(conditions, "Ready")?;
    let is_seen = observed == object.meta().generation;
    let has_ended = is_seen && (is("Ready") || is("Stalled"));
    // What waits for a maintenance window isn't waited for: that may take days.
    let waits = ready.reason == reason::WAITS_FOR_WINDOW;
    let state = if is("Ready") && !waits {
        "Ready"
    } else {
        &ready.reason
    };
    has_ended.then(|| (is("Ready"), state.to_owned(), ready.message.clone()))
}

/// Watches an object until it has ended.
async fn until<K>(
    api: &Api<K>,
    name: &str,
    end: impl Fn(&K) -> Option<(bool, String, String)>,
) -> anyhow::Result<Ended>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let object = format!("{} {name}", K::kind(&()));
    // An object that doesn't exist was not applied: say so at once.
    let first = errors::get(api, name).await?;
    let uid = first.uid();
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_TIMEOUT_SECONDS);
    let events = watcher(api.clone(), config).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut is_listed = false;
    loop {
        // An error is repeated after a pause.
        let Some(event) = events.next().await else {
            bail!("the watch of {object} ended");
        };
        let seen = match event {
            Ok(watcher::Event::Apply(seen) | watcher::Event::InitApply(seen)) => seen,
            Ok(watcher::Event::Init) => {
                is_listed = false;
                continue;
            }
            Ok(watcher::Event::InitDone) if is_listed => continue,
            Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => {
                bail!("{object} was deleted")
            }
            Err(_) => continue,
        };
        is_listed = true;
        if seen.uid() != uid {
            bail!("{object} was deleted and created again");
        }
        if let Some((is_well, state, message)) = end(&seen) {
            return Ok(Ended {
                object,
                state,
                is_well,
                message,
            });
        }
    }
}
