"""Measures many accounts in one process over real sockets; scripts/bench --accounts starts it.

The simulator, in a process of its own, has fourteen rows for each account. The exporter polls all accounts for the first
time, rests, is started again on its state directory, and polls all of them again after five minutes. From that follows
what a poll costs: it signs in, because access tokens end within the hour, and afterwards everything that scrapes ask for
is prepared again. An hour has the polls that the default poll_interval makes of it. The result is a table in Markdown, on
stdout; progress goes to stderr.
"""

import argparse
import collections
import contextlib
import gzip
import json
import pathlib
import re
import subprocess
import tempfile
import time

from bench import account, free_port, get, progress, resident, stop, wait_for
from customers import peak_memory, processor_time

SIZES = [100, 300, 1_000]
ROWS = 14
# The default poll_interval, from which the polls of an hour follow.
INTERVAL = 6  # hours
# How long it rests.
REST = 60  # seconds
# The pause between two scrapes of an exporter that rests, and of one that polls.
SCRAPES, SCRAPES_OF_POLLS = 15, 1  # seconds
TITLES = ["accounts", "first scrape", "all polled", "memory", "peak", "processor: an hour of rest", "a poll", "an hour"]
TITLES += ["most polls planned in a minute", "scrape while it polls, p50", "p99", "longest", "stop", "all rows after a restart"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exporter", type=pathlib.Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    arguments = parser.parse_args()
    print("|", " | ".join(TITLES), "|")
    print("|", " | ".join("---" for _ in TITLES), "|")
    for count in arguments.sizes:
        progress(f"{count:,} accounts")
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
            cells = Measurement(count, arguments.exporter, pathlib.Path(directory), stack).cells()
            print("|", " | ".join(cells), "|", flush=True)


class Measurement:
    """One row of the table."""

    def __init__(self, count, exporter, directory, stack):
        self.count, self.exporter, self.directory, self.stack = count, exporter, directory, stack
        self.simulated, self.port, self.times = free_port(), free_port(), []

    def cells(self):
        (self.directory / "scenario.json").write_text(json.dumps({"rows": "portfolio"}))
        address = f"127.0.0.1:{self.simulated}"
        self.run("simulate", f"--simulator.listen-address={address}", f"--scenario={self.directory}/scenario.json")
        wait_for(lambda: get(self.simulated, "identity", "/simulator/scenario")[0] == 200, "the simulator")

        began = time.monotonic()
        process = self.serve(f"{INTERVAL}h")
        first_scrape = self.first_scrape(began)
        self.scrape_until(lambda: self.polls() >= self.count, SCRAPES_OF_POLLS)
        polled = time.monotonic() - began
        planned = collections.Counter(int(at) // 60 for at in self.values("next_scrape_timestamp_seconds"))
        before, end = processor_time(process), time.monotonic() + REST
        self.scrape_until(lambda: time.monotonic() > end, SCRAPES)
        rest = (processor_time(process) - before) / (time.monotonic() - end + REST)
        memory, peak = resident(process), peak_memory(process)
        began = time.monotonic()
        stop(process)
        stopped = time.monotonic() - began

        began = time.monotonic()
        process = self.serve("5min")
        restarted = self.first_scrape(began)
        assert len(self.values("usage_percent")) == self.count * ROWS, "rows are missing after the restart"
        while not self.polls():
            time.sleep(1)
        already, before, began = self.polls(), processor_time(process), time.monotonic()
        times = self.scrape_until(lambda: self.polls() >= self.count, SCRAPES_OF_POLLS)
        busy = processor_time(process) - before - rest * (time.monotonic() - began)
        poll = busy / (self.count - already)
        peak = max(peak, peak_memory(process))
        times.sort()
        return [
            f"{self.count:,}",
            f"{first_scrape:.2f} s",
            f"{polled:.0f} s",
            f"{memory:.0f} MB",
            f"{peak:.0f} MB",
            f"{rest * 3600:.1f} s",
            f"{poll * 1000:.1f} ms",
            f"{rest * 3600 + poll * self.count / INTERVAL:.1f} s",
            f"{max(planned.values())}",
            f"{times[len(times) // 2] * 1000:.1f} ms",
            f"{times[len(times) * 99 // 100] * 1000:.1f} ms",
            f"{times[-1] * 1000:.1f} ms",
            f"{stopped:.2f} s",
            f"{restarted:.2f} s",
        ]

    def run(self, *command):
        log = self.stack.enter_context(open(self.directory / "log", "ab"))
        process = subprocess.Popen([self.exporter, *command], stdout=log, stderr=log)
        self.stack.callback(stop, process)
        return process

    def serve(self, interval):
        accounts = [account(number, self.simulated) for number in range(self.count)]
        config = {"accounts": accounts, "state_directory": str(self.directory / "state"), "poll_interval": interval}
        (self.directory / "config.yml").write_text(json.dumps(config))
        return self.run(f"--config.file={self.directory}/config.yml", f"--web.listen-address=127.0.0.1:{self.port}")

    def first_scrape(self, began):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                assert get(self.port, "gzip")[0] == 200
                return time.monotonic() - began
            time.sleep(0.01)

    def scrape_until(self, condition, pause):
        """Scrapes until the condition is met; returns how long each scrape took."""
        self.times = []
        while not condition():
            self.values("up")
            time.sleep(pause)
        return self.times

    def values(self, name):
        _, body, took = get(self.port, "gzip")
        self.times.append(took)
        return [float(it) for it in re.findall(rf"^partner_license_{name}{{.*}} (\S+)$", gzip.decompress(body).decode(), re.MULTILINE)]

    def polls(self):
        return sum(self.values("scrapes_total"))


if __name__ == "__main__":
    main()
