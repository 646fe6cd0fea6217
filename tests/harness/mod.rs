//! Runs async tests in parallel in one common environment.

use std::{future::Future, pin::Pin, process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::{Handle, Runtime};

/// A test, with its name.
pub type Test<S> = (
    &'static str,
    fn(Arc<S>) -> Pin<Box<dyn Future<Output = ()> + Send>>,
);

/// Lists tests with the names of their modules.
#[macro_export]
macro_rules! tests {
    ($($first:ident $(:: $rest:ident)*),* $(,)?) => {
        &[$((concat!(stringify!($first) $(, "::", stringify!($rest))*), |stage| Box::pin($first $(:: $rest)*(stage)))),*]
    };
}

/// Starts the common environment, and runs the tests that the command line selects. Keeps the logs if a test fails. The
/// ignored tests run only with `--ignored`.
pub fn run<S: Send + Sync + 'static>(
    tests: &[Test<S>],
    ignored: &[Test<S>],
    start: impl Future<Output = Arc<S>>,
    keep_logs: fn(&S),
) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // The tests mostly wait, so more of them than cores can run.
    arguments.test_threads.get_or_insert(6);
    let runtime = Runtime::new().expect("a runtime");
    if arguments.list {
        let trials = trials(tests, ignored, None, runtime.handle());
        return libtest_mimic::run(&arguments, trials).exit_code();
    }
    let stage = runtime.block_on(start);
    let trials = trials(tests, ignored, Some(&stage), runtime.handle());
    let conclusion = libtest_mimic::run(&arguments, trials);
    if conclusion.has_failed() {
        keep_logs(&stage);
    }
    // Stops everything that the environment started, before the process exits.
    drop(stage);
    conclusion.exit_code()
}

fn trials<S: Send + Sync + 'static>(
    tests: &[Test<S>],
    ignored: &[Test<S>],
    stage: Option<&Arc<S>>,
    handle: &Handle,
) -> Vec<Trial> {
    let trial = |(name, test): &Test<S>| {
        let (test, stage, handle) = (*test, stage.cloned(), handle.clone());
        Trial::test(*name, move || {
            let Some(stage) = stage else { return Ok(()) };
            handle.block_on(test(stage));
            Ok(())
        })
    };
    let ignored = ignored.iter().map(trial);
    let ignored = ignored.map(|trial| trial.with_ignored_flag(true));
    tests.iter().map(trial).chain(ignored).collect()
}
