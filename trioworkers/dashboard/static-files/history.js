// The last minute of each bot, for sparklines: updates per second and latency, one sample a second.
// What it takes is bounded: two arrays of 60 numbers for each bot.

export const LENGTH = 60;
const SMOOTH = 5; // samples that each shown rate is the mean of: half an update a second is no zigzag

class Series {
  constructor() {
    this.rates = new Float32Array(LENGTH);
    this.last = new Float32Array(SMOOTH); // as they were counted, by the sample's number
    this.samples = 0;
    this.latencies = new Float32Array(LENGTH).fill(NaN);
    this.filled = 0;
    this.messages = null;
    this.rate = null; // updates per second over the last samples; null until there is one
  }

  push(rate, latency) {
    this.last[this.samples % SMOOTH] = rate;
    this.samples += 1;
    const among = Math.min(SMOOTH, this.samples);
    this.rate = this.last.reduce((sum, one) => sum + one, 0) / among;
    this.rates.copyWithin(0, 1);
    this.latencies.copyWithin(0, 1);
    this.rates[LENGTH - 1] = this.rate;
    this.latencies[LENGTH - 1] = latency ?? NaN;
    this.filled = Math.min(LENGTH, this.filled + 1);
  }
}

export class History {
  constructor() {
    this.total = new Series();
    this.series = new Map();
    this.sampledAt = null;
  }

  of(bot) {
    return this.series.get(bot);
  }

  // Takes a sample of all rows. `now`: milliseconds of a clock that never goes back.
  sample(rows, now) {
    const seconds = this.sampledAt === null ? 1 : Math.max(0.2, (now - this.sampledAt) / 1000);
    this.sampledAt = now;
    let all = 0;
    let isFirst = true;
    for (const [bot, row] of rows) {
      let series = this.series.get(bot);
      if (!series) this.series.set(bot, (series = new Series()));
      if (series.messages !== null) {
        // counted from anew after a restart of the daemon
        const rate = Math.max(0, row.messages - series.messages) / seconds;
        series.push(rate, row.latency_ms);
        all += rate;
        isFirst = false;
      }
      series.messages = row.messages;
    }
    if (!isFirst) this.total.push(all, null);
    if (this.series.size > rows.size) {
      for (const bot of this.series.keys()) if (!rows.has(bot)) this.series.delete(bot);
    }
  }

  // What was counted before does not go on: a gap, or another daemon.
  interrupt() {
    this.sampledAt = null;
    for (const series of this.series.values()) series.messages = null;
  }
}
