/* The Jansen-Rit model in plain JavaScript: what jrlib.simulate, jrlib.simulate_erp and
   jrlib.sensitivity.relative_sensitivity compute for one column, for pages that answer at once.

   Units are mV, s and 1/s. theta holds A_e A_i b_e b_i a_1 a_2 a_3 a_4 C, a convention v_max, v_0 and
   r, and a protocol the fields of jrlib.Protocol. tests/test_pages.py compares with jrlib. */
"use strict";

window.JansenRit = (() => {
  const N_STATES = 6;
  const SETTLED = 1e-9; // as in jrlib.protocol: part of its range by which a settled trial may move
  const STEP = 1e-3; // as in jrlib.sensitivity: relative step of the central differences

  /* One step of the classical Runge-Kutta method: returns step(y, u), which moves the state y
     (6 numbers) on by dt under the drive u (3 numbers), held constant meanwhile. */
  function integrator(theta, convention, dt) {
    const [A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C] = theta;
    const { v_max, v_0, r } = convention;
    const [k1, k2, k3, k4, at] = Array.from({ length: 5 }, () => new Float64Array(N_STATES));

    function rate(v) {
      return v_max / (1 + Math.exp(r * (v_0 - v)));
    }

    function derivative(y, u, out) {
      out[0] = y[3];
      out[1] = y[4];
      out[2] = y[5];
      out[3] = A_e * b_e * (u[0] + rate(y[1] - y[2])) - 2 * b_e * y[3] - b_e * b_e * y[0];
      out[4] =
        A_e * b_e * (u[1] + C * a_2 * rate(C * a_1 * y[0])) - 2 * b_e * y[4] - b_e * b_e * y[1];
      out[5] =
        A_i * b_i * (u[2] + C * a_4 * rate(C * a_3 * y[0])) - 2 * b_i * y[5] - b_i * b_i * y[2];
    }

    function move(y, h, k) {
      for (let i = 0; i < N_STATES; i++) at[i] = y[i] + h * k[i];
      return at;
    }

    return function step(y, u) {
      derivative(y, u, k1);
      derivative(move(y, dt / 2, k1), u, k2);
      derivative(move(y, dt / 2, k2), u, k3);
      derivative(move(y, dt, k3), u, k4);
      for (let i = 0; i < N_STATES; i++) y[i] += (dt / 6) * (k1[i] + 2 * (k2[i] + k3[i]) + k4[i]);
    };
  }

  /* y_1 - y_2 (n_steps numbers) from the zero state; sample 0 is that state.
     drive: n_steps triples, each held over one step. */
  function simulate(theta, drive, convention, dt = 1e-3) {
    const step = integrator(theta, convention, dt);
    const y = new Float64Array(N_STATES);
    return Float64Array.from(drive, (u) => {
      const sample = y[1] - y[2];
      step(y, u);
      return sample;
    });
  }

  /* A protocol's durations in steps. `first` is the step at which the first epoch begins. */
  function plan(protocol) {
    const steps = (seconds) => Math.round(seconds / protocol.dt);
    const start = steps(protocol.epoch[0]);
    const first = steps(protocol.transient);
    return {
      first,
      onset: first - start,
      period: steps(protocol.isi),
      width: steps(protocol.pulse_width),
      length: steps(protocol.epoch[1]) - start + 1,
      baseline: [steps(protocol.baseline[0]) - start, steps(protocol.baseline[1]) - start + 1],
    };
  }

  /* Times of the epoch's samples relative to the pulse, s. */
  function times(protocol) {
    const { first, onset, length } = plan(protocol);
    return Float64Array.from({ length }, (_, i) => (first - onset + i) * protocol.dt);
  }

  let recording = new Float64Array(0); // all states of the train; kept, as it takes megabytes

  /* The evoked response: the average over the train's epochs, less its mean over the baseline.

     When no sample of a trial has moved from the one before by more than SETTLED of its range, that
     trial stands for all that would follow, as in jrlib; otherwise all n_trials are simulated.
     Returns erp (mV), states (the last simulated epoch, six numbers a sample), trials (how many were
     simulated) and settled. */
  function erp(theta, protocol, convention) {
    const { first, onset, period, width, length, baseline } = plan(protocol);
    const n = protocol.n_trials;
    const size = N_STATES * (first + (n - 1) * period + length);
    if (recording.length < size) recording = new Float64Array(size);
    const states = recording;
    const potential = (i) => states[N_STATES * i + 1] - states[N_STATES * i + 2];

    const step = integrator(theta, convention, protocol.dt);
    const y = new Float64Array(N_STATES);
    const off = [0, protocol.background, 0];
    const on = protocol.pulse.map((height, k) => height + off[k]);
    const total = new Float64Array(length);
    let now = 0;
    let trial = 0;
    let settled = false;
    for (; trial < n && !settled; trial++) {
      const begin = first + trial * period;
      for (; now < begin + length; now++) {
        states.set(y, N_STATES * now);
        step(y, now >= onset && (now - onset) % period < width ? on : off);
      }
      let low = Infinity;
      let high = -Infinity;
      let change = 0;
      for (let i = 0; i < length; i++) {
        const sample = potential(begin + i);
        low = Math.min(low, sample);
        high = Math.max(high, sample);
        if (trial) change = Math.max(change, Math.abs(sample - potential(begin + i - period)));
        total[i] += sample;
      }
      settled = trial > 0 && change <= SETTLED * (high - low);
    }
    const begin = first + (trial - 1) * period;
    const average = total.map((sum, i) => (sum + (n - trial) * potential(begin + i)) / n);
    const rest = mean(average.subarray(...baseline));
    return {
      erp: average.map((value) => value - rest),
      states: states.slice(N_STATES * begin, N_STATES * (begin + length)),
      trials: trial,
      settled,
    };
  }

  /* rms(d response / d ln parameter) / rms(response) for the nine parameters, by central differences
     of fourth order. A generator that yields after every response, so that a page can stay awake;
     it returns the nine numbers. */
  function* sensitivitySteps(theta, protocol, convention) {
    const reference = rms(erp(theta, protocol, convention).erp);
    const weights = [
      [-2, 1],
      [-1, -8],
      [1, 8],
      [2, -1],
    ];
    const found = [];
    for (let k = 0; k < theta.length; k++) {
      const gradient = new Float64Array(plan(protocol).length);
      for (const [shift, weight] of weights) {
        const shifted = theta.map((value, i) => (i === k ? value * (1 + shift * STEP) : value));
        const response = erp(shifted, protocol, convention).erp;
        for (let i = 0; i < gradient.length; i++)
          gradient[i] += (weight * response[i]) / (12 * STEP);
        yield;
      }
      found.push(rms(gradient) / reference);
    }
    return found;
  }

  function sensitivities(theta, protocol, convention) {
    const steps = sensitivitySteps(theta, protocol, convention);
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
    }
  }

  /* Variance of each sample of the average when the recording's noise is white with variance 1: the
     diagonal of jrlib.protocol.averaging_covariance. Epochs longer than the interval between pulses
     share samples; subtracting the baseline's mean adds its variance to all samples. */
  function averagingVariance(protocol) {
    const { period, length, baseline } = plan(protocol);
    const n = protocol.n_trials;
    const shared = (lag) => (lag % period ? 0 : Math.max(0, n - lag / period) / (n * n));
    const before = Array.from({ length: baseline[1] - baseline[0] }, (_, i) => baseline[0] + i);
    const withBaseline = (i) => mean(before.map((j) => shared(Math.abs(i - j))));
    const ofBaseline = mean(before.map(withBaseline));
    return Float64Array.from({ length }, (_, i) => shared(0) - 2 * withBaseline(i) + ofBaseline);
  }

  function mean(values) {
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  }

  function rms(values) {
    return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
  }

  return { simulate, erp, times, sensitivities, sensitivitySteps, averagingVariance, rms };
})();
