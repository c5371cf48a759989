"""The page's own script: draws the figures one by one, follows the colour scheme, sorts and filters trips.

It reads two JSON elements of the page, ``figures`` and ``round-trips``, and writes text only through ``textContent``.
"""

from __future__ import annotations

SCRIPT = r"""
'use strict';
(function () {
const read = id => JSON.parse(document.getElementById(id).textContent);
const store = read('figures');
const scheme = matchMedia('(prefers-color-scheme: dark)');
let printing = false;
let timeRange = null;
let linking = false;
const drawn = new Map();  // figure -> whether it was drawn for a narrow page
const palette = () => (scheme.matches && !printing ? store.dark : store.light);
const element = key => document.getElementById('figure-' + key);
const isNarrow = key => element(key).clientWidth < 560;

function paintTrace(trace, colors) {
  const slot = trace.meta.slot;
  const color = slot < 0 ? colors.text : colors.series[slot % colors.series.length];
  if (trace.meta.heat) {
    // Shares run one way from nothing: the half of the losses, turned around.
    const scale = trace.meta.half ? colors.heat.slice(0, (colors.heat.length + 1) / 2).reverse() : colors.heat;
    trace.colorscale = scale.map((value, index) => [index / (scale.length - 1), value]);
    trace.colorbar = Object.assign({}, trace.colorbar, {tickfont: {color: colors.muted}});
  } else if (trace.type === 'bar') {
    trace.marker = {color: color};
  } else {
    trace.line = Object.assign({}, trace.line, {color: color});
    trace.marker = Object.assign({}, trace.marker, {color: color});
    if (trace.fill && trace.fill !== 'none') trace.fillcolor = color + '2e';
  }
  return trace;
}

function themed(key) {
  const figure = store.figures[key];
  const colors = palette();
  const narrow = isNarrow(key);
  const layout = structuredClone(figure.layout);
  Object.assign(layout, {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', height: figure.height,
    font: {family: 'system-ui, -apple-system, Segoe UI, Roboto, sans-serif', size: narrow ? 10 : 12,
      color: colors.text},
    modebar: {bgcolor: 'rgba(0,0,0,0)', color: colors.muted, activecolor: colors.text},
    hoverlabel: {namelength: -1, bgcolor: colors.card, bordercolor: colors.line, font: {color: colors.text, size: 11}},
  });
  for (const name of Object.keys(layout)) {
    if (!/^[xy]axis/.test(name)) continue;
    layout[name] = Object.assign({gridcolor: colors.line, zerolinecolor: colors.muted, zerolinewidth: 1,
      linecolor: colors.line, tickfont: {color: colors.muted}}, layout[name]);
  }
  if (figure.time && timeRange) layout.xaxis.range = timeRange.slice();
  for (const note of layout.annotations || []) {
    note.font = Object.assign({}, note.font, {color: colors.muted}, narrow ? {size: 10} : {});
  }
  if (narrow) fitToPhone(layout);
  return {data: figure.data.map(trace => paintTrace(Object.assign({}, trace), colors)), layout: layout};
}

// Names under the axis are turned on a phone: they get the room that they need, here and at the sides.
function fitToPhone(layout) {
  if (layout.margin) layout.margin.l = Math.min(layout.margin.l, 48);
  if (layout.xaxis && layout.xaxis.type !== 'date') layout.xaxis.automargin = true;
}

function draw(key) {
  const chart = element(key);
  const figure = themed(key);
  const config = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
    displayModeBar: matchMedia('(hover: hover)').matches ? 'hover' : false};
  Plotly.react(chart, figure.data, figure.layout, config);
  const isFirst = !drawn.has(key);
  drawn.set(key, isNarrow(key));
  if (!isFirst) return;
  if (store.figures[key].time) chart.on('plotly_relayout', change => follow(key, change));
}

// One zoom for every time axis: figures not drawn yet take the range when they are.
function follow(key, change) {
  if (linking) return;
  if (change['xaxis.range[0]'] !== undefined) timeRange = [change['xaxis.range[0]'], change['xaxis.range[1]']];
  else if (change['xaxis.range']) timeRange = change['xaxis.range'];
  else if (change['xaxis.autorange']) timeRange = null;
  else return;
  linking = true;
  const others = [...drawn.keys()].filter(other => other !== key && store.figures[other].time);
  const update = other => timeRange
    ? {'xaxis.range': timeRange.slice()}
    : {'xaxis.range': (store.figures[other].layout.xaxis.range || []).slice()};
  Promise.all(others.map(other => Plotly.relayout(element(other), update(other)))).finally(() => { linking = false; });
}

const keys = Object.keys(store.figures);
const drawAll = () => keys.forEach(draw);
// One figure per task, from the top: the page answers while the rest is drawn.
(function drawNext(index) {
  if (index === keys.length) return;
  if (!drawn.has(keys[index])) draw(keys[index]);
  setTimeout(drawNext, 0, index + 1);
})(0);
scheme.addEventListener('change', () => [...drawn.keys()].forEach(draw));
// A phone that is turned, or a window made small: other type sizes and margins, not only another width.
let settled = 0;
addEventListener('resize', () => {
  clearTimeout(settled);
  settled = setTimeout(() => [...drawn].forEach(([key, was]) => { if (was !== isNarrow(key)) draw(key); }), 200);
});
// On paper nothing can be opened or turned over: settings are unfolded, all chosen round trips listed.
const opened = new Set();
let listTrips = () => {};
addEventListener('beforeprint', () => {
  printing = true;
  document.querySelectorAll('details:not([open])').forEach(part => { opened.add(part); part.open = true; });
  listTrips();
  drawAll();
});
addEventListener('afterprint', () => {
  printing = false;
  opened.forEach(part => { part.open = false; });
  opened.clear();
  listTrips();
  drawAll();
});

const chooser = document.getElementById('funding-pair');
if (chooser) chooser.addEventListener('change', () => {
  const trace = store.figures.funding.data[0];
  const choice = store.figures.funding.choices[chooser.selectedIndex];
  if (!trace) return;
  Object.assign(trace, {z: choice.z, zmin: -choice.zmax, zmax: choice.zmax});
  draw('funding');
});

const table = document.getElementById('trip-table');
if (table) tripTable(table, read('round-trips'));

function tripTable(table, source) {
  const body = table.tBodies[0];
  const control = name => document.getElementById('trip-' + name);
  const rows = source.rows;
  const at = Object.fromEntries(source.columns.map((column, index) => [column.key, index]));
  let chosen = rows.slice();
  let page = 0;
  let order = {index: 0, sign: 1};

  function text(column, value) {
    if (value === null) return '–';
    if (column.kind === 'time') return new Date(value).toISOString().slice(0, 16).replace('T', ' ');
    if (column.kind === 'text') return String(value);
    const shown = Math.abs(value).toLocaleString('en-US',
      {minimumFractionDigits: column.digits, maximumFractionDigits: column.digits});
    return (value < 0 && /[1-9]/.test(shown) ? '−' : '') + shown;
  }
  function compare(a, b) {
    const x = a[order.index], y = b[order.index];
    if (x === y) return a[0] - b[0];
    if (x === null) return 1;
    if (y === null) return -1;
    return (x < y ? -1 : 1) * order.sign;
  }
  function show() {
    const size = printing ? Math.max(1, chosen.length) : 25;
    const pages = Math.max(1, Math.ceil(chosen.length / size));
    if (!printing) page = Math.min(Math.max(page, 0), pages - 1);
    const first = printing ? 0 : page * size;
    const lines = chosen.slice(first, first + size).map(row => {
      const line = document.createElement('tr');
      source.columns.forEach((column, index) => {
        const cell = document.createElement('td');
        cell.textContent = text(column, row[index]);
        if (column.kind === 'text') cell.className = 'text';
        else if (column.sign && row[index] < 0) cell.className = 'loss';
        else if (column.sign && row[index] > 0) cell.className = 'gain';
        line.appendChild(cell);
      });
      return line;
    });
    body.replaceChildren(...lines);
    let sum = 0;
    for (const row of chosen) sum += row[at.pnl] || 0;
    const found = chosen.length.toLocaleString('en-US') + ' of ' + rows.length.toLocaleString('en-US');
    control('count').textContent = found + ' round trips, P&L ' + text({digits: 2}, sum) +
      (printing ? '' : ', page ' + (page + 1) + ' of ' + pages);
    control('back').disabled = page === 0;
    control('next').disabled = page === pages - 1;
  }
  function filter() {
    const pair = control('pair').value, outcome = control('outcome').value;
    const words = control('search').value.trim().toLowerCase();
    chosen = rows.filter(row => (!pair || row[at.pair] === pair) &&
      (!outcome || (outcome === 'open') === (row[at.close_ms] === null) &&
        (outcome === 'open' || (outcome === 'gain') === (row[at.pnl] >= 0))) &&
      (!words || (row[at.direction] + ' ' + row[at.reason]).toLowerCase().includes(words)));
    chosen.sort(compare);
    page = 0;
    show();
  }
  table.querySelectorAll('thead th').forEach((head, index) => {
    head.querySelector('button').addEventListener('click', () => {
      order = {index: index, sign: order.index === index ? -order.sign : 1};
      table.querySelectorAll('thead th').forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', order.sign > 0 ? 'ascending' : 'descending');
      filter();
    });
  });
  ['pair', 'outcome'].forEach(name => control(name).addEventListener('change', filter));
  control('search').addEventListener('input', filter);
  control('back').addEventListener('click', () => { page -= 1; show(); });
  control('next').addEventListener('click', () => { page += 1; show(); });
  listTrips = show;
  filter();
}
})();
"""
