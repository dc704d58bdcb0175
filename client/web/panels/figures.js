// Figures as people read them: two digits that mean something, never an exponent.

/** The figures of one reply, in one line. */
export function statsInWords(stats) {
  return [
    `${stats.tokens} tokens`,
    `first after ${figure(stats.ttft_ms / 1000)} s`,
    `${figure(stats.tokens_per_s)} tokens/s`,
    dollars(stats.used.usd),
    `${figure(stats.used.mwh)} mWh`,
  ].join(" · ");
}

/** A likely value with its bounds. */
export function within(likely, [low, high], unit, times = 1) {
  return `${figure(likely * times)} ${unit} (${figure(low * times)} to ${figure(high * times)})`;
}

export function dollars(usd) {
  return `$${usd >= 0.01 || usd === 0 ? usd.toFixed(2) : Number(usd.toPrecision(2)).toLocaleString("en", { maximumFractionDigits: 9 })}`;
}

export function figure(value) {
  const rounded = value >= 100 ? Math.round(value) : Number(value.toPrecision(2));
  return rounded.toLocaleString("en", { maximumFractionDigits: 9 });
}
