// A control plane that says what a test wants: go-control-plane's own cache and server, snapshots by HTTP.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// One snapshot for everybody.
type oneNode struct{}

func (oneNode) ID(*corev3.Node) string { return "all" }

// What clients refused, and what they asked for.
type seen struct {
	sync.Mutex
	Nacks    []string `json:"nacks"`
	Acks     int      `json:"acks"`
	Node     string   `json:"node"`
	Features []string `json:"features"`
}

func (s *seen) note(node *corev3.Node, nonce string, failed bool, message string) {
	s.Lock()
	defer s.Unlock()
	if node.GetId() != "" {
		s.Node, s.Features = node.GetId(), node.GetClientFeatures()
	}
	if failed {
		s.Nacks = append(s.Nacks, message)
	} else if nonce != "" {
		s.Acks++
	}
}

type input struct {
	Version                                string
	Listeners, Routes, Clusters, Endpoints []json.RawMessage
}

func read(list []json.RawMessage, fresh func() proto.Message) ([]types.Resource, error) {
	var out []types.Resource
	for _, raw := range list {
		message := fresh()
		if err := protojson.Unmarshal(raw, message); err != nil {
			return nil, err
		}
		out = append(out, message)
	}
	return out, nil
}

func snapshotOf(body *http.Request) (*cache.Snapshot, error) {
	var in input
	if err := json.NewDecoder(body.Body).Decode(&in); err != nil {
		return nil, err
	}
	all := map[resource.Type][]types.Resource{}
	for _, kind := range []struct {
		url   string
		list  []json.RawMessage
		fresh func() proto.Message
	}{
		{resource.ListenerType, in.Listeners, func() proto.Message { return &listenerv3.Listener{} }},
		{resource.RouteType, in.Routes, func() proto.Message { return &routev3.RouteConfiguration{} }},
		{resource.ClusterType, in.Clusters, func() proto.Message { return &clusterv3.Cluster{} }},
		{resource.EndpointType, in.Endpoints, func() proto.Message { return &endpointv3.ClusterLoadAssignment{} }},
	} {
		list, err := read(kind.list, kind.fresh)
		if err != nil {
			return nil, err
		}
		all[kind.url] = list
	}
	return cache.NewSnapshot(in.Version, all)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// usage: go-control-plane XDS_ADDRESS HTTP_ADDRESS
func main() {
	ctx := context.Background()
	snapshots := cache.NewSnapshotCache(false, oneNode{}, nil)
	record := &seen{Nacks: []string{}}
	callbacks := server.CallbackFuncs{
		StreamRequestFunc: func(_ int64, r *discovery.DiscoveryRequest) error {
			record.note(r.GetNode(), r.GetResponseNonce(), r.GetErrorDetail() != nil, r.GetErrorDetail().GetMessage())
			return nil
		},
		StreamDeltaRequestFunc: func(_ int64, r *discovery.DeltaDiscoveryRequest) error {
			record.note(r.GetNode(), r.GetResponseNonce(), r.GetErrorDetail() != nil, r.GetErrorDetail().GetMessage())
			return nil
		},
	}
	grpcServer := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, server.NewServer(ctx, snapshots, callbacks))
	listener, err := net.Listen("tcp", os.Args[1])
	fail(err)
	go func() { fail(grpcServer.Serve(listener)) }()
	http.HandleFunc("/snapshot", func(w http.ResponseWriter, r *http.Request) {
		snapshot, err := snapshotOf(r)
		if err == nil {
			err = snapshots.SetSnapshot(ctx, "all", snapshot)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	})
	http.HandleFunc("/seen", func(w http.ResponseWriter, _ *http.Request) {
		record.Lock()
		defer record.Unlock()
		fail(json.NewEncoder(w).Encode(record))
	})
	fail(http.ListenAndServe(os.Args[2], nil))
}
