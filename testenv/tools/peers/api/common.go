package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Phase says how far an operation is.
type Phase string

const (
	PhasePending    Phase = "Pending"
	PhaseInProgress Phase = "InProgress"
	PhaseCanceling  Phase = "Canceling"
	PhaseSucceeded  Phase = "Succeeded"
	PhaseFailed     Phase = "Failed"
	PhaseCanceled   Phase = "Canceled"
)

// OperationType says what an operation does, such as Upgrade.
type OperationType string

// ConcurrencyPolicy says what a new change meets while an operation is in flight: Forbid, Queue or Replace.
type ConcurrencyPolicy string

// ProvisioningState says what is being done to a cluster or a pool, or how the last operation on it ended.
type ProvisioningState string

// PowerCode is Running or Stopped.
type PowerCode string

// PoolMode is System or User.
type PoolMode string

// Aspect is what an operation can leave undone, such as Version.
type Aspect string

// DeletionPolicy says what becomes of the objects of an engine when those of Belay are deleted: Retain or Delete.
type DeletionPolicy string

// PowerState is the power state that was reached.
type PowerState struct {
	Code PowerCode `json:"code"`
}

// Target is what an operation is on.
type Target struct {
	// Kind is ManagedCluster or AgentPool.
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// OperationRef names an Operation. A name can be used again, a uid can't.
type OperationRef struct {
	Name string    `json:"name"`
	UID  types.UID `json:"uid,omitempty"`
}

// AskedFor is what a spec asked for at some time.
type AskedFor struct {
	Count             *int32     `json:"count,omitempty"`
	KubernetesVersion *string    `json:"kubernetesVersion,omitempty"`
	Options           *string    `json:"options,omitempty"`
	PowerState        *PowerCode `json:"powerState,omitempty"`
	Settings          *string    `json:"settings,omitempty"`
}

// Hold is what a canceled or failed operation left undone, and Belay leaves alone.
type Hold struct {
	AskedFor       AskedFor     `json:"askedFor,omitzero"`
	Aspects        []Aspect     `json:"aspects"`
	EndedOtherwise []Aspect     `json:"endedOtherwise,omitempty"`
	Message        string       `json:"message,omitempty"`
	Operation      OperationRef `json:"operation"`
	Phase          Phase        `json:"phase"`
	Since          *metav1.Time `json:"since,omitempty"`
	Target         Target       `json:"target"`
}

// LastOperation is the operation that ended last. It outlives the Operation.
type LastOperation struct {
	EndTime          *metav1.Time  `json:"endTime,omitempty"`
	Message          string        `json:"message,omitempty"`
	Name             string        `json:"name"`
	Phase            Phase         `json:"phase"`
	StartTime        *metav1.Time  `json:"startTime,omitempty"`
	Target           Target        `json:"target"`
	TargetGeneration int64         `json:"targetGeneration,omitempty"`
	Type             OperationType `json:"type"`
	UID              types.UID     `json:"uid,omitempty"`
}
