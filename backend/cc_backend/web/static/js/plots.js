// Replaces the figures of a job page by uPlot in place, at the same size; the server did the thinking (SeriesFigure).
import { answer } from "./announce.js";
import { faint, glyph, look, onThemeChange, readLook, seriesColour, seriesDash } from "./look.js";
import { MEDIA_TYPE, decode } from "./plotsbinary.js";
import { axisLabel, clockSplits, digitsFor, momentLabel, number, runTime, short, spanLabel } from "./words.js";

const HEIGHT = 172;
const X_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400,
  172800, 432000, 604800, 1209600, 2592000];
const MOST_IN_READOUT = 4;

const root = document.querySelector("[data-plots]");
const shown = new Map(); // metric -> { plot, doc, box, figure, read, original }; `figure` is the picture of the server
let page = null;

// The x axis is run time, or Unix time where it shows the clock: the zone's offset may change on the way.
const shiftOf = (doc) => (doc.clock ? doc.start : 0);

// Samples without neighbours, which a line would not show.
const lonely = (values) => {
  const found = [];
  for (let i = 0; i < values.length; i += 1) if (values[i] != null && values[i - 1] == null && values[i + 1] == null) found.push(i);
  return found.length ? found : null;
};

const slots = (doc) => Math.max(0, ...doc.lines.map((line) => line.y.length));

// All plots have one time axis: curves that end before it get one empty place at its end.
function columns(doc) {
  const x = Array.from({ length: slots(doc) }, (_, i) => i * doc.step + shiftOf(page));
  const end = page.length + shiftOf(page);
  const curves = [...doc.bands.flatMap((band) => [band.high, band.low]), ...doc.lines.map((line) => line.y)];
  if (!(x.at(-1) < end)) return [x, ...curves];
  return [[...x, end], ...curves.map((curve) => [...curve, null])];
}

function seriesOf(doc) {
  const edge = () => ({ stroke: null, width: 0, points: { show: false }, spanGaps: false });
  const line = ({ k, label, level }) => {
    const colour = () => (level ? look.colours[level] : seriesColour(k));
    return {
      label, width: level ? 2.25 : 1.5, dash: level ? [] : seriesDash(k), spanGaps: false, stroke: colour,
      points: { show: false, filter: (u, i) => lonely(u.data[i]), size: 5, stroke: colour, fill: colour },
    };
  };
  return [{}, ...doc.bands.flatMap(() => [edge(), edge()]), ...doc.lines.map(line)];
}

function bandsOf(doc) {
  return doc.bands.map((band, i) => ({
    series: [1 + 2 * i, 2 + 2 * i], fill: () => faint(look.colours.trace, band.inner ? 0.24 : 0.13),
  }));
}

const ratio = () => uPlot.pxRatio;
const yPixel = (u, value) => Math.round(u.valToPos(value, "y", true));

function drawUnder(u, entry) {
  const { doc } = entry;
  const { left, top, width, height } = u.bbox;
  const pen = u.ctx;
  pen.save();
  for (const [low, high, level] of doc.zones) {
    if (low >= doc.top) continue;
    const y1 = yPixel(u, Math.min(high, doc.top));
    const y2 = yPixel(u, low);
    pen.fillStyle = look.colours[`z-${level}`];
    pen.fillRect(left - 4 * ratio(), y1, 3 * ratio(), Math.max(1, y2 - y1));
    if (level !== doc.level || (level !== "caution" && level !== "alert")) continue;
    pen.fillStyle = faint(look.colours[`z-${level}`], 0.09);
    pen.fillRect(left, y1, width, y2 - y1);
  }
  pen.fillStyle = pen.createPattern(look.hatch, "repeat");
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  for (const [start, end] of doc.gaps) {
    const x1 = u.valToPos((start - 1) * doc.step + shiftOf(page), "x", true);
    const x2 = u.valToPos(end * doc.step + shiftOf(page), "x", true);
    pen.fillRect(x1, top, x2 - x1, height);
  }
  pen.restore();
}

function drawThresholds(u, entry) {
  const { left, top, width, height } = u.bbox;
  const pen = u.ctx;
  pen.save();
  pen.strokeStyle = look.colours.edge;
  pen.lineWidth = ratio();
  pen.beginPath();
  pen.moveTo(left, top + height + 0.5);
  pen.lineTo(left + width, top + height + 0.5);
  pen.stroke();
  for (const [level, value] of entry.doc.thresholds) {
    const y = yPixel(u, value) + 0.5;
    pen.globalAlpha = level === "high" ? 1 : 0.7;
    pen.strokeStyle = level === "high" ? look.colours.ink3 : look.colours[`z-${level}`];
    pen.lineWidth = ratio();
    pen.setLineDash(level === "high" ? [5 * ratio(), 4 * ratio()] : []);
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(left + width, y);
    pen.stroke();
    pen.globalAlpha = 1;
    glyph(pen, level, left + width + 4 * ratio(), y - 5 * ratio(), 10 * ratio());
  }
  pen.restore();
}

