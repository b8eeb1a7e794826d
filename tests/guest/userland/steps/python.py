# Only what python3-minimal has
import hashlib
import re
import struct
import threading
import zlib


def rnd():
    state = 42
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        yield state >> 33


numbers = rnd()
values = [next(numbers) for _ in range(100_000)]
print(hashlib.sha256(b"".join(struct.pack("<I", value) for value in sorted(values))).hexdigest())
print(zlib.crc32(bytes(value & 255 for value in values)), pow(3, 10**50 + 7, 10**40 + 121))

text = " ".join(f"{value:x}" for value in values[:20000])
print(len(re.findall(r"\b(?:[a-f]\d)+[0-9a-f]*\b", text)), hashlib.md5(re.sub(r"(\d)([a-f])", r"\2\1", text).encode()).hexdigest())

packed = zlib.compress(text.encode(), 9)
assert zlib.decompress(packed).decode() == text
print(len(packed))


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


print(fibonacci(22), sum(i * i % 7 for i in range(300_000)))
print(f"{sum((1 + 1 / i) ** i for i in range(1, 50_000)):.6f}", repr(0.1 + 0.2), repr(1e308 * 10), 7.5.hex())

lock, total = threading.Lock(), 0


def work():
    global total
    for _ in range(20_000):
        with lock:
            total += 1


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(total)

try:
    [].pop()
except IndexError as error:
    print(type(error).__name__, error)
