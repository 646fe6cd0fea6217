package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AbortAnnotation asks for an operation's abort. Its value is the reason.
const AbortAnnotation = "belay.dev/abort"

// Operation is one change to a cluster or a pool.
//
// +kubebuilder:object:root=true
type Operation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   OperationSpec   `json:"spec"`
	Status OperationStatus `json:"status,omitzero"`
}

// OperationList is a list of operations.
//
// +kubebuilder:object:root=true
type OperationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Operation `json:"items"`
}

// OperationSpec is what is to be done.
type OperationSpec struct {
	Count             *int32        `json:"count,omitempty"`
	KubernetesVersion *string       `json:"kubernetesVersion,omitempty"`
	Target            Target        `json:"target"`
	Type              OperationType `json:"type"`
}

// OperationStatus is how far an operation is, what is in its way, and how it ended.
type OperationStatus struct {
	Arrival            *int64             `json:"arrival,omitempty"`
	AskedBefore        *AskedFor          `json:"askedBefore,omitempty"`
	Blocked            *Blocked           `json:"blocked,omitempty"`
	Cancellation       *Cancellation      `json:"cancellation,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	EndTime            *metav1.Time       `json:"endTime,omitempty"`
	Error              *OperationError    `json:"error,omitempty"`
	ObservedAbort      *string            `json:"observedAbort,omitempty"`
	ObservedGeneration *int64             `json:"observedGeneration,omitempty"`
	PercentComplete    int32              `json:"percentComplete,omitempty"`
	Phase              Phase              `json:"phase,omitempty"`
	// Plan is JSON.
	Plan             *string      `json:"plan,omitempty"`
	StartTime        *metav1.Time `json:"startTime,omitempty"`
	Steps            []Step       `json:"steps,omitempty"`
	TargetGeneration *int64       `json:"targetGeneration,omitempty"`
}

// Blocked is what stands in an operation's way now.
type Blocked struct {
	Message string       `json:"message"`
	Reason  string       `json:"reason"`
	Since   *metav1.Time `json:"since,omitempty"`
}

// Cancellation is what became of the request to abort an operation.
type Cancellation struct {
	AcceptedAt  *metav1.Time  `json:"acceptedAt,omitempty"`
	LeftBehind  []ErrorDetail `json:"leftBehind,omitempty"`
	Policy      string        `json:"policy,omitempty"`
	Reason      string        `json:"reason,omitempty"`
	ReplacedBy  *OperationRef `json:"replacedBy,omitempty"`
	RequestedAt *metav1.Time  `json:"requestedAt,omitempty"`
	RequestedBy string        `json:"requestedBy,omitempty"`
	Status      string        `json:"status"`
}

// OperationError is why an operation failed.
type OperationError struct {
	Code    string        `json:"code"`
	Details []ErrorDetail `json:"details,omitempty"`
	Message string        `json:"message"`
	Subcode string        `json:"subcode,omitempty"`
}

// ErrorDetail is one of several errors.
type ErrorDetail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Target  string `json:"target,omitempty"`
}

// Step is one step of an operation.
type Step struct {
	Action          string       `json:"action"`
	EndTime         *metav1.Time `json:"endTime,omitempty"`
	Handle          *string      `json:"handle,omitempty"`
	Message         string       `json:"message,omitempty"`
	Name            string       `json:"name"`
	Nodes           *int32       `json:"nodes,omitempty"`
	NodesDone       *int32       `json:"nodesDone,omitempty"`
	PercentComplete *int32       `json:"percentComplete,omitempty"`
	// Phase has a value that an operation's hasn't: Skipped.
	Phase     string       `json:"phase"`
	StartTime *metav1.Time `json:"startTime,omitempty"`
}