// A label at the right edge would be cut; it is drawn by hand, ending at the edge.
function xTexts(u, entry, labels) {
  entry.last = null;
  return labels.map(([at, text]) => {
    const room = u.bbox.width / ratio() - u.valToPos(at, "x");
    if (room > 18) return text;
    entry.last = text;
    return "";
  });
}

function drawLastTick(u, entry) {
  if (!entry.last) return;
  const pen = u.ctx;
  pen.save();
  pen.font = look.font.replace("11px", `${11 * ratio()}px`);
  pen.textAlign = "right";
  pen.textBaseline = "top";
  pen.fillStyle = look.colours.ink3;
  pen.fillText(entry.last, u.bbox.left + u.bbox.width, u.bbox.top + u.bbox.height + 6 * ratio());
  pen.restore();
}

function drawLabel(u, entry) {
  drawLastTick(u, entry);
  if (!entry.doc.label) return;
  const [value, text, level] = entry.doc.label;
  const pen = u.ctx;
  pen.save();
  pen.font = look.font.replace("11px", `${11 * ratio()}px`);
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  pen.lineJoin = "round";
  pen.lineWidth = 3 * ratio();
  pen.strokeStyle = look.colours.sheet;
  pen.fillStyle = look.colours.ink2;
  const x = u.bbox.left + 0.6 * u.bbox.width;
  const y = yPixel(u, Math.min(value, entry.doc.top));
  const behind = level ? 14 * ratio() : 0;
  pen.strokeText(text, x + behind, y);
  pen.fillText(text, x + behind, y);
  pen.restore();
  if (level) glyph(u.ctx, level, x, y - 10 * ratio(), 11 * ratio());
}

function readout(u, entry) {
  const { read, doc, original } = entry;
  const place = u.cursor.idx;
  if (!read) return;
  if (place === null || place === undefined || u.cursor.left < 0) {
    if (read.dataset.at) {
      delete read.dataset.at;
      read.replaceChildren(...original.map((node) => node.cloneNode(true)));
    }
    return;
  }
  const at = Math.min(place, slots(doc) - 1);
  read.dataset.at = at;
  const time = document.createElement("span");
  time.textContent = page.clock ? momentLabel(page.start + at * doc.step, page.offsets, Date.now() / 1000) : runTime(at * doc.step);
  const values = doc.lines.slice(-MOST_IN_READOUT).map((line) => {
    const span = document.createElement("span");
    const value = document.createElement("b");
    value.textContent = number(short(line.y[at]));
    span.append(doc.lines.length > 1 ? `${line.label} ` : "", value);
    return span;
  });
  read.replaceChildren(time, ...values);
}

function options(entry, width) {
  const { doc } = entry;
  const digits = () => digitsFor(entry.doc.ticks);
  const label = (value, step) => (page.clock ? axisLabel(value, page.offsets, step) : spanLabel(value, step));
  const axis = { stroke: () => look.colours.ink3, font: look.font, labelSize: 0 };
  return {
    width,
    height: HEIGHT,
    padding: [8, doc.marks ? 14 : 2, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false }, sync: { key: "job", scales: ["x", null] } },
    scales: { x: { time: false, range: (_, min, max) => [min, max] }, y: { range: () => [0, entry.doc.top] } },
    series: seriesOf(doc),
    bands: bandsOf(doc),
    axes: [
      {
        ...axis, size: 20, gap: 2, space: 56, incrs: X_STEPS, grid: { show: false },
        ticks: { stroke: () => look.colours.edge, size: 4, width: 1 },
        ...(page.clock && { splits: (_, __, min, max, step) => clockSplits(page.offsets, min, max, step) }),
        values: (u, splits, __, ___, step) => xTexts(u, entry, splits.map((split) => [split, label(split, step)])),
      },
      {
        ...axis, size: 40, gap: 9, ticks: { show: false }, splits: () => entry.doc.ticks,
        grid: { stroke: () => look.colours.rule, width: 1 },
        values: (_, splits) => splits.map((split) => number(split, digits())),
      },
    ],
    hooks: {
      drawClear: [(u) => drawUnder(u, entry)],
      drawAxes: [(u) => drawThresholds(u, entry)],
      draw: [(u) => drawLabel(u, entry)],
      setCursor: [(u) => readout(u, entry)],
    },
  };
}

