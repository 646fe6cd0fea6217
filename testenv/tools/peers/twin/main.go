// The twin of Belay's abort: the same two writes, by a controller of controller-runtime that does nothing else.
package main

import (
	"context"
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"belay.dev/testenv/peers/api"
)

func main() {
	namespace := flag.String("namespace", "default", "The namespace whose Operations are watched.")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	if err := run(ctrl.SetupSignalHandler(), *namespace); err != nil {
		ctrl.Log.Error(err, "failed")
		os.Exit(1)
	}
}

func run(ctx context.Context, namespace string) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	// The server limits who asks too much; a limit here would be measured instead of it.
	config.QPS = -1
	scheme := runtime.NewScheme()
	utilruntime.Must(api.AddToScheme(scheme))
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}},
		Metrics: metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(manager).
		For(&api.Operation{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 8}).
		Complete(&aborter{manager.GetClient()})
	if err != nil {
		return err
	}
	return manager.Start(ctx)
}

type aborter struct {
	client.Client
}

// Reconcile cancels an operation that is asked to abort.
func (a *aborter) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var operation api.Operation
	if err := a.Get(ctx, request.NamespacedName, &operation); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	_, asked := operation.Annotations[api.AbortAnnotation]
	if !asked || operation.Status.Phase == api.PhaseCanceled {
		return ctrl.Result{}, nil
	}
	if err := a.write(ctx, &operation, api.PhaseCanceling); err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, a.write(ctx, &operation, api.PhaseCanceled)
}

func (a *aborter) write(ctx context.Context, operation *api.Operation, phase api.Phase) error {
	before := operation.DeepCopy()
	operation.Status.Phase = phase
	// It may have been deleted meanwhile.
	return client.IgnoreNotFound(a.Status().Patch(ctx, operation, client.MergeFrom(before)))
}
