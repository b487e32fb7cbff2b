// Colours and patterns of the page for a canvas: read from the style sheet, read again when the theme changes.

const NAMES = ["ink", "ink2", "ink3", "sheet", "edge", "rule", "trace", "z-ok", "z-high", "z-caution", "z-alert",
  "high", "caution", "alert", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];
const DASHES = { 5: [7, 3], 6: [2, 3], 7: [9, 3, 2, 3], 8: [4, 4] };

export const look = { colours: {}, hatch: null, font: "11px sans-serif" };

export function readLook() {
  const probe = document.createElement("span");
  document.body.append(probe);
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    look.colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  look.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  look.hatch = hatch(look.colours.edge);
}

export function onThemeChange(redraw) {
  const again = () => {
    readLook();
    redraw();
  };
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}

export const seriesColour = (k) => look.colours[k ? `s${k}` : "trace"];
export const seriesDash = (k) => DASHES[k];

// The colour with another opacity, whatever notation the browser answers in.
export const faint = (colour, opacity) => `color-mix(in srgb, ${colour} ${Math.round(opacity * 100)}%, transparent)`;

function hatch(colour) {
  const ratio = devicePixelRatio || 1;
  const size = Math.round(8.5 * ratio);
  const tile = new OffscreenCanvas(size, size);
  const pen = tile.getContext("2d");
  pen.strokeStyle = colour;
  pen.lineWidth = ratio / 2;
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
  }
  pen.stroke();
  return tile;
}

// The glyphs of the sprite, for the right padding of a plot; drawn in a box of 16.
const GLYPHS = {
  alert: ["M5.3 1.5h5.4l3.8 3.8v5.4l-3.8 3.8H5.3l-3.8-3.8V5.3z", "M8 4.4v4.2M8 11.2v.1"],
  caution: ["M8 1.9 14.6 13.6H1.4z", "M8 6.2v3.2M8 11.6v.1"],
  high: ["m8 1.4 6.6 6.6L8 14.6 1.4 8z", "M8 10.9V5.4M5.8 7.4 8 5.2l2.2 2.2"],
};

export function glyph(pen, level, x, y, size) {
  const [shape, sign] = GLYPHS[level];
  pen.save();
  pen.translate(x, y);
  pen.scale(size / 16, size / 16);
  pen.lineCap = pen.lineJoin = "round";
  pen.fillStyle = look.colours[level];
  pen.fill(new Path2D(shape));
  pen.strokeStyle = look.colours.sheet;
  pen.lineWidth = 1.7;
  pen.stroke(new Path2D(sign));
  pen.restore();
}