// The picture of the server stays in the page, hidden, for paper.
function build(metric, figure) {
  const doc = page.plots[metric];
  if (!doc || !doc.lines.length) return;
  const read = document.querySelector(`[data-read="${CSS.escape(metric)}"]`);
  const box = document.createElement("div");
  box.className = "fig drawn";
  box.dataset.plot = metric;
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-roledescription", "plot, move in it with the arrow keys");
  box.setAttribute("aria-label", figure.getAttribute("aria-label"));
  const entry = { doc, box, figure, read, original: read ? [...read.childNodes] : [], plot: null };
  delete figure.dataset.plot;
  figure.after(box);
  const width = figure.clientWidth;
  figure.hidden = true;
  entry.plot = new uPlot(options(entry, width), columns(doc), box);
  shown.set(metric, entry);
  sizes.observe(box);
}

function drop(metric) {
  const { plot, box, figure } = shown.get(metric);
  sizes.unobserve(box);
  plot.destroy();
  box.remove();
  figure.hidden = false;
  figure.dataset.plot = metric;
  shown.delete(metric);
}

const sizes = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const entry = shown.get(target.dataset.plot);
    if (entry && Math.abs(entry.plot.width - contentRect.width) > 1) {
      entry.plot.setSize({ width: Math.max(80, Math.floor(contentRect.width)), height: HEIGHT });
    }
  }
});

const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    build(target.dataset.plot, target);
  }
}, { rootMargin: "400px" });

async function load() {
  try {
    const answer = await fetch(root.dataset.plots, { cache: "no-cache", headers: { Accept: MEDIA_TYPE } });
    return answer.ok ? decode(await answer.arrayBuffer()) : null;
  } catch {
    return null; // The network is away, or the answer is broken: what the page shows stays.
  }
}

// The pictures under the canvases, for paper and for those who read their labels.
function renewFigures(fresh) {
  for (const [metric, { box, figure }] of shown) {
    const next = fresh.querySelector(`[data-plot="${CSS.escape(metric)}"]`);
    if (!next) continue;
    figure.replaceChildren(...[...next.children].map((child) => child.cloneNode(true)));
    figure.setAttribute("aria-label", next.getAttribute("aria-label"));
    box.setAttribute("aria-label", next.getAttribute("aria-label"));
  }
}

const shape = (doc) => `${doc.lines.map((line) => `${line.k}${line.level ?? ""}`)} ${doc.bands.length} ${doc.marks}`;

async function refresh() {
  const fresh = await load();
  if (!fresh) return;
  page = fresh;
  for (const [metric, entry] of shown) {
    const doc = page.plots[metric];
    if (!entry.box.isConnected || !doc || shape(doc) !== shape(entry.doc)) {
      drop(metric);
      continue;
    }
    entry.doc = doc;
    if (entry.read) entry.original = [...entry.read.childNodes];
    entry.plot.setData(columns(doc), entry.plot.scales.x.max >= entry.plot.data[0].at(-1));
    readout(entry.plot, entry);
  }
  watch();
}

function watch() {
  for (const box of root.querySelectorAll("[data-plot]")) if (!box.classList.contains("drawn")) sight.observe(box);
}

function reset(metric) {
  for (const [name, { plot }] of shown) {
    if (metric && name !== metric) continue;
    const x = plot.data[0];
    plot.setScale("x", { min: x[0], max: x.at(-1) });
  }
}

function moveCursor(event) {
  const box = event.target.closest("[data-plot]");
  const entry = box && shown.get(box.dataset.plot);
  const way = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
  if (!entry || !way) return;
  event.preventDefault();
  const { plot } = entry;
  const x = plot.data[0];
  const count = slots(entry.doc);
  const from = plot.cursor.idx ?? (way > 0 ? -1 : count);
  const to = Math.max(0, Math.min(count - 1, from + way * (event.shiftKey ? 10 : 1)));
  plot.setCursor({ left: plot.valToPos(x[to], "x"), top: 0 }, true, true);
  answer([...entry.read.children].map((part) => part.textContent).join(", "));
}

async function start() {
  page = await load();
  if (!page) return;
  readLook();
  onThemeChange(() => {
    for (const { plot } of shown.values()) plot.redraw(false);
  });
  watch();
  document.addEventListener("cockpit:fetched", (event) => renewFigures(event.detail));
  document.addEventListener("cockpit:refreshed", refresh);
  document.addEventListener("cockpit:reset", () => reset());
  document.addEventListener("keydown", moveCursor);
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-reset]");
    if (button) reset(button.dataset.reset);
  });
}

if (root && window.uPlot) start();
