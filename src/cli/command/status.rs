//! `kubectl belay status`: the state of clusters, and the operations in flight.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use kube::{ResourceExt as _, api::ListParams};
use serde_json::json;

use crate::{
    api::ManagedCluster,
    cli::{
        cluster::{
            session::Session,
            view::{View, condition},
            watch::{ClusterWatch, News},
        },
        display::{cluster_text, screen::Screen},
        terminal::{
            look::Look,
            output::{self, Format},
            table::Table,
        },
    },
    machinery::clock,
};

/// The number of clusters per page. The first page is shown as soon as it has arrived.
const PAGE: u32 = 250;
/// How often output that shows a time is updated.
const SECOND: Duration = Duration::from_secs(1);

/// Show the state of clusters, the operations in flight on them, and what blocks these operations.
///
/// With a name: the cluster, its pools, its nodes by version, each operation in flight with its steps, what blocks it
/// and since when, and the command that helps. Without a name: a line for each cluster.
#[derive(Args, Debug)]
pub struct StatusFlags {
    /// The cluster. By default, all clusters of the namespace.
    pub cluster: Option<String>,

    /// Keep showing changes until Ctrl-C. In a pipe, each change is a line.
    #[arg(long, short, requires = "cluster")]
    pub watch: bool,

    /// Show the clusters of all namespaces.
    #[arg(long, short = 'A', conflicts_with = "cluster")]
    pub all_namespaces: bool,

    /// The output format. JSON and YAML contain the objects that are shown.
    #[arg(long, short, value_enum, conflicts_with = "watch")]
    pub output: Option<Format>,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if something can't be read.
pub async fn run(session: &Session, flags: &StatusFlags) -> anyhow::Result<ExitCode> {
    match &flags.cluster {
        Some(cluster) if flags.watch => watch(session, cluster).await,
        Some(cluster) => {
            let view = View::read(session, cluster).await?;
            one(session, flags, &view)?;
            Ok(ExitCode::SUCCESS)
        }
        None => {
            overview(session, flags).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn one(session: &Session, flags: &StatusFlags, view: &View) -> anyhow::Result<()> {
    match flags.output {
        None | Some(Format::Wide) => {
            output::say(&cluster_text::all(view, &session.look, clock::now()))?;
        }
        Some(Format::Name) => output::say(&name(&view.cluster))?,
        Some(format) => {
            let View {
                cluster,
                pools,
                operations,
                ..
            } = view;
            let mut items = vec![json!(cluster)];
            items.extend(pools.iter().map(|pool| json!(pool)));
            items.extend(operations.iter().map(|operation| json!(operation)));
            output::value(format, &list(&items))?;
        }
    }
    Ok(())
}

fn list(items: &[serde_json::Value]) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

fn name(cluster: &ManagedCluster) -> String {
    format!("managedcluster.belay.dev/{}", cluster.name_any())
}

async fn watch(session: &Session, cluster: &str) -> anyhow::Result<ExitCode> {
    // An error at the start is reported, and not tried again.
    View::read(session, cluster).await?;
    let mut changes = ClusterWatch::new(session, cluster);
    let mut screen = Screen::new(session);
    let mut last = None;
    let mut seconds = tokio::time::interval(SECOND);
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut trouble = None;
    loop {
        tokio::select! {
            news = changes.next() => match news {
                News::View(view) => {
                    for ended in ended(last.as_deref(), &view, &changes) {
                        screen.ended(&ended, clock::now())?;
                    }
                    screen.cluster(&view, clock::now())?;
                    (last, trouble) = (Some(view), None);
                }
                News::Gone => {
                    screen.say(&format!("ManagedCluster {cluster} was deleted"))?;
                    screen.leave();
                    return Ok(ExitCode::SUCCESS);
                }
                News::Unseen(error) => {
                    if trouble.as_ref() != Some(&error) {
                        screen.say(&format!("no updates: {error}; trying again"))?;
                    }
                    trouble = Some(error);
                }
            },
            _ = seconds.tick(), if session.is_live => {
                if let Some(view) = &last {
                    screen.cluster(view, clock::now())?;
                }
            }
            _ = &mut interrupt => {
                screen.leave();
                return Ok(super::INTERRUPTED.into());
            }
        }
    }
}

/// Returns the Operations that were shown and have ended since then.
fn ended(before: Option<&View>, now: &View, watch: &ClusterWatch) -> Vec<crate::api::Operation> {
    let shown = before.map_or(&[][..], |view| &view.operations);
    shown
        .iter()
        .filter(|was| {
            now.operations
                .iter()
                .all(|is| is.name_any() != was.name_any())
        })
        .filter_map(|was| watch.operation(&was.name_any()))
        .collect()
}

async fn overview(session: &Session, flags: &StatusFlags) -> anyhow::Result<()> {
    let clusters = session.api_in::<ManagedCluster>(flags.all_namespaces);
    let mut params = ListParams::default().limit(PAGE);
    let mut table = overview_table(flags);
    let mut objects = Vec::new();
    let mut number = 0;
    loop {
        let page = clusters
            .list(&params)
            .await
            .context("failed to read the clusters")?;
        number += page.items.len();
        match flags.output {
            None | Some(Format::Wide) if number == 0 => {}
            None | Some(Format::Wide) => {
                for cluster in &page.items {
                    table.push(row(cluster, flags, &session.look));
                }
                output::say(&table.page(&session.look))?;
            }
            Some(Format::Name) => {
                for cluster in &page.items {
                    output::say(&name(cluster))?;
                }
            }
            Some(_) => objects.extend(page.items.iter().map(|cluster| json!(cluster))),
        }
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => break,
        }
    }
    match flags.output {
        Some(format @ (Format::Json | Format::Yaml)) => output::value(format, &list(&objects))?,
        _ if number == 0 => {
            let place = if flags.all_namespaces {
                String::new()
            } else {
                format!(" in namespace {}", session.namespace)
            };
            eprintln!("There are no clusters{place}.");
        }
        _ => {}
    }
    Ok(())
}

fn overview_table(flags: &StatusFlags) -> Table {
    let mut columns = vec![
        ("CLUSTER", 0),
        ("VERSION", 3),
        ("STATE", 0),
        ("READY", 4),
        ("OPERATION", 2),
        ("PERCENT", 1),
        ("MESSAGE", 0),
    ];
    if flags.all_namespaces {
        columns.insert(0, ("NAMESPACE", 0));
    }
    Table::new(&columns)
}

fn row(cluster: &ManagedCluster, flags: &StatusFlags, look: &Look) -> Vec<String> {
    let status = cluster.status.clone().unwrap_or_default();
    let ready = condition(&status.conditions, "Ready");
    let none = || "-".to_owned();
    let each = |words: Vec<String>| {
        if words.is_empty() {
            none()
        } else {
            words.join(",")
        }
    };
    let operations = &status.operations;
    let mut cells = vec![
        cluster.name_any(),
        status.kubernetes_version.clone().unwrap_or_else(none),
        cluster_text::state_word(status.provisioning_state, status.hold.as_ref(), look),
        ready.map_or_else(none, |ready| ready.status.clone()),
        each(operations.iter().map(|held| held.name.clone()).collect()),
        each(
            operations
                .iter()
                .map(|held| held.percent_complete.to_string())
                .collect(),
        ),
        ready.map_or_else(none, |ready| ready.message.clone()),
    ];
    if flags.all_namespaces {
        cells.insert(0, cluster.namespace().unwrap_or_default());
    }
    cells
}
