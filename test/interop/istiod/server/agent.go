package main

import (
	"time"

	"istio.io/istio/pkg/security"
	"istio.io/istio/security/pkg/credentialfetcher/plugin"
	"istio.io/istio/security/pkg/nodeagent/cache"
	"istio.io/istio/security/pkg/nodeagent/caclient/providers/citadel"
	"istio.io/istio/security/pkg/nodeagent/sds"
)

// Serves SDS at ./var/run/secrets/workload-spiffe-uds/socket, below the working directory.
func agent(address, rootFile, tokenFile string) error {
	options := &security.Options{
		CAEndpoint:                     address,
		CAEndpointSAN:                  "istiod.istio-system.svc",
		ClusterID:                      "Kubernetes",
		TrustDomain:                    "cluster.local",
		WorkloadNamespace:              "shop",
		ServiceAccount:                 "cart",
		WorkloadRSAKeySize:             2048,
		SecretTTL:                      24 * time.Hour,
		SecretRotationGracePeriodRatio: 0.5,
		CredFetcher:                    plugin.CreateTokenPlugin(tokenFile),
	}
	ca, err := citadel.NewCitadelClient(options, &citadel.TLSOptions{RootCert: rootFile})
	if err != nil {
		return err
	}
	secrets, err := cache.NewSecretManagerClient(ca, options)
	if err != nil {
		return err
	}
	server := sds.NewServer(options, secrets, nil)
	secrets.RegisterSecretHandler(server.OnSecretUpdate)
	return nil
}
