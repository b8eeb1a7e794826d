"""scripts/bench io: fio in a Debian guest, on a virtio disk whose image is in the host's page cache, beside QEMU's TCG."""

import json

import rates

# name, fio's settings, what of its report is the sample
WORK = (
    ("rand-read", "--rw=randread --bs=4k --iodepth=32", "IOPS"),
    ("rand-read-1", "--rw=randread --bs=4k --iodepth=1", "IOPS"),
    ("rand-write", "--rw=randwrite --bs=4k --iodepth=32", "IOPS"),
    ("rand-write-1", "--rw=randwrite --bs=4k --iodepth=1", "IOPS"),
    ("seq-read", "--rw=read --bs=1M --iodepth=8", "MB/s"),
    ("seq-write", "--rw=write --bs=1M --iodepth=8", "MB/s"),
)


def fio(settings, seconds):
    return (f"fio --name=row --filename=/dev/vdb --direct=1 --ioengine=libaio {settings} --time_based --ramp_time=1 "
            f"--runtime={seconds:g} --output-format=json")


def into_page_cache(path):
    """A host that is short of memory, or reclaims what has not been used for a while, may have dropped it."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 20):
            pass


def sampler(settings, unit, seconds):
    def sample(guests, name):
        into_page_cache(guests.data[name])
        answer = guests.ask(name, fio(settings, seconds))
        job = json.loads(answer[answer.index("{"):])["jobs"][0]
        direction = job["write" if "write" in settings else "read"]
        return direction["iops"] if unit == "IOPS" else direction["bw_bytes"] / 1e6

    return sample


def run(options):
    rows = [rates.Row(name, unit, True, sampler(settings, unit, options.seconds)) for name, settings, unit in WORK]
    return rates.run("io", rows, options)
