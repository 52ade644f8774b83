"""How the page looks: on paper, on a phone, by day and by night.

Blue and orange differ to every eye, and no meaning hangs on colour alone.
"""

STYLE = """
:root {
  color-scheme: light;
  --ink: #1b2127; --soft: #57626d; --rule: #dde2e7; --paper: #ffffff; --panel: #f5f7f9;
  --good: #17703f; --bad: #b3261e; --graph: #0a62a9; --own: #c25a00; --bound: #5d6771;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    color-scheme: dark;
    --ink: #e4e8ec; --soft: #9ba6b1; --rule: #323a42; --paper: #14181c; --panel: #1c2127;
    --good: #66cf93; --bad: #ff8f80; --graph: #68b3f5; --own: #f2a25a; --bound: #a9b3bd;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 40px 24px 72px; }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 48px 0 12px; font-size: 19px; }
h3 { margin: 28px 0 8px; font-size: 15px; }
p { max-width: 72ch; margin: 8px 0; overflow-wrap: anywhere; }
.soft, figcaption span { color: var(--soft); }
.verdict { margin: 20px 0 24px; padding: 14px 18px; max-width: none; background: var(--panel);
  border-left: 5px solid; border-radius: 3px; }
.verdict strong { display: block; font-size: 21px; }
.good, .verdict.good strong { color: var(--good); }
.bad, .verdict.bad strong { color: var(--bad); }
.verdict { border-color: currentColor; }
.verdict span { color: var(--ink); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 20px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
li { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { width: 100%; min-width: 40%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
table:not(:has(.long)) { width: auto; }
th, td { padding: 6px 18px 6px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 500; white-space: nowrap; }
tbody th { min-width: 7.5em; font-weight: 600; overflow-wrap: anywhere; }
tbody th.word { min-width: 0; }
.number { text-align: right; white-space: nowrap; }
.word { white-space: nowrap; }
.long { min-width: 15em; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 8px 40px; }
figure { display: grid; grid-template-rows: subgrid; grid-row: span 2; margin: 0 0 24px; }
figcaption strong { display: block; }
figcaption span { font-size: 14px; }
svg { display: block; width: 100%; max-width: 560px; height: auto; }
svg text { font-size: 13px; fill: var(--soft); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
svg .name { fill: var(--ink); }
svg line, svg polyline, svg path { fill: none; stroke-width: 1.6; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .axis { stroke: var(--soft); stroke-width: 1; }
svg .graph { stroke: var(--graph); }
svg .own { stroke: var(--own); stroke-dasharray: 5 3; }
svg .bound { stroke: var(--bound); stroke-dasharray: 2 2.5; }
svg .mark { stroke: var(--own); }
svg .point { stroke-dasharray: none; stroke-width: 1.4; fill: var(--paper); }
svg .graph.point { fill: var(--graph); }
svg .graph.steps { fill: color-mix(in srgb, var(--graph) 20%, transparent); }
@media (max-width: 560px) {
  main { padding: 24px 16px 48px; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
  th, td { padding-right: 12px; }
  .long { min-width: 12em; }
  svg text { font-size: 15.5px; }
}
@media print {
  main { max-width: none; padding: 0; }
  body { font-size: 10pt; }
  .scroll { overflow: visible; }
  h2 { break-after: avoid; }
  figure, tr, .verdict { break-inside: avoid; }
}
""".strip()
