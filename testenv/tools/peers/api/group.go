// Package api has Belay's kinds as Go types, with the JSON fields of crds/.
//
// +kubebuilder:object:generate=true
// +groupName=belay.dev
package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is that of all kinds.
var GroupVersion = schema.GroupVersion{Group: "belay.dev", Version: "v1alpha1"}

var schemeBuilder = runtime.NewSchemeBuilder(addKinds)

// AddToScheme adds all kinds to a scheme.
var AddToScheme = schemeBuilder.AddToScheme

func addKinds(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&ManagedCluster{}, &ManagedClusterList{},
		&AgentPool{}, &AgentPoolList{},
		&Operation{}, &OperationList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
