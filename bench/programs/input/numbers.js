// What a JIT compiles: typed arrays, objects of one shape, closures, and collections that make garbage.
'use strict';

function sieve(limit) {
  const crossedOut = new Uint8Array(limit);
  let primes = 0;
  for (let n = 2; n < limit; ++n) {
    if (crossedOut[n]) continue;
    ++primes;
    for (let multiple = 2 * n; multiple < limit; multiple += n) crossedOut[multiple] = 1;
  }
  return primes;
}

class Point {
  constructor(x, y) {
    this.x = x;
    this.y = y;
  }
  plus(other) {
    return new Point(this.x + other.x, this.y + other.y);
  }
}

function walk(steps) {
  let at = new Point(0, 0);
  let state = 1;
  for (let i = 0; i < steps; ++i) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    at = at.plus(new Point((state >>> 16) % 3 - 1, (state >>> 20) % 3 - 1));
  }
  return at;
}

function words(count) {
  const seen = new Map();
  for (let i = 0; i < count; ++i) {
    const word = `word ${(i * 7919) % 5003}`;
    seen.set(word, (seen.get(word) || 0) + 1);
  }
  return [...seen].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3);
}

function escape(size) {
  let inside = 0;
  for (let row = 0; row < size; ++row) {
    for (let column = 0; column < size; ++column) {
      const real = (3 * column) / size - 2;
      const imaginary = (2 * row) / size - 1;
      let x = 0, y = 0, n = 0;
      while (n < 50 && x * x + y * y < 4) {
        [x, y] = [x * x - y * y + real, 2 * x * y + imaginary];
        ++n;
      }
      if (n === 50) ++inside;
    }
  }
  return inside;
}

console.log(sieve(3000000), JSON.stringify(walk(3000000)), JSON.stringify(words(200000)), escape(300));
