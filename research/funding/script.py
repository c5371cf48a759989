"""The funding page's own script: sorts and filters tables. It reads and writes text only."""

from __future__ import annotations

SCRIPT = r"""
'use strict';
document.querySelectorAll('table.sortable').forEach(table => {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const controls = table.closest('.card').querySelector('.controls');
  const value = (row, index) => {
    const cell = row.cells[index];
    const number = cell.dataset.value;
    return number === undefined ? cell.textContent.toLowerCase() : number === '' ? null : Number(number);
  };
  let order = {index: -1, sign: 1};
  let whole = false;
  function show() {
    const words = controls ? controls.querySelector('input').value.trim().toLowerCase() : '';
    const chosen = rows.filter(row => !words || row.textContent.toLowerCase().includes(words));
    if (order.index >= 0) chosen.sort((a, b) => {
      const x = value(a, order.index), y = value(b, order.index);
      if (x === y) return 0;
      if (x === null) return 1;
      if (y === null) return -1;
      return (x < y ? -1 : 1) * order.sign;
    });
    const most = whole || !controls ? chosen.length : 40;
    body.replaceChildren(...chosen.slice(0, most));
    if (!controls) return;
    const count = Math.min(most, chosen.length) + ' of ' + chosen.length + ' rows';
    controls.querySelector('.count').textContent = count;
    controls.querySelector('button').textContent = whole ? 'Show 40' : 'Show all';
  }
  heads.forEach((head, index) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const first = body.rows.length && typeof value(body.rows[0], index) === 'string' ? 1 : -1;
      order = {index: index, sign: order.index === index ? -order.sign : first};
      heads.forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', order.sign > 0 ? 'ascending' : 'descending');
      show();
    });
  });
  if (controls) {
    controls.querySelector('input').addEventListener('input', show);
    controls.querySelector('button').addEventListener('click', () => { whole = !whole; show(); });
  }
  addEventListener('beforeprint', () => { whole = true; show(); });
  show();
});
"""
