/**
 * What a server says to the protocols that a TLS client offers, best first. Istio's sidecars offer
 * `istio-http/1.1, istio, http/1.1` and their like: the Istio names only steer a sidecar's own
 * choice, what both sides then speak is `http/1.1` or `h2`. A client that offers nothing but Istio
 * names (TCP clusters do) gets one of them back, or the handshake would fail. `istio-peer-exchange`
 * comes last: it announces bytes ahead of the first request.
 */
const preference = [
  'h2',
  'http/1.1',
  'istio-http/1.1',
  'istio-h2',
  'istio-http/1.0',
  'istio',
  'http/1.0',
  'istio-peer-exchange',
] as const;

/** The protocol to speak, or nothing: then TLS ends the handshake with `no_application_protocol`. */
export function chooseAlpn(offered: readonly string[]): string | undefined {
  return preference.find((protocol) => offered.includes(protocol));
}
