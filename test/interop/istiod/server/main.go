// Istio's own programs in small: `istiod` is its control plane in a process without a cluster, `agent`
// the part of istio-agent that asks istiod for a certificate and serves it by SDS.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	stop := make(chan struct{})
	switch {
	case len(os.Args) == 5 && os.Args[1] == "istiod":
		fail(istiod(os.Args[2], os.Args[3], os.Args[4], stop))
	case len(os.Args) == 5 && os.Args[1] == "agent":
		fail(agent(os.Args[2], os.Args[3], os.Args[4]))
	default:
		fail(fmt.Errorf("usage: istiod ADDRESS CONFIG_DIR MESH_CONFIG | agent ADDRESS ROOT_FILE TOKEN_FILE"))
	}
	fmt.Println("ready")
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
	close(stop)
}
