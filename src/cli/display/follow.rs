//! Follows one Operation to its end, with a bar on a terminal and a line for each change in a pipe.

use std::time::Duration;

use futures::StreamExt as _;
use kube::{
    ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};

use crate::{
    api::{Operation, OperationPhase},
    cli::{
        cluster::{
            session::Session,
            view::{self, phase},
        },
        display::{progress, screen::Screen},
        terminal::output,
    },
    machinery::{clock, watches::WATCH_TIMEOUT_SECONDS},
};

/// How often output that shows a time is updated.
const SECOND: Duration = Duration::from_secs(1);

/// After this time of waiting for its turn, a command is shown that says why the Operation waits.
const LONG: Duration = Duration::from_secs(10);

/// Why following ended.
pub enum Followed {
    /// The Operation is as it was waited for, or it ended.
    Reached(Box<Operation>),
    /// The Operation was deleted.
    Gone,
    /// Ctrl-C was pressed.
    Interrupted,
    /// The time was up.
    TimedOut,
}

/// Follows an Operation until it ends, or until `is_enough` returns true.
///
/// # Errors
/// Returns an error if the Operation can't be watched or shown.
pub async fn follow(
    session: &Session,
    operation: &Operation,
    timeout: Option<Duration>,
    is_enough: impl Fn(&Operation) -> bool,
) -> anyhow::Result<Followed> {
    let mut screen = Screen::new(session);
    let end = watch(session, operation, timeout, is_enough, &mut screen).await;
    match &end {
        Ok(Followed::Reached(_)) if session.is_live => screen.clear(),
        _ => screen.leave(),
    }
    if let (Ok(Followed::Reached(operation)), true) = (&end, session.is_live) {
        let line = progress::line(operation);
        output::say(&session.look.now().wrap("", "  ", &line))?;
    }
    end
}

async fn watch(
    session: &Session,
    operation: &Operation,
    timeout: Option<Duration>,
    is_enough: impl Fn(&Operation) -> bool,
    screen: &mut Screen,
) -> anyhow::Result<Followed> {
    let name = operation.name_any();
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(WATCH_TIMEOUT_SECONDS);
    let mut events = watcher(session.api::<Operation>(), config)
        .default_backoff()
        .boxed();
    let mut seconds = tokio::time::interval(SECOND);
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut time_is_up = std::pin::pin!(after(timeout));
    let mut long_wait = std::pin::pin!(tokio::time::sleep(LONG));
    let mut is_short = true;
    let mut last = operation.clone();
    let mut is_listed = false;
    let mut trouble = None;
    screen.operation(&last, clock::now())?;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Init)) => is_listed = false,
                Some(Ok(Event::InitDone)) if !is_listed => return Ok(Followed::Gone),
                Some(Ok(Event::InitDone)) => trouble = None,
                Some(Ok(Event::Apply(now) | Event::InitApply(now))) => {
                    if now.uid() != operation.uid() {
                        return Ok(Followed::Gone);
                    }
                    (is_listed, last) = (true, now);
                    screen.operation(&last, clock::now())?;
                    if phase(&last).is_finished() || is_enough(&last) {
                        return Ok(Followed::Reached(Box::new(last)));
                    }
                }
                Some(Ok(Event::Delete(_))) | None => return Ok(Followed::Gone),
                Some(Err(error)) => {
                    let error = error.to_string();
                    if trouble.as_ref() != Some(&error) {
                        screen.say(&format!("no updates: {error}; trying again"))?;
                    }
                    trouble = Some(error);
                }
            },
            _ = seconds.tick(), if session.is_live => screen.operation(&last, clock::now())?,
            () = &mut long_wait, if is_short => {
                is_short = false;
                let waits_for_window = progress::window(&view::status(&last)).is_some();
                if phase(&last) == OperationPhase::Pending && !waits_for_window {
                    let why = session.look.command(&format!("why operation/{name}"));
                    screen.say(&format!("It still waits for its turn. To see what it waits for: {why}"))?;
                }
            }
            _ = &mut interrupt => return Ok(Followed::Interrupted),
            () = &mut time_is_up => return Ok(Followed::TimedOut),
        }
    }
}

/// Ends after this time. Without a time it never ends.
pub async fn after(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
