//! A bare reflector of Belay's kinds: the minimum that a controller in Rust must do and keep.

use belay::api::{AgentPool, ManagedCluster, Operation};
use futures::StreamExt as _;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt as _, reflector, watcher},
};

use crate::objects::Kind;

/// The environment variable that makes this program run as the bare reflector of a namespace.
pub const REFLECTOR: &str = "BENCH_REFLECTOR";
/// What a program prints once it has seen all objects.
pub const SYNCED: &str = "synced";

/// Runs the bare reflector: it lists and watches the three kinds, and keeps them as they are decoded.
///
/// # Errors
/// If there is no control plane.
pub async fn reflect() -> anyhow::Result<()> {
    let namespace = std::env::var(REFLECTOR)?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(Kubeconfig::read()?, &options).await?;
    let client = belay::machinery::connection::builder(config)?.build();
    tokio::try_join!(
        mirror::<ManagedCluster>(&client, &namespace),
        mirror::<AgentPool>(&client, &namespace),
        mirror::<Operation>(&client, &namespace)
    )?;
    println!("{SYNCED}");
    std::future::pending().await
}

async fn mirror<K: Kind>(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let (store, writer) = reflector::store::<K>();
    let objects = Api::<K>::namespaced(client.clone(), namespace);
    let events = reflector::reflector(writer, watcher(objects, watcher::Config::default()));
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events.default_backoff().touched_objects());
        while events.next().await.is_some() {}
    });
    store.wait_until_ready().await?;
    // The store must live as long as the program.
    std::mem::forget(store);
    Ok(())
}
