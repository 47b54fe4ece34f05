import { X509Certificate } from 'node:crypto';
import type { Mesh } from 'inmesh';
import { dumpSnapshot } from './config-dump.ts';

/** `GET /certs`: what Envoy tells there, and the roots by trust domain. No keys. */
export function certificatesOf(mesh: Mesh): object {
  const { certificates } = mesh.inspect();
  const identity = mesh.health().identity;
  if (certificates === undefined) return { identity, certificates: [] };
  const { chainPem, generation, revocations, roots, spiffeId } = certificates;
  return {
    identity,
    certificates: [{ spiffe_id: spiffeId, generation, cert_chain: pemsOf(chainPem).map(certificateOf) }],
    ca_cert: Object.fromEntries(
      [...roots].map(([trustDomain, pems]) => [trustDomain, pems.flatMap(pemsOf).map(certificateOf)]),
    ),
    revocation_lists: revocations,
  };
}

const pemsOf = (pem: string): readonly string[] =>
  pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];

function certificateOf(pem: string): object {
  try {
    const certificate = new X509Certificate(pem);
    const { fingerprint256, issuer, serialNumber, subject, subjectAltName, validFrom, validTo } = certificate;
    return {
      subject,
      issuer,
      serial_number: serialNumber,
      subject_alt_names: subjectAltName,
      valid_from: new Date(validFrom).toISOString(),
      expiration_time: new Date(validTo).toISOString(),
      fingerprint_sha256: fingerprint256,
    };
  } catch {
    return { unreadable: true };
  }
}

/** `GET /clusters`: as lines of Envoy, or as data. */
export function clustersOf(mesh: Mesh): object {
  const { breakers, clusters, endpoints } = mesh.stats();
  return {
    cluster_statuses: clusters.map((status) => ({
      name: status.cluster,
      ...status,
      breaker: breakers.find(({ cluster }) => cluster === status.cluster),
      host_statuses: endpoints.filter(({ cluster }) => cluster === status.cluster),
    })),
  };
}

export function clusterLines(mesh: Mesh): string {
  const { clusters, endpoints } = mesh.stats();
  const lines: string[] = [];
  for (const { active, cluster, endpoints: total, healthy, retries } of clusters) {
    const name = oneLine(cluster);
    lines.push(
      `${name}::membership_total::${total}`,
      `${name}::membership_healthy::${healthy}`,
      `${name}::rq_active::${active}`,
      `${name}::retries::${retries.made}`,
    );
    for (const endpoint of endpoints) {
      if (endpoint.cluster !== cluster) continue;
      const at = `${name}::${oneLine(endpoint.address)}`;
      lines.push(
        `${at}::rq_active::${endpoint.inFlight}`,
        `${at}::health_flags::${endpoint.healthy ? 'healthy' : `/${oneLine(endpoint.reason ?? 'unavailable')}`}`,
        `${at}::ejections::${endpoint.ejections}`,
        `${at}::workload::${oneLine(endpoint.workload)}`,
      );
    }
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Names come from configuration and must not make lines of their own. */
const oneLine = (value: string): string => value.replace(/[\p{Cc}\u2028\u2029]/gu, '\ufffd');

/** `GET /config_dump`: what is in force, without secrets. */
export function configurationOf(mesh: Mesh): object {
  const { problems, snapshot } = mesh.inspect();
  return {
    version: snapshot?.version,
    problems,
    workload: mesh.workload,
    snapshot: snapshot && dumpSnapshot(snapshot),
    report: mesh.report(),
  };
}

/** `GET /routes`: the routes of each host that may be called, and what this workload demands of callers. */
export function routesOf(mesh: Mesh): object {
  const { snapshot } = mesh.inspect();
  if (snapshot === undefined) return { outbound: {} };
  const { hosts, inbound, outboundPolicy, wildcardHosts } = dumpSnapshot(snapshot) as Record<string, unknown>;
  return { outboundPolicy, outbound: hosts, wildcardHosts, inbound };
}

/** `GET /server_info`. Nothing of the environment, which holds secrets. */
export function serverInfoOf(mesh: Mesh): object {
  const { closing } = mesh.inspect();
  const { identity, ready } = mesh.health();
  return {
    state: closing ? 'DRAINING' : ready ? 'LIVE' : 'INITIALIZING',
    node: { id: `${mesh.workload.name}.${mesh.workload.namespace}`, ...mesh.workload },
    config_version: mesh.stats().configVersion,
    identity: identity?.state,
    uptime_seconds: Math.floor(process.uptime()),
    pid: process.pid,
    node_version: process.version,
    hot_restart_version: 'none',
  };
}

/** `GET /memory`. */
export function memoryOf(): object {
  const { arrayBuffers, external, heapTotal, heapUsed, rss } = process.memoryUsage();
  return {
    allocated: heapUsed,
    heap_size: heapTotal,
    total_physical_bytes: rss,
    external,
    array_buffers: arrayBuffers,
  };
}
