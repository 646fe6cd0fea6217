package gitops

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func TestKstatusReportsEveryPhase(t *testing.T) {
	table := map[string]Expected{
		"new":                   {"InProgress", "InProgress", "InProgress"},
		"creating":              {"InProgress", "InProgress", "InProgress"},
		"at rest":               {"Current", "Current", ""},
		"changed, not yet seen": {"InProgress", "Current", ""},
		"waiting for the lock":  {"InProgress", "Current", "InProgress"},
		"pending":               {"InProgress", "InProgress", "InProgress"},
		"in progress":           {"InProgress", "InProgress", "InProgress"},
		"blocked":               {"InProgress", "InProgress", "InProgress"},
		"canceling":             {"InProgress", "InProgress", "InProgress"},
		"canceled":              {"Failed", "Failed", "Failed"},
		"failed":                {"Failed", "Failed", "Failed"},
		"succeeded":             {"Current", "Current", "Current"},
		"waiting for a window":  {"Current", "Current", "InProgress"},
		"paused by its window":  {"Current", "Current", "Failed"},
		"deleting":              {"Terminating", "Terminating", "InProgress"},
	}
	each(t, table, func(t *testing.T, object *unstructured.Unstructured) string {
		result, err := status.Compute(object)
		if err != nil {
			t.Fatal(err)
		}
		return result.Status.String()
	})
}
