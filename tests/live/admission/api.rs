//! The schema: what the CRDs refuse, and the messages of these refusals.

use std::sync::Arc;

use crate::stage::belay::{Belay, World};

const CLUSTER: &str = "{apiVersion: belay.dev/v1alpha1, kind: ManagedCluster, metadata: {name: demo}, spec: {kubernetesVersion: 1.35.7, provider: {kwok: {}}}}";
const POOL: &str = "{apiVersion: belay.dev/v1alpha1, kind: AgentPool, metadata: {name: np1}, spec: {clusterName: demo, count: 1, mode: System, vmSize: small}}";
const OPERATION: &str = "{apiVersion: belay.dev/v1alpha1, kind: Operation, metadata: {name: op1}, spec: {type: Reconcile, target: {kind: AgentPool, name: np1}}}";

const KEY: &str =
    "a key must be NAME or DOMAIN/NAME, for example example.com/team: NAME has at most 63 letters";
const RESERVED: &str = "keys of the domains kubernetes.io, k8s.io and belay.dev, and of their subdomains, are reserved for Kubernetes and Belay: write a domain of your own";
const VALUE: &str = "a value must be empty, or have at most 63 letters";
/// Labels and taints that nodes can have, up to the maximum length.
const LABELS_AND_TAINTS: &str = "nodeLabels: {a: '', notkubernetes.io/a: x, kubernetes.io: x, example.com/team_1.x: A-1_b.c, LONGDOMAIN/team: x}, nodeTaints: [{key: a, effect: NoSchedule}, {key: a, value: b, effect: NoExecute}, {key: example.com/b, effect: NoSchedule}], count: 1";

/// Returns the manifest with windows, and with keys that are one character too long or, if `is_allowed`, of the maximum length.
fn with_long_names(manifest: &str, is_allowed: bool) -> String {
    let label = "a".repeat(61);
    let domain = format!("{label}.{label}.{label}.{label}.aaaaa");
    let domain = if is_allowed { domain } else { domain + "a" };
    manifest
        .replace("LONGNAME", &"n".repeat(64))
        .replace("LONGDOMAIN", &domain)
        .replace("A_WINDOW", "{start: '22:00', duration: 1h}")
}

