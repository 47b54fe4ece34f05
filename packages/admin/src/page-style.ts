/** Style of the page: the colours of the system, one column on a phone. */
export const style = `
:root { color-scheme: light dark; --line: light-dark(#d8dde3, #30363d); --dim: light-dark(#57606a, #9198a1);
  --good: light-dark(#1a7f37, #3fb950); --bad: light-dark(#cf222e, #f85149); --warn: light-dark(#9a6700, #d29922); }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; background: light-dark(#fff, #0d1117); color: light-dark(#1f2328, #e6edf3); }
header, main { max-width: 70rem; margin: 0 auto; padding: 0 1rem; }
header { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: baseline; padding-top: 1rem; }
h1 { font-size: 1.3rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
#state { margin: 0; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .dim { color: var(--dim); }
#problems { border: 1px solid var(--bad); border-radius: 6px; padding: .5rem .5rem .5rem 1.6rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: 1rem 0 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--line); }
th { color: var(--dim); font-weight: 500; }
th:first-child, td:first-child { text-align: left; padding-left: 0; overflow-wrap: anywhere; }
#endpoints td:nth-child(-n+4), #endpoints th:nth-child(-n+4), #breakers td:nth-child(2), #breakers th:nth-child(2) { text-align: left; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: 1.5rem 0; }
a { color: light-dark(#0969da, #4493f8); }
@media (max-width: 40rem) {
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  tr { display: grid; grid-template-columns: repeat(3, 1fr); border-bottom: 1px solid var(--line); padding: .4rem 0; }
  td, #endpoints td:nth-child(-n+4) { border: 0; padding: 0 .3rem 0 0; text-align: left; }
  td:first-child, #endpoints td:nth-child(4) { grid-column: 1 / -1; }
  td:first-child { font-weight: 600; }
  td:not(:first-child)::before { content: attr(data-label) ' '; color: var(--dim); font-size: .85em; }
}
`;
