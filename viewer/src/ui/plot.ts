// A minute of one figure as a small line: pure.

export interface Figure {
  /** Seconds ago. */
  ageS: number;
  value: number | undefined;
}

export const SPAN_S = 60;

/** An SVG path in a box of `width` by `height`: the newest at the right, a gap where nothing was known. The highest value is at the top. */
export function line(figures: readonly Figure[], width: number, height: number): string {
  const top = Math.max(...figures.map(({ value }) => value ?? 0), 0);
  let path = '';
  let open = false;
  let before = Infinity;
  for (const { ageS, value } of figures) {
    if (value === undefined || !Number.isFinite(value) || ageS > SPAN_S || ageS < 0) {
      open = false;
      continue;
    }
    const x = width * (1 - ageS / SPAN_S);
    const y = height - (top > 0 ? (height * Math.max(0, value)) / top : 0);
    path += `${open && before - ageS < 3 ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    open = true;
    before = ageS;
  }
  return path;
}

/** The least, the most and the newest of those that are known. */
export function range(figures: readonly Figure[]): { least: number; most: number; last: number } | undefined {
  const known = figures.flatMap(({ value, ageS }) => (value === undefined || !Number.isFinite(value) || ageS > SPAN_S ? [] : [value]));
  const last = known.at(-1);
  return last === undefined ? undefined : { least: Math.min(...known), most: Math.max(...known), last };
}