/// A manifest, the text that is replaced, its replacement, and the text of the refusal.
const REFUSALS: &[(&str, &str, &str, &str)] = &[
    (
        CLUSTER,
        "1.35.7",
        "'1.35'",
        "must be MAJOR.MINOR.PATCH, for example 1.36.3",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{}",
        "exactly one provider must be set; this version supports: kwok",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{kwok: {nodeProvisioningTime: soon}}",
        "must be a duration from 0s to 24h, for example 2s or 1m30s",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{azure: {subscriptionId: 00000000-1111-2222-3333-44444444444g, resourceGroup: fleet, name: demo}}",
        "must be the id of a subscription",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{azure: {subscriptionId: 00000000-1111-2222-3333-444444444444, resourceGroup: fleet, name: demo, deletionPolicy: Delete}}",
        "Belay never deletes an AKS cluster",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{azure: {subscriptionId: 00000000-1111-2222-3333-444444444444, resourceGroup: fleet, name: demo, nodePools: {np1: {name: No-Pool}}}}",
        "must be the name of a node pool",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{aws: {region: Ireland, name: demo}}",
        "must be the name of a region, for example eu-west-1",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{aws: {region: eu-west-1, name: demo.example}}",
        "must be the name of an EKS cluster",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{aws: {region: eu-west-1, name: demo}}",
        "EKS chooses the patch version itself: write 0 for it",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{aws: {region: eu-west-1, name: demo, deletionPolicy: Delete}}",
        "Belay never deletes an EKS cluster",
    ),
    (
        CLUSTER,
        "{kwok: {}}",
        "{aws: {region: eu-west-1, name: demo, nodegroups: {np1: {name: a.b}}}}",
        "must be the name of a nodegroup",
    ),
    (
        CLUSTER,
        "provider:",
        "operationHistoryLimit: 51, provider:",
        "should be less than or equal to 50",
    ),
    (
        CLUSTER,
        "provider:",
        "operationTimeout: 59s, provider:",
        "must be a duration from 1m to 168h, for example 2h",
    ),
    (
        CLUSTER,
        "provider:",
        "operationTimeout: 169h, provider:",
        "must be a duration from 1m to 168h, for example 2h",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '9:00', duration: 1h}], provider:",
        "must be HH:MM from 00:00 to 23:59, for example 22:00",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '24:00', duration: 1h}], provider:",
        "must be HH:MM from 00:00 to 23:59, for example 22:00",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00', duration: 14m}], provider:",
        "must be a duration from 15m to 24h, for example 4h",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00', duration: 25h}], provider:",
        "must be a duration from 15m to 24h, for example 4h",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00', duration: 1 day}], provider:",
        "must be a duration from 15m to 24h, for example 4h",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00', duration: 1h, timeZone: 'Central European Time'}], provider:",
        "must be a name of the IANA time zone database, for example Europe/Berlin",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00', duration: 1h, days: [Someday]}], provider:",
        "supported values: \"Monday\"",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00', duration: 1h, days: []}], provider:",
        "should have at least 1 items",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00', duration: 1h, atEnd: Stop}], provider:",
        "supported values: \"Continue\", \"Pause\"",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [{start: '22:00'}], provider:",
        "maintenanceWindows[0].duration: Required value",
    ),
    (
        CLUSTER,
        "provider:",
        "maintenanceWindows: [A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW, A_WINDOW], provider:",
        "must have at most 14 items",
    ),
    (
        OPERATION,
        "type: Reconcile",
        "timeout: soon, type: Reconcile",
        "must be a duration from 1m to 168h, for example 2h",
    ),
    (
        POOL,
        "count: 1",
        "upgradeSettings: {nodeSoakDuration: 31m}, count: 1",
        "must be a duration from 0s to 30m, for example 5m",
    ),
    (
        POOL,
        "count: 1",
        "upgradeSettings: {maxBlockedNodes: 2, undrainableNodeBehavior: Schedule}, count: 1",
        "maxBlockedNodes needs undrainableNodeBehavior: Cordon: otherwise no node stays blocked",
    ),
    (
        POOL,
        "count: 1",
        "upgradeSettings: {maxBlockedNodes: 0, undrainableNodeBehavior: Cordon}, count: 1",
        "must be a number from 1 to 1000, or a percentage from 1% to 100%",
    ),
    (
        POOL,
        "count: 1",
        "count: 0",
        "a System pool has at least 1 node; use a User pool for a count of 0",
    ),
    (
        POOL,
        "count: 1",
        "count: 1001",
        "should be less than or equal to 1000",
    ),
    (
        POOL,
        "count: 1",
        "powerState: Stopped, count: 1",
        "a System pool can't be Stopped; stop the whole cluster instead",
    ),
    (
        POOL,
        "clusterName: demo",
        "clusterName: other",
        "clusterName is immutable: create a new pool in the other cluster",
    ),
    (
        POOL,
        "vmSize: small",
        "vmSize: large",
        "vmSize is immutable: create a new pool with the other size, then delete this one",
    ),
    (
        POOL,
        ", vmSize: small",
        "",
        "vmSize is immutable: create a new pool with the other size, then delete this one",
    ),
    (
        POOL,
        "count: 1",
        "scaleSetPriority: Spot, count: 1",
        "scaleSetPriority is immutable: create a new pool with the other priority",
    ),
    (
        POOL,
        "count: 1",
        "upgradeSettings: {maxSurge: 0%}, count: 1",
        "maxSurge and maxUnavailable can't both be 0: no node could be replaced",
    ),
    (
        POOL,
        "count: 1",
        "upgradeSettings: {maxSurge: many}, count: 1",
        "must be a number from 0 to 1000, or a percentage from 0% to 100%",
    ),
    (
        POOL,
        "count: 1",
        "upgradeSettings: {drainTimeout: 0s}, count: 1",
        "must be a duration from 1s to 24h, for example 30m",
    ),
    (
        POOL,
        "count: 1",
        "nodeLabels: {belay.dev/cluster: x}, count: 1",
        RESERVED,
    ),
    (
        POOL,
        "count: 1",
        "nodeLabels: {kubernetes.io/hostname: x}, count: 1",
        RESERVED,
    ),
    (
        POOL,
        "count: 1",
        "nodeLabels: {k8s.io/a: x}, count: 1",
        RESERVED,
    ),
    (
        POOL,
        "count: 1",
        "nodeLabels: {node-role.kubernetes.io/control-plane: ''}, count: 1",
        RESERVED,
    ),
    (
        POOL,
        "count: 1",
        "nodeLabels: {topology.kubernetes.io/zone: x}, count: 1",
        RESERVED,
    ),
    (
        POOL,
        "count: 1",
        "nodeLabels: {team.belay.dev/a: x}, count: 1",
        RESERVED,
    ),
    (
        POOL,
        "count: 1",
        "nodeTaints: [{key: belay.dev/a, effect: NoSchedule}], count: 1",
        "taints that start with belay.dev/ are reserved for Belay: write a domain of your own",
    ),
    (
        POOL,
        "name: np1}, spec: {clusterName: demo, count: 1, mode: System, vmSize: small",
        "name: np2}, spec: {clusterName: demo, count: 1, vmSize: 'very small'",
        "must be valid as a label of the nodes: letters, digits",
    ),
    (POOL, "count: 1", "nodeLabels: {-team: x}, count: 1", KEY),
    (
        POOL,
        "count: 1",
        "nodeLabels: {Example.com/team: x}, count: 1",
        KEY,
    ),
    (POOL, "count: 1", "nodeLabels: {a/b/c: x}, count: 1", KEY),
    (POOL, "count: 1", "nodeLabels: {/team: x}, count: 1", KEY),
    (POOL, "count: 1", "nodeLabels: {LONGNAME: x}, count: 1", KEY),
    (
        POOL,
        "count: 1",
        "nodeLabels: {LONGDOMAIN/team: x}, count: 1",
        KEY,
    ),
    (
        POOL,
        "count: 1",
        "nodeLabels: {team: 'a b'}, count: 1",
        VALUE,
    ),
    (
        POOL,
        "count: 1",
        "nodeTaints: [{key: 'a b', effect: NoSchedule}], count: 1",
        KEY,
    ),
    (
        POOL,
        "count: 1",
        "nodeTaints: [{key: LONGDOMAIN/team, effect: NoSchedule}], count: 1",
        KEY,
    ),
    (
        POOL,
        "count: 1",
        "nodeTaints: [{key: a, value: 'b c', effect: NoSchedule}], count: 1",
        VALUE,
    ),
    (
        POOL,
        "count: 1",
        "nodeTaints: [{key: a, value: b, effect: NoSchedule}, {key: a, value: c, effect: NoSchedule}], count: 1",
        "a node can have only one taint with the same key and effect: remove the duplicate",
    ),
    (
        OPERATION,
        "type: Reconcile",
        "type: Create",
        "an Operation's spec is immutable: abort the Operation, and create a new one",
    ),
    (
        OPERATION,
        "name: op1}, spec: {type: Reconcile",
        "name: op2}, spec: {type: Upgrade",
        "kubernetesVersion is required for types Upgrade and Rollback, and not allowed for other types",
    ),
    (
        OPERATION,
        "name: op1}, spec: {type: Reconcile",
        "name: op2}, spec: {type: Scale",
        "count is required for type Scale, and not allowed for other types",
    ),
    (
        OPERATION,
        "name: op1}, spec: {type: Reconcile, target: {kind: AgentPool",
        "name: op2}, spec: {type: Scale, count: 2, target: {kind: ManagedCluster",
        "only an AgentPool can be scaled",
    ),
];

