// Reads the binary form of a page's plots (docs/web.md): a header, the document as JSON, its curves as one block.

export const MEDIA_TYPE = "application/vnd.clustercockpit.plots";
const MAGIC = "CCPLOTS\0";
const VERSION = 1;
const HEADER_BYTES = 20;
const NUMBER_BYTES = 4;

// The curves as lists with null for gaps: uPlot breaks a line there, but draws on through NaN.
function curve(block, [first, length]) {
  if (!Number.isInteger(first) || !Number.isInteger(length) || first < 0 || length < 0 || first + length > block.length) {
    throw new RangeError("a curve lies outside of its block");
  }
  const values = new Array(length);
  for (let i = 0; i < length; i += 1) {
    const value = block[first + i];
    values[i] = Number.isNaN(value) ? null : value;
  }
  return values;
}

// The document of the plots, as the JSON form has it. Throws for whatever is none, or not all of it.
export function decode(buffer) {
  const view = new DataView(buffer);
  const magic = String.fromCharCode(...new Uint8Array(buffer, 0, MAGIC.length));
  const [version, headBytes, count] = [8, 12, 16].map((at) => view.getUint32(at, true));
  const begin = HEADER_BYTES + headBytes;
  if (magic !== MAGIC || version !== VERSION || buffer.byteLength !== begin + NUMBER_BYTES * count) {
    throw new RangeError("these are no plots, or not all of them");
  }
  const head = new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(buffer, HEADER_BYTES, headBytes));
  const block = new Float32Array(buffer, begin, count); // in the byte order of all machines with a browser
  const page = JSON.parse(head);
  for (const doc of Object.values(page.plots)) {
    for (const line of doc.lines) line.y = curve(block, line.y);
    for (const band of doc.bands) {
      band.low = curve(block, band.low);
      band.high = curve(block, band.high);
    }
  }
  return page;
}
