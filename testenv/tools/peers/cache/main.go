// A cache of Belay's kinds as controller-runtime keeps it: how soon it is filled, and what memory it takes.
package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"belay.dev/testenv/peers/api"
	"belay.dev/testenv/peers/cache/began"
	"belay.dev/testenv/peers/setup"
)

func main() {
	setup.Run(run)
}

func run(ctx context.Context, config *rest.Config, options cache.Options) error {
	objects, err := cache.New(config, options)
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
