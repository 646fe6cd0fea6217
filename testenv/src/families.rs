//! All binaries, and the go.mod that builds each of them.

/// Binaries that one go.mod builds.
pub struct Family {
    pub name: &'static str,
    /// The module that determines the version of the binaries.
    pub module: &'static str,
    /// Each binary's name and package.
    pub packages: &'static [(&'static str, &'static str)],
    /// Build tags.
    pub tags: &'static str,
    /// Whether they are linked with C libraries.
    pub cgo: bool,
}

/// All families.
pub const FAMILIES: &[Family] = &[
    KUBERNETES,
    ETCD,
    KWOK,
    HELM,
    CONTAINERD,
    RUNC,
    PROMETHEUS,
    KUBE_SCORE,
    FLUX,
    CLUSTER_API,
    PEERS,
    ARGO_ROLLOUTS,
    ARGO_CD,
    ACTIONLINT,
];

pub const KUBERNETES: Family = Family {
    name: "kubernetes",
    module: "k8s.io/kubernetes",
    packages: &[
        ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
        (
            "kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
        ),
        ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
        ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
        ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    ],
    tags: "",
    cgo: false,
};

pub const ETCD: Family = Family {
    name: "etcd",
    module: "go.etcd.io/etcd/server/v3",
    packages: &[("etcd", "go.etcd.io/etcd/server/v3")],
    tags: "",
    cgo: false,
};

pub const KWOK: Family = Family {
    name: "kwok",
    module: "sigs.k8s.io/kwok",
    packages: &[("kwok", "sigs.k8s.io/kwok/cmd/kwok")],
    tags: "",
    cgo: false,
};

pub const HELM: Family = Family {
    name: "helm",
    module: "helm.sh/helm/v4",
    packages: &[("helm", "helm.sh/helm/v4/cmd/helm")],
    tags: "",
    cgo: false,
};

pub const CONTAINERD: Family = Family {
    name: "containerd",
    module: "github.com/containerd/containerd/v2",
    packages: &[
        (
            "containerd",
            "github.com/containerd/containerd/v2/cmd/containerd",
        ),
        (
            "containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        ),
        ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        (
            "bridge",
            "github.com/containernetworking/plugins/plugins/main/bridge",
        ),
        (
            "loopback",
            "github.com/containernetworking/plugins/plugins/main/loopback",
        ),
        (
            "host-local",
            "github.com/containernetworking/plugins/plugins/ipam/host-local",
        ),
    ],
    tags: "no_btrfs no_zfs no_devmapper",
    cgo: false,
};

pub const RUNC: Family = Family {
    name: "runc",
    module: "github.com/opencontainers/runc",
    packages: &[("runc", "github.com/opencontainers/runc")],
    // Pods with the profile RuntimeDefault need it.
    tags: "seccomp",
    cgo: true,
};

/// Prometheus with only Kubernetes service discovery: the others would take a quarter of an hour to build.
pub const PROMETHEUS: Family = Family {
    name: "prometheus",
    module: "github.com/prometheus/prometheus",
    packages: &[
        (
            "prometheus",
            "github.com/prometheus/prometheus/cmd/prometheus",
        ),
        ("promtool", "github.com/prometheus/prometheus/cmd/promtool"),
    ],
    tags: "remove_all_sd,enable_kubernetes_sd",
    cgo: false,
};

/// Checks the chart's manifests.
pub const KUBE_SCORE: Family = Family {
    name: "kube-score",
    module: "github.com/zegl/kube-score",
    packages: &[("kube-score", "github.com/zegl/kube-score/cmd/kube-score")],
    tags: "",
    cgo: false,
};

pub const FLUX: Family = Family {
    name: "flux",
    module: "github.com/fluxcd/kustomize-controller",
    packages: &[
        ("source-controller", "github.com/fluxcd/source-controller"),
        (
            "kustomize-controller",
            "github.com/fluxcd/kustomize-controller",
        ),
    ],
    tags: "",
    cgo: false,
};

/// Cluster API's core, its kubeadm providers, and its development provider, whose machines are in memory.
pub const CLUSTER_API: Family = Family {
    name: "cluster-api",
    module: "sigs.k8s.io/cluster-api",
    packages: &[
        ("cluster-api-core", "sigs.k8s.io/cluster-api/core"),
        (
            "cluster-api-bootstrap",
            "sigs.k8s.io/cluster-api/bootstrap/kubeadm",
        ),
        (
            "cluster-api-control-plane",
            "sigs.k8s.io/cluster-api/controlplane/kubeadm",
        ),
        (
            "cluster-api-dev",
            "sigs.k8s.io/cluster-api/test/infrastructure/docker",
        ),
    ],
    tags: "",
    cgo: false,
};

/// Programs that the benchmarks compare Belay with, written with controller-runtime. Their sources are in the same
/// folder.
pub const PEERS: Family = Family {
    name: "peers",
    module: "sigs.k8s.io/controller-runtime",
    packages: &[
        ("twin", "belay.dev/testenv/peers/twin"),
        ("cache", "belay.dev/testenv/peers/cache"),
    ],
    tags: "",
    cgo: false,
};

pub const ARGO_ROLLOUTS: Family = Family {
    name: "argo-rollouts",
    module: "github.com/argoproj/argo-rollouts",
    packages: &[(
        "rollouts-controller",
        "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
    )],
    tags: "",
    cgo: false,
};

/// Argo CD's controllers as one program, whose source is in the same folder. Argo CD's own program has its user
/// interface too.
pub const ARGO_CD: Family = Family {
    name: "argo-cd",
    module: "github.com/argoproj/argo-cd/v3",
    packages: &[("argocd", "belay.dev/testenv/argo-cd")],
    tags: "",
    cgo: false,
};

/// Checks the workflows of `.github/`.
pub const ACTIONLINT: Family = Family {
    name: "actionlint",
    module: "github.com/rhysd/actionlint",
    packages: &[("actionlint", "github.com/rhysd/actionlint/cmd/actionlint")],
    tags: "",
    cgo: false,
};
