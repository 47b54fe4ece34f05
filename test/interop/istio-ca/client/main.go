// Asks for a certificate with the client that istio.io/api generates, over grpc-go, as an agent of
// Istio does, and holds the answer against Go's own verifier. Prints one line of JSON for each call.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"log"
	"net/url"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	pb "istio.io/api/security/v1alpha1"
)

type answer struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Chain   []string `json:"chain"`
	// What Go makes of the chain: the URI of the leaf, or why it is refused.
	URI      string `json:"uri"`
	Verified string `json:"verified"`
	Seconds  int    `json:"seconds"`
}

func main() {
	address := flag.String("address", "", "host:port")
	root := flag.String("root", "", "file with the root")
	token := flag.String("token", "", "bearer token")
	cert := flag.String("cert", "", "file with the client certificate")
	key := flag.String("key", "", "file with its key")
	san := flag.String("san", "", "URI to ask for")
	keyType := flag.String("type", "ec", "ec or rsa")
	validity := flag.Int64("validity", 86400, "seconds")
	calls := flag.Int("calls", 1, "calls over one connection")
	keep := flag.String("keep", "", "write chain and key there")
	flag.Parse()

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(read(*root))
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		must(err)
		config.Certificates = []tls.Certificate{pair}
	}
	conn, err := grpc.NewClient(*address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	must(err)
	defer conn.Close()
	client := pb.NewIstioCertificateServiceClient(conn)
	for range *calls {
		must(json.NewEncoder(os.Stdout).Encode(call(client, pool, *token, *san, *keyType, *validity, *keep)))
	}
}

func call(client pb.IstioCertificateServiceClient, pool *x509.CertPool, token, san, keyType string, validity int64, keep string) answer {
	key := newKey(keyType)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "Authorization", "Bearer "+token)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "ClusterID", "")
	response, err := client.CreateCertificate(ctx, &pb.IstioCertificateRequest{
		Csr:              string(request(key, san)),
		ValidityDuration: validity,
	})
	if err != nil {
		return answer{Code: status.Code(err).String(), Message: status.Convert(err).Message()}
	}
	result := answer{Code: "OK", Chain: response.CertChain}
	certificates := make([]*x509.Certificate, 0, len(response.CertChain))
	var chain []byte
	for _, text := range response.CertChain {
		block, rest := pem.Decode([]byte(text))
		if block == nil || len(rest) > 0 {
			result.Verified = "an element that is not one certificate"
			return result
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		must(err)
		certificates = append(certificates, certificate)
		chain = append(chain, text...)
	}
	leaf := certificates[0]
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(certificates[len(certificates)-1])
	for _, certificate := range certificates[1 : len(certificates)-1] {
		between.AddCert(certificate)
	}
	for _, anchor := range []*x509.CertPool{roots, pool} {
		_, err = leaf.Verify(x509.VerifyOptions{
			Roots: anchor, Intermediates: between,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			result.Verified = err.Error()
			return result
		}
	}
	if !leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool }).Equal(key.Public()) {
		result.Verified = "the key of somebody else"
		return result
	}
	result.Verified = "yes"
	result.URI = leaf.URIs[0].String()
	result.Seconds = int(time.Until(leaf.NotAfter).Seconds())
	if keep != "" {
		bytes, err := x509.MarshalPKCS8PrivateKey(key)
		must(err)
		must(os.WriteFile(keep+"/chain.pem", chain, 0o600))
		must(os.WriteFile(keep+"/key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bytes}), 0o600))
	}
	return result
}

func newKey(keyType string) crypto.Signer {
	if keyType == "rsa" {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(err)
		return key
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func request(key crypto.Signer, san string) []byte {
	template := &x509.CertificateRequest{}
	if san != "" {
		uri, err := url.Parse(san)
		must(err)
		template.URIs = []*url.URL{uri}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func read(path string) []byte {
	bytes, err := os.ReadFile(path)
	must(err)
	return bytes
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
