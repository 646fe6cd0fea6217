// A cache of Belay's kinds as controller-runtime keeps it: how soon it is filled, and what memory it takes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"belay.dev/testenv/peers/api"
	"belay.dev/testenv/peers/cache/began"
)

func main() {
	namespace := flag.String("namespace", "default", "The namespace whose objects are kept.")
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
	objects, err := cache.New(config, cache.Options{
		Scheme:            scheme,
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
	})
	if err != nil {
		return err
	}
	var count atomic.Int64
	counter := toolscache.ResourceEventHandlerFuncs{AddFunc: func(any) { count.Add(1) }}
	var synced []toolscache.DoneChecker
	// Before the cache's start, none of this waits: the kinds are listed side by side.
	for _, kind := range []client.Object{&api.ManagedCluster{}, &api.AgentPool{}, &api.Operation{}} {
		informer, err := objects.GetInformer(ctx, kind)
		if err != nil {
			return err
		}
		// As a controller has one.
		handler, err := informer.AddEventHandler(counter)
		if err != nil {
			return err
		}
		synced = append(synced, handler.HasSyncedChecker())
	}
	ended := make(chan error, 1)
	go func() { ended <- objects.Start(ctx) }()
	// WaitForCacheSync looks once in 100 ms only.
	if !toolscache.WaitFor(ctx, "", synced...) {
		return errors.New("the cache didn't sync")
	}
	fmt.Printf("synced %d %d\n", time.Since(began.At).Milliseconds(), count.Load())
	return <-ended
}