fn apply(belay: &Belay, manifest: &str) -> Result<String, String> {
    let namespace = ["-n", &belay.namespace, "apply"];
    belay.world.kubectl_with(&namespace, manifest)
}

pub async fn each_schema_rule_refuses_with_a_message_that_says_what_to_do(world: Arc<World>) {
    let belay = Belay::start_without_operator(&world).await;
    for manifest in [CLUSTER, POOL, OPERATION] {
        apply(&belay, manifest).expect("a valid manifest is accepted");
    }
    let allowed = with_long_names(&POOL.replace("count: 1", LABELS_AND_TAINTS), true);
    apply(&belay, &allowed).expect("valid labels and taints are accepted");
    apply(&belay, POOL).expect("the first manifest again");
    for &(manifest, old, new, expected) in REFUSALS {
        let changed = with_long_names(&manifest.replace(old, new), false);
        assert_ne!(changed, manifest, "{old} is in the manifest");
        let refusal = apply(&belay, &changed).expect_err(&changed);
        assert!(refusal.contains(expected), "{changed}:\n{refusal}");
    }
}

pub async fn kubectl_explain_describes_the_fields_of_spec_and_status(world: Arc<World>) {
    for kind in ["managedcluster", "agentpool", "operation"] {
        let text = world.kubectl(&["explain", kind, "--recursive"]);
        assert!(text.contains("spec"), "{text}");
        for field in ["spec", "status"] {
            let text = world.kubectl(&["explain", &format!("{kind}.{field}")]);
            assert!(
                !text.contains("<no description>"),
                "{kind}.{field}:\n{text}"
            );
        }
    }
    let belay = Belay::start_without_operator(&world).await;
    belay.kubectl(&["get", "belay"]);
    belay.kubectl(&["get", "mc,ap,op"]);
}
