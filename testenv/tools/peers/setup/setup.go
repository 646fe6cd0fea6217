// Package setup has what every peer begins with: its flags, its log, and how it reaches the API server.
package setup

import (
	"context"
	"flag"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"belay.dev/testenv/peers/api"
)

// Run runs a peer until it fails or is told to stop.
func Run(peer func(ctx context.Context, config *rest.Config, options cache.Options) error) {
	namespace := flag.String("namespace", "default", "The namespace whose objects are watched.")
	flag.Parse()
	ctrl.SetLogger(zap.New())
	config, err := ctrl.GetConfig()
	if err == nil {
		// The server limits who asks too much; a limit here would be measured instead of it.
		config.QPS = -1
		scheme := runtime.NewScheme()
		utilruntime.Must(api.AddToScheme(scheme))
		err = peer(ctrl.SetupSignalHandler(), config, cache.Options{
			Scheme:            scheme,
			DefaultNamespaces: map[string]cache.Config{*namespace: {}},
		})
	}
	if err != nil {
		ctrl.Log.Error(err, "failed")
		os.Exit(1)
	}
}
