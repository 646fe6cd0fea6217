package gitops

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo/diff"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// ignored returns the differences that an Application ignores according to docs/cluster-api.md.
func ignored(t *testing.T) []v1alpha1.ResourceIgnoreDifferences {
	t.Helper()
	page, err := os.ReadFile("../../docs/cluster-api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "  ignoreDifferences:\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("docs/cluster-api.md has no ignoreDifferences")
	}
	var settings []v1alpha1.ResourceIgnoreDifferences
	if err := yaml.UnmarshalStrict([]byte(text), &settings); err != nil {
		t.Fatal(err)
	}
	return settings
}

// inGit returns an object as it is in Git.
func inGit(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	var object unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	return &object
}

// applied returns an object that Argo CD has applied and that others have changed since then.
func applied(t *testing.T, git *unstructured.Unstructured, change func(spec map[string]any)) *unstructured.Unstructured {
	t.Helper()
	last, err := json.Marshal(git)
	if err != nil {
		t.Fatal(err)
	}
	live := git.DeepCopy()
	live.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(last)})
	change(live.Object["spec"].(map[string]any))
	return live
}

func isOutOfSync(t *testing.T, git, live *unstructured.Unstructured, settings []v1alpha1.ResourceIgnoreDifferences) bool {
	t.Helper()
	config, err := diff.NewDiffConfigBuilder().
		WithDiffSettings(settings, nil, false, normalizers.IgnoreNormalizerOpts{}).
		WithTracking("app.kubernetes.io/instance", "label").
		WithNoCache().
		Build()
	if err != nil {
		t.Fatal(err)
	}
	found, err := diff.StateDiff(live, git, config)
	if err != nil {
		t.Fatal(err)
	}
	return found.Modified
}

func TestArgoCDIgnoresBelaysWritesToClusterAPI(t *testing.T) {
	cluster, err := os.ReadFile("../../examples/cluster-api/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const deployment = `
apiVersion: cluster.x-k8s.io/v1beta2
kind: MachineDeployment
metadata: {name: workers}
spec:
  clusterName: demo
  replicas: 3
  template: {spec: {clusterName: demo, version: v1.35.0}}
`
	topology := func(spec map[string]any) map[string]any { return spec["topology"].(map[string]any) }
	pool := func(spec map[string]any) map[string]any {
		workers := topology(spec)["workers"].(map[string]any)
		return workers["machineDeployments"].([]any)[0].(map[string]any)
	}
	onDelete := map[string]any{"strategy": map[string]any{"type": "OnDelete"}}
	const isIgnored, inGitToo = true, true
	for name, change := range map[string]struct {
		git       string
		change    func(spec map[string]any)
		isIgnored bool
		// Without the settings, Argo CD shows only differences of fields that are in Git.
		isInGit bool
	}{
		"a version":          {string(cluster), func(spec map[string]any) { topology(spec)["version"] = "v1.36.0" }, isIgnored, inGitToo},
		"a pool's replicas":  {string(cluster), func(spec map[string]any) { pool(spec)["replicas"] = int64(5) }, isIgnored, inGitToo},
		"a pool's strategy":  {string(cluster), func(spec map[string]any) { pool(spec)["rollout"] = onDelete }, isIgnored, !inGitToo},
		"the class":          {string(cluster), func(spec map[string]any) { topology(spec)["classRef"] = map[string]any{"name": "other"} }, !isIgnored, inGitToo},
		"replicas by itself": {deployment, func(spec map[string]any) { spec["replicas"] = int64(5) }, isIgnored, inGitToo},
		"the cluster's name": {deployment, func(spec map[string]any) { spec["clusterName"] = "other" }, !isIgnored, inGitToo},
		"a version by itself": {deployment, func(spec map[string]any) {
			spec["template"].(map[string]any)["spec"].(map[string]any)["version"] = "v1.36.0"
		}, isIgnored, inGitToo},
	} {
		t.Run(name, func(t *testing.T) {
			git := inGit(t, change.git)
			live := applied(t, git, change.change)
			if isOutOfSync(t, git, live, ignored(t)) == change.isIgnored {
				t.Errorf("ignored: %v", !change.isIgnored)
			}
			if change.isInGit && !isOutOfSync(t, git, live, nil) {
				t.Error("the difference doesn't show even without the settings")
			}
		})
	}
}
