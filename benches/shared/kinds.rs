//! Installs Belay's kinds on a control plane, and creates namespaces.

use k8s_openapi::{
    api::core::v1::Namespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::PostParams,
    runtime::{conditions, wait::await_condition},
};

/// Installs the kinds, and creates the namespaces.
pub async fn install(client: &Client, namespaces: &[&str]) -> anyhow::Result<()> {
    let crds = Api::<CustomResourceDefinition>::all(client.clone());
    for crd in belay::api::crds() {
        crds.create(&PostParams::default(), &crd).await?;
        let is_known = conditions::is_crd_established();
        await_condition(crds.clone(), &crd.name_any(), is_known).await?;
    }
    for name in namespaces {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some((*name).into());
        let namespaces = Api::all(client.clone());
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
    }
    Ok(())
}
