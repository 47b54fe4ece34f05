/** Styles of the page, inline so that it needs nothing but itself. */
export const style = `
:root{--paper:#f7f6f3;--card:#fff;--ink:#1c1b19;--soft:#6b6862;--line:#e5e2dc;--accent:#2f5d50;--safe:#1d7a4f;--safe-bg:#e3f4ea;
--open:#8a5a00;--open-bg:#fdf1d8;--bad:#a92020;--bad-bg:#fde7e5;--red:#d12c2c;--v1:#8b8780;--v2:#1c1b19;--v3:#d12c2c;--on:#fff;
--shadow:0 1px 2px rgb(0 0 0/.05),0 6px 20px rgb(0 0 0/.05)}
@media (prefers-color-scheme:dark){:root{--paper:#151617;--card:#1e2022;--ink:#ecebe8;--soft:#a09d97;--line:#303336;--accent:#7fc1ad;
--safe:#6fd3a0;--safe-bg:#173328;--open:#f0c069;--open-bg:#3a2d12;--bad:#ff9d95;--bad-bg:#40201e;--red:#ff6a5f;--v1:#8b8780;--v2:#ecebe8;
--v3:#ff6a5f;--on:#151617;--shadow:none}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif}
.bar{display:flex;flex-wrap:wrap;align-items:center;gap:.6rem 1rem;padding:.8rem clamp(1rem,4vw,2.5rem);border-bottom:1px solid var(--line);background:var(--card)}
.brand{display:flex;align-items:center;gap:.55rem;font-weight:700;font-size:1.05rem;color:inherit;text-decoration:none;letter-spacing:-.01em}
.mark{width:18px;height:18px;border-radius:5px;background:conic-gradient(from 45deg,#2f5d50,#7fc1ad,#d9b25f,#2f5d50)}
.tag{color:var(--soft);font-size:.85rem}.grow{flex:1}
button{font:inherit;font-size:.875rem;font-weight:600;padding:.42rem .95rem;border-radius:99px;border:1px solid var(--accent);background:var(--accent);color:var(--on);cursor:pointer}
button.quiet{background:transparent;color:var(--accent)}button:focus-visible,a:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
form{display:flex;align-items:center;gap:.7rem;margin:0}.user{font-weight:600;font-size:.9rem}
.toggle{display:flex;align-items:center;gap:.5rem;font-size:.85rem;color:var(--soft);cursor:pointer;user-select:none}.toggle[hidden]{display:none}
.toggle input{position:absolute;opacity:0}.toggle i{width:32px;height:18px;border-radius:9px;background:var(--line);position:relative;transition:background .15s}
.toggle i::after{content:"";position:absolute;width:14px;height:14px;left:2px;top:2px;border-radius:50%;background:#fff;transition:left .15s;box-shadow:0 1px 2px rgb(0 0 0/.3)}
.toggle input:checked+i{background:var(--safe)}.toggle input:checked+i::after{left:16px}.toggle input:focus-visible+i{outline:2px solid var(--accent);outline-offset:2px}
main{max-width:1120px;margin:0 auto;padding:clamp(1.2rem,3.5vw,2.6rem) clamp(1rem,4vw,2.5rem) 4rem}
.hero{display:grid;grid-template-columns:auto 1fr;gap:clamp(1.2rem,3vw,2.4rem);align-items:start;margin-bottom:1.9rem}
.cover{width:clamp(112px,15vw,168px);aspect-ratio:2/3;border-radius:4px 8px 8px 4px;padding:1.1rem .9rem;display:flex;flex-direction:column;justify-content:space-between;
color:#f6ecd6;background:linear-gradient(90deg,rgb(0 0 0/.28),transparent 9%),radial-gradient(circle at 72% 46%,#b9863f 0 17%,transparent 17.5%),radial-gradient(circle at 32% 64%,#7fc1ad 0 17%,transparent 17.5%),#24463d;box-shadow:0 10px 30px rgb(0 0 0/.22)}
.cover b{font:600 1.08rem/1.2 Georgia,"Times New Roman",serif}.cover span{font-size:.72rem;letter-spacing:.04em;opacity:.9}.cover.empty{background:var(--line);box-shadow:none}
h1{font:600 clamp(1.7rem,4vw,2.5rem)/1.12 Georgia,"Times New Roman",serif;letter-spacing:-.015em;margin:.1rem 0 .2rem}
.author{margin:0 0 .8rem;color:var(--soft)}.summary{margin:0 0 1.1rem;max-width:62ch}
dl{display:flex;flex-wrap:wrap;gap:.7rem 2rem;margin:0}dt{font-size:.72rem;text-transform:uppercase;letter-spacing:.06em;color:var(--soft)}dd{margin:0;font-weight:600}
.columns{display:grid;grid-template-columns:minmax(0,.82fr) minmax(0,1fr);gap:1.4rem;align-items:start}
@media (max-width:820px){.columns{grid-template-columns:minmax(0,1fr)}.tag{display:none}}
@media (max-width:520px){.hero{grid-template-columns:1fr}}
.reviews,.hops{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.3rem 1.4rem;box-shadow:var(--shadow)}
h2{display:flex;align-items:center;gap:.6rem;font-size:1.05rem;margin:0 0 .3rem;letter-spacing:-.01em}
.version{font-size:.75rem;font-weight:600;padding:.1rem .55rem;border-radius:99px;background:var(--line);color:var(--ink)}
.version.v1{background:var(--v1);color:#fff}.version.v2{background:var(--v2);color:var(--on)}.version.v3{background:var(--v3);color:var(--on)}.version.plain{background:transparent;border:1px solid var(--line);color:var(--soft)}
.seen{display:flex;align-items:center;gap:.7rem;font-size:.78rem;color:var(--soft);min-height:1.4rem;margin:.2rem 0 .2rem}.seen[hidden]{display:none}.seen span{white-space:nowrap}
#seen{display:flex;gap:3px;min-width:0;justify-content:flex-end;list-style:none;margin:0;padding:0;overflow:hidden}#seen li{width:9px;height:14px;border-radius:2px;background:var(--line);flex:none}
#seen .v1{background:var(--v1)}#seen .v2{background:var(--v2)}#seen .v3{background:var(--v3)}
article{padding:1rem 0;border-top:1px solid var(--line)}article:first-of-type{border-top:0}article:last-child{padding-bottom:0}
blockquote{margin:0;font:1.06rem/1.5 Georgia,"Times New Roman",serif}.reviewer{margin:.35rem 0 0;font-size:.85rem;color:var(--soft)}.reviewer::before{content:"— "}
.stars{margin:0 0 .25rem;font-size:1.15rem;line-height:1.2;letter-spacing:.08em}.stars i{font-style:normal}.stars.black .on{color:var(--ink)}.stars.red .on{color:var(--red)}.stars .off{color:var(--line)}
.notice{background:var(--open-bg);color:var(--open);padding:.6rem .85rem;border-radius:9px;font-size:.88rem;margin:.7rem 0 0}
.hint{margin:0 0 .4rem;color:var(--soft);font-size:.88rem}
.hops ol{list-style:none;margin:0;padding:0}.hops li{position:relative;padding:.65rem 0 .65rem 1.5rem;border-top:1px solid var(--line)}.hops li:first-child{border-top:0}
.hops li::before{content:"";position:absolute;left:.1rem;top:1.1rem;width:9px;height:9px;border-radius:50%;background:var(--soft)}
.hops li.safe::before{background:var(--safe)}.hops li.plain::before{background:var(--open)}.hops li.failed::before{background:var(--bad)}
.hops li:not(:last-child)::after{content:"";position:absolute;left:calc(.1rem + 4px);top:1.75rem;bottom:-1rem;width:1px;background:var(--line)}
.line{display:flex;align-items:center;gap:.6rem;flex-wrap:wrap}.ms{margin-left:auto;color:var(--soft);font-size:.82rem;font-variant-numeric:tabular-nums}
.badge{display:inline-flex;align-items:center;gap:.28rem;font-size:.74rem;font-weight:600;padding:.1rem .55rem;border-radius:99px}.badge.safe{background:var(--safe-bg);color:var(--safe)}.badge.open{background:var(--open-bg);color:var(--open)}.badge.bad{background:var(--bad-bg);color:var(--bad)}
.who{margin:.2rem 0 0;font-size:.82rem;color:var(--soft);overflow-wrap:anywhere}code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}.who code b{color:var(--ink)}
.id{margin:.6rem 0 0;padding-top:.8rem;border-top:1px solid var(--line);font-size:.82rem;color:var(--soft)}.id code{color:var(--ink)}
`;

