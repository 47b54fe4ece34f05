/**
 * What the page does: reads `stats` every two seconds and shows the last ten. Text goes into the document as
 * text, never as markup. It runs in browsers, after `pageRows` and `bounds`.
 */
export const script = `
const base = location.pathname.replace(/\\/$/, '') + '/';
const byId = (id) => document.getElementById(id);
const readings = [];
let token = '';

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function fill(id, labels, rows) {
  const body = byId(id).tBodies[0];
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement('tr');
    cells.forEach((cell, at) => {
      const [text, kind] = Array.isArray(cell) ? cell : [cell];
      const made = element('td', String(text), kind);
      made.dataset.label = labels[at];
      row.append(made);
    });
    return row;
  }));
  byId(id).closest('section').hidden = rows.length === 0;
}

const ms = (value) => value < 0 ? '–' : value < 10 ? value.toFixed(1) + ' ms' : Math.round(value) + ' ms';
const share = (value) => value < 0 ? ['–', 'dim'] : [(value * 100).toFixed(value < 1 && value > 0.99 ? 2 : 1) + ' %', value >= 0.999 ? 'good' : value >= 0.95 ? 'warn' : 'bad'];

function calls(id, first, rows) {
  const labels = [first, 'req/s', 'success', 'p50', 'p99', 'total'];
  fill(id, labels, rows.map((row) => [row.name, row.perSecond.toFixed(1), share(row.success), ms(row.p50), ms(row.p99), row.total]));
}

function duration(seconds) {
  if (seconds < 0) return 'expired';
  const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const [size, unit] = units.find(([each]) => seconds >= each * 2) || units[3];
  return Math.floor(seconds / size) + ' ' + unit;
}

function facts(stats) {
  const { config, connections, health, workload } = stats;
  const identity = health.identity;
  const pairs = [
    ['workload', workload.name + ' in ' + workload.namespace],
    ['configuration', (stats.configVersion || 'none') + (config.rejected ? ', ' + config.rejected + ' refused so far' : '')],
    ['identity', identity ? (identity.spiffeId || 'none') + ' (' + identity.state + ')' : 'none: plaintext'],
  ];
  if (identity && identity.expirySeconds !== undefined) pairs.push(['certificate expires in', duration(identity.expirySeconds)]);
  pairs.push(['connections', connections.accepted + ' accepted, ' + (connections.plaintextRefused + connections.tlsRefused + connections.handshakesFailed) + ' refused']);
  byId('facts').replaceChildren(...pairs.flatMap(([name, value]) => [element('dt', name), element('dd', value)]));
}

function show(stats, now) {
  readings.push({ stats, now });
  if (readings.length > 6) readings.shift();
  const before = readings.length > 1 ? readings[0] : undefined;
  const rows = pageRows(before && before.stats, stats, before ? (now - before.now) / 1000 : 0, bounds);
  const { health, workload } = stats;
  document.title = workload.name + ' · inmesh';
  byId('name').textContent = workload.name;
  const state = health.ready ? (health.warnings.length ? 'ready, with warnings' : 'ready') : 'not ready';
  byId('state').textContent = state;
  byId('state').className = health.ready ? (health.warnings.length ? 'warn' : 'good') : 'bad';
  const problems = [...health.reasons, ...health.warnings];
  byId('problems').hidden = problems.length === 0;
  byId('problems').replaceChildren(...problems.map((each) => element('li', each)));
  facts(stats);
  calls('out', 'service', rows.filter((row) => row.direction === 'out'));
  calls('in', 'caller', rows.filter((row) => row.direction === 'in'));
  fill('endpoints', ['endpoint', 'state', 'workload', 'cluster', 'active', 'ejections'], stats.endpoints.map((each) =>
    [each.address, each.healthy ? ['healthy', 'good'] : [each.reason || 'out', 'bad'], each.workload, each.cluster, each.inFlight, each.ejections]));
  fill('breakers', ['cluster', 'state', 'failures', 'calls', 'openings', 'refused'], stats.breakers.map((each) =>
    [each.cluster, [each.state, each.state === 'closed' ? 'good' : each.state === 'open' ? 'bad' : 'warn'], each.failures, each.calls, each.openings, each.refusals]));
}

async function poll() {
  try {
    const answer = await fetch(base + 'stats', { headers: token ? { authorization: 'Bearer ' + token } : {}, cache: 'no-store' });
    byId('login').hidden = answer.status !== 401;
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json(), document.timeline.currentTime);
  } catch (error) {
    byId('state').textContent = 'no answer: ' + error.message;
    byId('state').className = 'bad';
  }
}

for (const path of ['metrics', 'stats', 'clusters', 'routes', 'listeners', 'certs', 'config_dump', 'server_info', 'help']) {
  const link = element('a', path);
  link.href = base + path;
  byId('links').append(link);
}
byId('login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = byId('token').value;
  poll();
});
poll();
window.setInterval(() => { if (!document.hidden) poll(); }, 2000);
`;
