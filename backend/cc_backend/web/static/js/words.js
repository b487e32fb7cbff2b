// Numbers and times as the server writes them.

const THIN = "\u202f";

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
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
}

export function spanLabel(seconds, step) {
  const s = Math.round(seconds);
  if (s === 0) return "0";
  if (step < 60) return `${s} s`;
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) if (s >= size && s % size === 0) return `${s / size} ${name}`;
  if (s > 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)}`;
  return s >= 60 ? `${Math.round(s / 6) / 10} min` : `${s} s`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

// `local` is Unix time plus the offset of the server's zone, so its UTC fields are the server's local ones.
export function clockLabel(local, step) {
  const then = new Date(local * 1000);
  const midnight = then.getUTCHours() === 0 && then.getUTCMinutes() === 0;
  if (midnight || step >= 86400) return `${then.getUTCDate()} ${MONTHS[then.getUTCMonth()]}`;
  const clock = `${two(then.getUTCHours())}:${two(then.getUTCMinutes())}`;
  return step < 60 ? `${clock}:${two(then.getUTCSeconds())}` : clock;
}
