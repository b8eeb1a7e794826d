"""scripts/bench net: TCP to and from the host, and pings, through the user network, beside QEMU's TCG."""

import contextlib
import json
import re
import subprocess
import time

import engines
import rates
from debian_guests import Failure, free_port

HOST = "10.0.2.2"  # the host's loopback, as the guest sees it


@contextlib.contextmanager
def server(*command):
    """A program of the host that listens at PORT of the loopback, from when this is entered. Gives the port."""
    port = free_port()
    command = [word.replace("PORT", str(port)) for word in command]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # pylint: disable=consider-using-with
    try:
        deadline = time.monotonic() + 10
        while f":{port} " not in subprocess.run(["ss", "-Hltn"], stdout=subprocess.PIPE, text=True, check=True).stdout:
            if process.poll() is not None or time.monotonic() > deadline:
                raise engines.CannotMeasure(f"{command[0]} does not listen", f"Run it by hand to see why: {' '.join(command)}")
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def tcp(options, port, extra):
    def sample(guests, name):
        answer = guests.ask(name, f"iperf3 --client {HOST} --port {port} --time {options.seconds:g} --omit 1 --json {extra}")
        report = json.loads(answer)
        if "error" in report:
            raise Failure(report["error"])
        return report["end"]["sum_received"]["bits_per_second"] / 1e6

    return sample


def ping(guests, name):
    """The median of a hundred, in microseconds."""
    answer = guests.ask(name, f"ping -c 120 -i 0.01 {HOST}")
    times = sorted(float(value) for value in re.findall(r"time=([\d.]+) ms", answer)[20:])
    if len(times) < 100:
        raise Failure(f"of 120 pings {len(times) + 20} came back")
    return times[len(times) // 2] * 1000


def tcp_ping(port):
    """Round trips of one byte over TCP: what a database's client waits for."""
    program = (f"import socket,time\ns=socket.create_connection(('{HOST}',{port}))\ns.setsockopt(6,1,1)\nr=[]\n"
               "for _ in range(300):\n t=time.perf_counter(); s.send(b'x'); s.recv(1); r.append(time.perf_counter()-t)\n"
               "print(sorted(r)[150]*1e6)")

    def sample(guests, name):
        return float(guests.ask(name, f'python3 -c "{program}"'))

    return sample


def run(options):
    for program, package in (("iperf3", "iperf3"), ("socat", "socat"), ("ss", "iproute2")):
        engines.require(program, package)
    iperf_server = server("iperf3", "--server", "--bind", "127.0.0.1", "--port", "PORT")
    echo_server = server("socat", "TCP-LISTEN:PORT,bind=127.0.0.1,fork,nodelay", "PIPE")  # one process, no more to wake than must be
    with iperf_server as iperf, echo_server as echo:
        rows = [
            rates.Row("tcp-to-host", "Mbit/s", True, tcp(options, iperf, "")),
            rates.Row("tcp-from-host", "Mbit/s", True, tcp(options, iperf, "--reverse")),
            rates.Row("tcp-round-trip", "us", False, tcp_ping(echo)),
            rates.Row("ping", "us", False, ping),
        ]
        return rates.run("net", rows, options)
