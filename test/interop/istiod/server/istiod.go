package main

import (
	"reflect"
	"time"
	"unsafe"

	"istio.io/istio/pilot/pkg/bootstrap"
	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/kube"
)

// Istio's own bootstrap: certificate authority, authenticators, discovery. In place of an API server
// it gets the client that Istio's own tests use. Tokens are checked by JWT_RULE, as outside Kubernetes.
// `address` is what is port 15012 elsewhere.
func istiod(address, configDir, meshConfig string, stop chan struct{}) error {
	args := bootstrap.NewPilotArgs(func(p *bootstrap.PilotArgs) {
		p.Namespace = "istio-system"
		p.ServerOptions = bootstrap.DiscoveryServerOptions{
			HTTPAddr:       "127.0.0.1:0",
			MonitoringAddr: "127.0.0.1:0",
			GRPCAddr:       "127.0.0.1:0",
			HTTPSAddr:      "127.0.0.1:0",
			SecureGRPCAddr: address,
			TLSOptions:     bootstrap.TLSOptions{TLSMinVersion: "1.2"},
		}
		p.RegistryOptions.KubeOptions.DomainSuffix = "cluster.local"
		p.RegistryOptions.KubeOptions.ClusterID = cluster.ID("Kubernetes")
		p.RegistryOptions.FileDir = configDir
		p.MeshConfigFile = meshConfig
		p.ShutdownDuration = time.Second
	})
	if err := args.Complete(); err != nil {
		return err
	}
	server, err := bootstrap.NewServer(args, func(s *bootstrap.Server) { setKubeClient(s, kube.NewFakeClient()) })
	if err != nil {
		return err
	}
	return server.Start(stop)
}

// The field is not exported; istiod takes what is in it for its connection to the API server.
func setKubeClient(server *bootstrap.Server, client kube.Client) {
	field := reflect.ValueOf(server).Elem().FieldByName("kubeClient")
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(client))
}
