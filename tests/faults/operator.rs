//! An operator in the test's process. It can be killed between any two of its requests.

use std::{thread::JoinHandle, time::Duration};

use belay::{
    controller,
    leader::{Fence, Moment},
    machinery::{connection, watches::Scope},
    provider::{Clouds, Providers, cluster_api, kwok},
    telemetry::{Health, Telemetry, Traces},
};
use kube::Config;
use tokio::sync::oneshot;

use super::{Faults, layer::OfOperator};

/// An operator of one namespace, with its own thread and runtime. When it is dropped, all of its tasks end at once, as
/// if its process were killed.
pub struct Operator {
    fence: Fence,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Operator {
    /// Starts an operator whose requests get these faults. The previous operator sends no more requests.
    pub fn start(config: &Config, namespace: &str, faults: &Faults) -> Self {
        Self::start_as(config, namespace, faults.next_operator())
    }

    /// Starts an operator while the previous one still runs.
    pub fn start_another(config: &Config, namespace: &str, faults: &Faults) -> Self {
        Self::start_as(config, namespace, faults.another_operator())
    }

    fn start_as(config: &Config, namespace: &str, faults: OfOperator) -> Self {
        let (end, ended) = oneshot::channel();
        let fence = Fence::open();
        let work = work(config.clone(), namespace.to_owned(), faults, fence.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = work => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            fence,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Takes the lease away: the operator sends its pending request, and then writes nothing.
    pub fn lose_lease(&self) {
        self.fence.extend(Moment::now());
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // If the thread has panicked, there is no receiver.
        let _ = self.end.take().map(|end| end.send(()));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(
                ended.is_ok() || std::thread::panicking(),
                "the operator panicked"
            );
        }
    }
}

/// As the operator's default.
const FORCE_AFTER: Duration = Duration::from_mins(1);

async fn work(config: Config, namespace: String, faults: OfOperator, fence: Fence) {
    let connection = connection::builder(connection::bounded(config)).expect("a connection");
    // A request that gets a fault has already passed the fence.
    let client = connection.with_layer(&faults).with_layer(&fence).build();
    let scope = Scope::of([namespace]);
    let (kwok, watches) = kwok::provider(&client, &scope, FORCE_AFTER);
    let providers = Providers {
        kwok: std::sync::Arc::new(kwok),
        cluster_api: std::sync::Arc::new(cluster_api::provider(&client, &scope)),
        clouds: Clouds::default(),
    };
    let telemetry = Telemetry::new("test", fence, Traces::default());
    let health = Health::new(telemetry.clone());
    let never = std::future::pending();
    tokio::select! {
        () = controller::run(client, &scope, providers, telemetry, &health, never) => {}
        () = watches => {}
    }
}
