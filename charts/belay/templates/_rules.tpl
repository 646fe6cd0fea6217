{{/* What the operator may do in the namespaces of clusters. A test compares it with what it does. */}}
{{- define "belay.namespacedRules" -}}
# Clusters, pools and operations are watched. A person's operation is written into the spec of its target,
# and finalizers, owners and labels are metadata: both are patches.
- apiGroups: [belay.dev]
  resources: [managedclusters, agentpools, operations]
  verbs: [list, watch, patch]
# Before an operation without a cluster is let go of, its target is looked for where no cache can be old.
- apiGroups: [belay.dev]
  resources: [managedclusters, agentpools]
  verbs: [get]
# An operation closes the difference between a spec and what is there; old ones go from the history.
- apiGroups: [belay.dev]
  resources: [operations]
  verbs: [create, delete]
# A pool goes with its cluster, and where someone's operation says Delete, its target goes.
- apiGroups: [belay.dev]
  resources: [managedclusters, agentpools]
  verbs: [delete]
# The status shows what there is, and how far an operation is.
- apiGroups: [belay.dev]
  resources: [managedclusters/status, agentpools/status, operations/status]
  verbs: [patch]
# Owner references that hold back the owner's deletion need it, where admission enforces that (OpenShift does).
- apiGroups: [belay.dev]
  resources: [managedclusters/finalizers]
  verbs: [update]
# No request needs this verb. The admission policies recognise the operator by it, also those of another release.
- apiGroups: [belay.dev]
  resources: [managedclusters]
  verbs: [operate]
# What the provider kwok keeps of a control plane.
- apiGroups: [belay.dev]
  resources: [kwokcontrolplanes]
  verbs: [get, list, watch, create, patch, delete]
# Events report what happens to an operation; one that happens again is counted up.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if (.Values.clusterAPI).enabled }}
# The provider clusterAPI changes fields of Clusters and of what belongs to them. It makes only Clusters that spec.provider.clusterAPI.create describes, and deletes only those, or by deletionPolicy Delete.
- apiGroups: [cluster.x-k8s.io]
  resources: [clusters, machinedeployments]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [cluster.x-k8s.io]
  resources: [clusters]
  verbs: [create]
- apiGroups: [cluster.x-k8s.io]
  resources: [machinesets, machines]
  verbs: [list, watch]
- apiGroups: [controlplane.cluster.x-k8s.io]
  resources: [kubeadmcontrolplanes]
  verbs: [get, list, watch, patch]
{{- end }}
{{- with concat (default list (.Values.aws).credentialsSecrets) (default list (.Values.azure).credentialsSecrets) }}
# Who the operator is at a cloud, where that isn't its own identity.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ uniq . | toJson }}
  verbs: [get]
{{- end }}
{{- end }}

{{/* What the operator may do that no namespace holds, or that is in the namespaces of workloads. */}}
{{- define "belay.clusterRules" -}}
# Nodes of the provider kwok are made, cordoned, changed and taken away. The policy belay-nodes keeps the operator
# to nodes that carry Belay's labels, and recognises it by the second rule.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [belay.dev]
  resources: [nodes]
  verbs: [operate]
# A node's drain looks at the pods on it.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Pods leave by the Eviction API, which honours PodDisruptionBudgets.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# A node goes once the volumes of its pods are detached. A claim says which volume a pod that stays uses.
- apiGroups: [storage.k8s.io]
  resources: [volumeattachments]
  verbs: [list]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# That a PodDisruptionBudget lets go is seen at once.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch]
{{- end }}
