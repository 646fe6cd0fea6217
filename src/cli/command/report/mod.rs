//! `kubectl belay report`: one HTML page about an Operation, for the post-mortem. It needs no other file.

mod page;

use std::process::ExitCode;

use anyhow::Context as _;
use askama::Template as _;
use clap::Args;
use k8s_openapi::api::core::v1::Event;
use kube::{ResourceExt as _, api::ListParams};

use crate::{
    api::Operation,
    cli::{
        cluster::{errors, session::Session},
        terminal::output,
    },
    machinery::clock,
};

use page::Page;

/// Write an HTML page about an operation: its steps as a timeline, what blocked it and when, and who asked for it and
/// for its abort.
///
/// The page needs no other file. It works for operations in flight and for finished ones. The API server deletes Events
/// after an hour by default; the page shows those that are left.
#[derive(Args, Debug)]
pub struct ReportFlags {
    /// The Operation's name.
    pub name: String,
}

/// Runs the command.
///
/// # Errors
/// Returns an error if the Operation or its Events can't be read.
pub async fn run(session: &Session, flags: &ReportFlags) -> anyhow::Result<ExitCode> {
    let operation: Operation = errors::get(&session.api(), &flags.name).await?;
    let uid = operation.uid().unwrap_or_default();
    let of_operation = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let events = session.api::<Event>().list(&of_operation).await;
    let events = events.context("failed to read the Events")?.items;
    let page = Page::of(&operation, &events, clock::now()).render()?;
    output::say(page.trim_end())?;
    Ok(ExitCode::SUCCESS)
}