/**
 * Fetches the page again every second when the switch is on, puts the new `<main>` in place, and
 * remembers the last versions of reviews that answered. The page is complete without it.
 */
export const script = `
const auto=document.getElementById('auto');
auto.parentElement.hidden=false;
auto.checked=localStorage.getItem('auto')==='on';
let seen=JSON.parse(sessionStorage.getItem('seen')||'[]');
function note(){
  const version=document.querySelector('.reviews').dataset.version;
  seen.push(/^v[123]$/.test(version)?version:'none');
  seen=seen.slice(-30);
  sessionStorage.setItem('seen',JSON.stringify(seen));
  const list=document.getElementById('seen');
  if(!list)return;
  list.parentElement.hidden=false;
  for(const version of seen){const item=document.createElement('li');item.className=version;item.title='reviews '+version;list.append(item)}
}
async function refresh(){
  try{
    const reply=await fetch('/productpage',{headers:{accept:'text/html'}});
    const next=new DOMParser().parseFromString(await reply.text(),'text/html').querySelector('main');
    if(next){document.querySelector('main').replaceWith(next);note()}
  }catch{}
}
let timer;
function schedule(){clearInterval(timer);if(auto.checked)timer=setInterval(refresh,1000);localStorage.setItem('auto',auto.checked?'on':'off')}
auto.addEventListener('change',schedule);
note();schedule();
`;
