{{/* What the operator may do in the namespaces of clusters. A test compares it with what it does. */}}
{{- define "belay.namespacedRules" -}}
# Clusters, pools and operations are watched. A person's operation is written into the spec of its target,
# and finalizers, owners and labels are metadata: both are patches.
- apiGroups: [belay.dev]
  resources: [managedclusters, agentpools, operations]
  verbs: [list, watch, patch]
# Before Belay releases an operation without a cluster, it looks for the target on the API server, because a cache may be old.
- apiGroups: [belay.dev]
  resources: [managedclusters, agentpools]
  verbs: [get]
# Belay creates an operation if a spec differs from the actual state, and deletes old operations from the history.
- apiGroups: [belay.dev]
  resources: [operations]
  verbs: [create, delete]
# A pool is deleted with its cluster. An operation of type Delete deletes its target.
- apiGroups: [belay.dev]
  resources: [managedclusters, agentpools]
  verbs: [delete]
# The status shows the actual state, and the progress of an operation.
- apiGroups: [belay.dev]
  resources: [managedclusters/status, agentpools/status, operations/status]
  verbs: [patch]
# Owner references that block the owner's deletion need it, if admission enforces that (as in OpenShift).
- apiGroups: [belay.dev]
  resources: [managedclusters/finalizers]
  verbs: [update]
# No request needs this verb. The admission policies recognise the operator by it, also those of another release.
- apiGroups: [belay.dev]
  resources: [managedclusters]
  verbs: [operate]
# The provider kwok stores the state of a control plane here.
- apiGroups: [belay.dev]
  resources: [kwokcontrolplanes]
  verbs: [get, list, watch, create, patch, delete]
# Events report what happens to an operation. A repeated Event is patched.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if (.Values.clusterAPI).enabled }}
# The provider clusterAPI changes fields of Clusters and of the objects that belong to them. It creates only Clusters that spec.provider.clusterAPI.create describes, and deletes only those, or by deletionPolicy Delete.
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
# The operator's credentials at a cloud, if it doesn't use its own identity.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ uniq . | toJson }}
  verbs: [get]
{{- end }}
{{- end }}

{{/* What the operator may do with objects without a namespace, or in the namespaces of workloads. */}}
{{- define "belay.clusterRules" -}}
# Nodes of the provider kwok are created, cordoned, changed and deleted. The policy belay-nodes allows the operator only
# nodes with Belay's labels. It recognises the operator by the second rule.
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
# Pods are evicted through the Eviction API, which honours PodDisruptionBudgets.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# A person can force an operation: then pods that a budget protects are deleted. Belay deletes no other pods.
- apiGroups: [""]
  resources: [pods]
  verbs: [delete]
# A node is deleted once the volumes of its pods are detached. A claim shows which volume a pod that stays uses.
- apiGroups: [storage.k8s.io]
  resources: [volumeattachments]
  verbs: [list]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
# Belay sees at once when a PodDisruptionBudget allows an eviction.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch]
{{- end }}
