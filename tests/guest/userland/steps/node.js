// JavaScript that V8 compiles, compiles again with what it has learnt, and throws away when that turns out wrong.
const crypto = require('crypto');
const { Worker } = require('worker_threads');

function random(seed) {
  let s = seed | 0;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return s >>> 0;
  };
}

function integers() {
  const next = random(1);
  let h = 0;
  for (let i = 0; i < 3e6; i++) h = (Math.imul(h ^ next(), 0x85ebca6b) + i) | 0;
  return h;
}

function mandelbrot(size) {
  let inside = 0;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const cr = (2 * x) / size - 1.5, ci = (2 * y) / size - 1;
      let r = 0, i = 0, n = 0;
      for (; n < 200 && r * r + i * i < 4; n++) [r, i] = [r * r - i * i + cr, 2 * r * i + ci];
      if (n === 200) inside++;
    }
  }
  return inside;
}

// The shapes change under compiled code: integers, then floats, strings, objects
function shapes() {
  const add = (a, b) => a + b;
  const out = [];
  for (let i = 0; i < 200000; i++) add(i, 1);
  for (let i = 0; i < 1000; i++) out.push(add(i, 0.5), add('x', i), add(2n ** 70n, BigInt(i)));
  class Point { constructor(x) { this.x = x; if (x % 3 === 0) this.y = x; } get sum() { return this.x + (this.y || 0); } }
  let sum = 0;
  for (let i = 0; i < 300000; i++) sum += new Point(i).sum;
  return crypto.createHash('sha256').update(out.join(',')).digest('hex') + ' ' + sum;
}

function arrays() {
  const next = random(7), list = Array.from({ length: 200000 }, next);
  list.sort((a, b) => a - b);
  const typed = Float64Array.from(list, (v) => v / 3);
  let sum = 0;
  for (let n = 0; n < 10; n++) for (let i = 0; i < typed.length; i++) sum += typed[i] * (i & 3);
  const map = new Map();
  for (const v of list) map.set(v % 5003, (map.get(v % 5003) || 0) + 1);
  return `${list[1000]} ${sum.toFixed(2)} ${map.size} ${[...map.values()].reduce((a, b) => a ^ b)}`;
}

function strings() {
  const next = random(9);
  let text = '';
  for (let i = 0; i < 30000; i++) text += next().toString(36) + ' ';
  const found = text.match(/\b[a-m]+\d[a-z0-9]*\b/g).length;
  const object = JSON.parse(JSON.stringify({ text, list: text.split(' ').slice(0, 5000) }));
  return `${found} ${object.list.length} ${crypto.createHash('md5').update(object.text.replace(/(\d)([a-z])/g, '$2$1')).digest('hex')}`;
}

function exceptions() {
  let caught = 0;
  const deep = (n) => { if (n === 0) throw new RangeError('deep'); return deep(n - 1) + 1; };
  for (let i = 0; i < 20000; i++) {
    try { deep(i % 50); } catch (e) { if (e instanceof RangeError) caught++; }
  }
  function* numbers() { for (let i = 0; ; i++) yield i; }
  let sum = 0;
  for (const n of numbers()) { if (n > 100000) break; sum += n; }
  return `${caught} ${sum}`;
}

// New functions all the time: much code, each little used
function compile() {
  let sum = 0;
  for (let i = 0; i < 3000; i++) {
    const f = new Function('a', `let s = ${i}; for (let k = 0; k < 50; k++) s = (s * ${(i % 7) + 2} + a) % 1000003; return s;`);
    sum += f(i) + f(i + 1);
  }
  return sum;
}

// (module (func (export "f") (param i32) (result i32) ...)): the sum of squares below n, in a loop
async function wasm() {
  const bytes = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 7, 5, 1, 1, 102, 0, 0, 10, 33, 1, 31, 1, 2, 127,
    3, 64, 32, 1, 32, 2, 32, 2, 108, 106, 33, 1, 32, 2, 65, 1, 106, 34, 2, 32, 0, 72, 13, 0, 11, 32, 1, 11]);
  const { instance } = await WebAssembly.instantiate(bytes);
  let sum = 0;
  for (let i = 0; i < 100; i++) sum = (sum + instance.exports.f(20000 + i)) | 0;
  return sum;
}

function workers() {
  const shared = new Int32Array(new SharedArrayBuffer(8));
  const source = `const { workerData: a } = require('worker_threads'); for (let i = 0; i < 200000; i++) Atomics.add(a, 0, 1);`;
  const one = () => new Promise((done, fail) => new Worker(source, { eval: true, workerData: shared }).on('exit', done).on('error', fail));
  return Promise.all([one(), one(), one()]).then(() => shared[0]);
}

(async () => {
  console.log('integers', integers());
  console.log('mandelbrot', mandelbrot(300));
  console.log('shapes', shapes());
  console.log('arrays', arrays());
  console.log('strings', strings());
  console.log('exceptions', exceptions());
  console.log('compile', compile());
  console.log('wasm', await wasm());
  console.log('workers', await workers());
})();
