// Numbers and times as the server writes them.

const THIN = "\u202f";
const NO_BREAK = "\u00a0";
const HOUR_S = 3600;
const DAY_S = 24 * HOUR_S;

export function number(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "\u2013";
  const size = Math.abs(value);
  const places = digits ?? (size >= 100 || value === 0 ? 0 : size >= 10 ? 1 : 2);
  const [whole, rest] = size.toFixed(places).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN);
  return (value < 0 ? "-" : "") + grouped + (rest ? `.${rest}` : "");
}

// Five significant digits: what a curve in binary form has more is not worth reading.
export const short = (value) => (Number.isFinite(value) ? Number(value.toPrecision(5)) : null);

export function digitsFor(ticks) {
  for (let digits = 0; digits < 4; digits += 1)
    if (ticks.every((tick) => Math.abs(Number(tick.toFixed(digits)) - tick) < 1e-9 * Math.max(1, Math.abs(tick))))
      return digits;
  return 4;
}

const two = (value) => String(value).padStart(2, "0");

export function runTime(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return [s, "s"].join(NO_BREAK);
  if (s < 3600) return [Math.floor(s / 60), "min"].join(NO_BREAK);
  return [Math.floor(s / 3600), "h", two(Math.floor((s % 3600) / 60)), "min"].join(NO_BREAK);
}

export function spanLabel(seconds, step) {
  const s = Math.round(seconds);
  if (s === 0) return "0";
  if (step < 60) return `${s} s`;
  if (s < 60) return `${s} s`;
  if (s < HOUR_S) return `${Math.round(s / 6) / 10} min`;
  const [size, name, part] = s < DAY_S ? [HOUR_S, "h", 60] : [DAY_S, "d", HOUR_S];
  const rest = Math.floor((s % size) / part);
  return `${Math.floor(s / size)} ${name}${rest ? ` ${two(rest)}` : ""}`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// The zone's offset at a moment; `offsets` are pairs of since when and how many seconds ahead of UTC, in order.
export function offsetAt(offsets, time) {
  let found = offsets[0][1];
  for (const [since, offset] of offsets) if (since <= time) found = offset;
  return found;
}

const dayOf = (offsets, time) => Math.floor((time + offsetAt(offsets, time)) / DAY_S);

// When the day begins that this local midnight should begin: where the midnight is skipped, at the change of the clock.
const beginOf = (offsets, midnight) => offsets.slice(1).map(([since]) => since)
  .filter((since) => dayOf(offsets, since) === midnight / DAY_S && dayOf(offsets, since - 1) < midnight / DAY_S);

// The moments between two others at which the clock shows a round time; what a change of the clock skips is left out,
// an hour that comes twice is there twice where the steps are shorter.
export function clockSplits(offsets, min, max, step) {
  const found = [];
  const last = max + offsetAt(offsets, max) + 2 * HOUR_S + step;
  for (let local = Math.ceil((min + offsetAt(offsets, min) - 2 * HOUR_S) / step) * step; local <= last; local += step) {
    let times = [...new Set(offsets.map(([, offset]) => local - offset))].sort((a, b) => a - b)
      .filter((one) => one + offsetAt(offsets, one) === local);
    if (!times.length && local % DAY_S === 0) times = beginOf(offsets, local);
    times = times.filter((one) => one >= min && one <= max);
    found.push(...(step < HOUR_S ? times : times.slice(0, 1)));
  }
  return [...new Set(found)].sort((a, b) => a - b);
}

// A moment with its day where that is not today's: `14:02`, `25 Oct 14:02`.
export function momentLabel(time, offsets, now) {
  const [then, today] = [time, now].map((one) => new Date((one + offsetAt(offsets, one)) * 1000));
  const clock = `${two(then.getUTCHours())}:${two(then.getUTCMinutes())}:${two(then.getUTCSeconds())}`.replace(/:00$/, "");
  const same = then.toISOString().slice(0, 10) === today.toISOString().slice(0, 10);
  return same ? clock : `${then.getUTCDate()} ${MONTHS[then.getUTCMonth()]} ${clock}`;
}

// What stands at a moment of the axis: the day where a day begins, else the time.
export function axisLabel(time, offsets, step) {
  const begins = dayOf(offsets, time - 1) < dayOf(offsets, time);
  return clockLabel(time + offsetAt(offsets, time), begins ? DAY_S : step);
}

// `local` is Unix time plus the offset of the server's zone, so its UTC fields are the server's local ones.
export function clockLabel(local, step) {
  const then = new Date(local * 1000);
  const midnight = then.getUTCHours() === 0 && then.getUTCMinutes() === 0;
  if (midnight || step >= 86400) return `${then.getUTCDate()} ${MONTHS[then.getUTCMonth()]}`;
  const clock = `${two(then.getUTCHours())}:${two(then.getUTCMinutes())}`;
  return step < 60 ? `${clock}:${two(then.getUTCSeconds())}` : clock;
}
