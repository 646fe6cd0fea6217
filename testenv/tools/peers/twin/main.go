// The twin of Belay's abort: the same two writes, by a controller of controller-runtime that does nothing else.
package main

import (
	"context"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"belay.dev/testenv/peers/api"
	"belay.dev/testenv/peers/setup"
)

func main() {
	setup.Run(run)
}

func run(ctx context.Context, config *rest.Config, options cache.Options) error {
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  options.Scheme,
		Cache:   options,
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
