package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// AgentPool is a pool of equal nodes in a cluster.
//
// +kubebuilder:object:root=true
type AgentPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AgentPoolSpec    `json:"spec"`
	Status *AgentPoolStatus `json:"status,omitempty"`
}

// AgentPoolList is a list of pools.
//
// +kubebuilder:object:root=true
type AgentPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AgentPool `json:"items"`
}

// AgentPoolSpec is what a pool is to be.
type AgentPoolSpec struct {
	ClusterName       string            `json:"clusterName"`
	Count             int32             `json:"count"`
	KubernetesVersion *string           `json:"kubernetesVersion,omitempty"`
	Mode              PoolMode          `json:"mode,omitempty"`
	NodeLabels        map[string]string `json:"nodeLabels,omitempty"`
	NodeTaints        []Taint           `json:"nodeTaints,omitempty"`
	PowerState        PowerCode         `json:"powerState,omitempty"`
	ScaleSetPriority  string            `json:"scaleSetPriority,omitempty"`
	UpgradeSettings   *UpgradeSettings  `json:"upgradeSettings,omitempty"`
	VMSize            *string           `json:"vmSize,omitempty"`
}

// Taint is a taint of a node.
type Taint struct {
	Effect string `json:"effect"`
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
}

// UpgradeSettings says how nodes are replaced.
type UpgradeSettings struct {
	DrainTimeout   *metav1.Duration    `json:"drainTimeout,omitempty"`
	MaxSurge       *intstr.IntOrString `json:"maxSurge,omitempty"`
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// AgentPoolStatus is what Belay reports about a pool.
type AgentPoolStatus struct {
	Cluster            *ClusterSummary    `json:"cluster,omitempty"`
	ClusterHold        *Hold              `json:"clusterHold,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	Count              int32              `json:"count,omitempty"`
	Hold               *Hold              `json:"hold,omitempty"`
	LastOperation      *LastOperation     `json:"lastOperation,omitempty"`
	ObservedAbort      *string            `json:"observedAbort,omitempty"`
	ObservedGeneration *int64             `json:"observedGeneration,omitempty"`
	Operation          *PoolOperation     `json:"operation,omitempty"`
	PowerState         *PowerState        `json:"powerState,omitempty"`
	ProvisioningState  *ProvisioningState `json:"provisioningState,omitempty"`
	ReadyCount         int32              `json:"readyCount,omitempty"`
	ScaleRefusal       *string            `json:"scaleRefusal,omitempty"`
	Selector           *string            `json:"selector,omitempty"`
	VersionSummary     *string            `json:"versionSummary,omitempty"`
	Versions           []VersionCount     `json:"versions,omitempty"`
}

// ClusterSummary is what a pool's status shows of its cluster.
type ClusterSummary struct {
	ConcurrencyPolicy ConcurrencyPolicy  `json:"concurrencyPolicy"`
	DeletionTimestamp *metav1.Time       `json:"deletionTimestamp,omitempty"`
	KubernetesVersion *string            `json:"kubernetesVersion,omitempty"`
	Operation         *string            `json:"operation,omitempty"`
	PowerState        *PowerState        `json:"powerState,omitempty"`
	ProvisioningState *ProvisioningState `json:"provisioningState,omitempty"`
	SystemPools       int32              `json:"systemPools,omitempty"`
}

// PoolOperation is an operation in flight on a pool, or on its cluster with the pool in it.
type PoolOperation struct {
	Name            string        `json:"name"`
	PercentComplete int32         `json:"percentComplete"`
	Phase           Phase         `json:"phase"`
	StartTime       *metav1.Time  `json:"startTime,omitempty"`
	Type            OperationType `json:"type"`
}

// VersionCount is how many nodes run a version.
type VersionCount struct {
	Count             int32  `json:"count"`
	KubernetesVersion string `json:"kubernetesVersion"`
}
