package api

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ManagedCluster is a Kubernetes cluster whose changes are operations.
//
// +kubebuilder:object:root=true
type ManagedCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ManagedClusterSpec    `json:"spec"`
	Status *ManagedClusterStatus `json:"status,omitempty"`
}

// ManagedClusterList is a list of clusters.
//
// +kubebuilder:object:root=true
type ManagedClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ManagedCluster `json:"items"`
}

// ManagedClusterSpec is what a cluster is to be.
type ManagedClusterSpec struct {
	ConcurrencyPolicy     ConcurrencyPolicy `json:"concurrencyPolicy,omitempty"`
	KubernetesVersion     string            `json:"kubernetesVersion"`
	OperationHistoryLimit *int32            `json:"operationHistoryLimit,omitempty"`
	PowerState            PowerCode         `json:"powerState,omitempty"`
	Provider              Provider          `json:"provider"`
}

// Provider is what the nodes come from: exactly one member.
type Provider struct {
	AWS        *AWS        `json:"aws,omitempty"`
	Azure      *Azure      `json:"azure,omitempty"`
	ClusterAPI *ClusterAPI `json:"clusterAPI,omitempty"`
	Kwok       *Kwok       `json:"kwok,omitempty"`
}

// AWS is an EKS cluster.
type AWS struct {
	CredentialsSecret *string         `json:"credentialsSecret,omitempty"`
	DeletionPolicy    *DeletionPolicy `json:"deletionPolicy,omitempty"`
	KubeconfigSecret  *string         `json:"kubeconfigSecret,omitempty"`
	Name              string          `json:"name"`
	// Nodegroups are by the name of an AgentPool.
	Nodegroups map[string]CloudPool `json:"nodegroups,omitempty"`
	Region     string               `json:"region"`
}

// Azure is an AKS cluster.
type Azure struct {
	CredentialsSecret *string         `json:"credentialsSecret,omitempty"`
	DeletionPolicy    *DeletionPolicy `json:"deletionPolicy,omitempty"`
	KubeconfigSecret  *string         `json:"kubeconfigSecret,omitempty"`
	Name              string          `json:"name"`
	// NodePools are by the name of an AgentPool.
	NodePools      map[string]CloudPool `json:"nodePools,omitempty"`
	ResourceGroup  string               `json:"resourceGroup"`
	SubscriptionID string               `json:"subscriptionId"`
}

// CloudPool is the nodegroup or node pool of an AgentPool.
type CloudPool struct {
	DeletionPolicy *DeletionPolicy `json:"deletionPolicy,omitempty"`
	Name           *string         `json:"name,omitempty"`
}

// ClusterAPI is a Cluster of Cluster API.
type ClusterAPI struct {
	ClusterName    string            `json:"clusterName"`
	Create         *ClusterAPICreate `json:"create,omitempty"`
	DeletionPolicy *DeletionPolicy   `json:"deletionPolicy,omitempty"`
	// MachineDeployments and WorkerClasses are by the name of an AgentPool.
	MachineDeployments map[string]string `json:"machineDeployments,omitempty"`
	WorkerClasses      map[string]string `json:"workerClasses,omitempty"`
}

// ClusterAPICreate is how Belay makes the Cluster.
type ClusterAPICreate struct {
	ClassRef             ClassRef              `json:"classRef"`
	ClusterNetwork       *apiextensionsv1.JSON `json:"clusterNetwork,omitempty"`
	ControlPlaneReplicas *int32                `json:"controlPlaneReplicas,omitempty"`
	Variables            []Variable            `json:"variables,omitempty"`
	WorkerClass          *string               `json:"workerClass,omitempty"`
}

// ClassRef names a ClusterClass.
type ClassRef struct {
	Name      string  `json:"name"`
	Namespace *string `json:"namespace,omitempty"`
}

// Variable is a variable of a ClusterClass.
type Variable struct {
	Name  string               `json:"name"`
	Value apiextensionsv1.JSON `json:"value"`
}

// Kwok is Node objects kept alive by kwok.
type Kwok struct {
	MaxNodes                *int32           `json:"maxNodes,omitempty"`
	NodeProvisioningTime    *metav1.Duration `json:"nodeProvisioningTime,omitempty"`
	NodeProvisioningTimeout *metav1.Duration `json:"nodeProvisioningTimeout,omitempty"`
	// Taint has a default of true, so that absent and false differ.
	Taint *bool `json:"taint,omitempty"`
}

// ManagedClusterStatus is what Belay reports about a cluster.
type ManagedClusterStatus struct {
	AgentPools         []AgentPoolSummary  `json:"agentPools,omitempty"`
	Conditions         []metav1.Condition  `json:"conditions,omitempty"`
	Hold               *Hold               `json:"hold,omitempty"`
	KubernetesVersion  *string             `json:"kubernetesVersion,omitempty"`
	LastOperation      *LastOperation      `json:"lastOperation,omitempty"`
	ObservedAbort      *string             `json:"observedAbort,omitempty"`
	ObservedGeneration *int64              `json:"observedGeneration,omitempty"`
	Operations         []OperationInFlight `json:"operations,omitempty"`
	PowerState         *PowerState         `json:"powerState,omitempty"`
	ProvisioningState  *ProvisioningState  `json:"provisioningState,omitempty"`
}

// AgentPoolSummary is what a cluster's status shows of a pool.
type AgentPoolSummary struct {
	KubernetesVersion *string  `json:"kubernetesVersion,omitempty"`
	Mode              PoolMode `json:"mode"`
	Name              string   `json:"name"`
	OldestVersion     *string  `json:"oldestVersion,omitempty"`
}

// OperationInFlight is an operation in flight, as its cluster's lock holds it.
type OperationInFlight struct {
	Name             string        `json:"name"`
	PercentComplete  int32         `json:"percentComplete,omitempty"`
	Phase            Phase         `json:"phase"`
	StartTime        *metav1.Time  `json:"startTime,omitempty"`
	Target           Target        `json:"target"`
	TargetGeneration int64         `json:"targetGeneration,omitempty"`
	Type             OperationType `json:"type"`
	UID              types.UID     `json:"uid,omitempty"`
}
