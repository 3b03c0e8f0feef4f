"""Measures polls of customers over real sockets; scripts/bench --customers starts it.

The simulator, in a process of its own, has customers with ten workloads and ten products each. The exporter polls all of
them once, writes its state file, and is started again on it; it is scraped all the time. Then the pages of customers are
asked for in every order and with every kind of filter. The largest number of customers is polled once more with prices,
so that the licences are kept by product. Before all that, `fetch customers` prints all rows in each format. The results
are three tables in Markdown, on stdout; progress goes to stderr.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

from bench import account, free_port, get, progress, resident, stop, wait_for

WORKLOADS = PRODUCTS = 10
SIZES = [10, 100, 1_000, 10_000]
# How long the exporter is scraped after its file was written, and left alone before its memory is read.
AFTERWARDS = 1  # second
TITLES = ["rows of usage", "rows kept", "poll", "processor", "state file", "restored after", "peak memory", "memory after"]
TITLES += ["scrapes meanwhile, p99", "longest"]
# The program should stay below these with a million rows.
PAGE_TITLES = ["rows", "pages asked for", "slowest page", "which", "CSV", "its size", "peak memory"]
PAGE_LIMITS = {"slowest page": 50, "CSV": 2}
# Rows by product are twice as many, since each product is in two channels.
MEMORY_LIMITS = {"workload": 100, "product": 200}
# Each page is asked for this often, of which the median counts.
REPETITIONS = 5
SORTS = {
    "workload": ["rank", "unused", "active", "qualified", "percent", "name", "workload", "service", "channel"],
    "product": ["cost", "unused", "active", "qualified", "name", "product", "channel"],
}
FILTERS = {
    "workload": ["", "customer=bakery", "customer=a", "workload=Teams", "channel=direct", "service=crm", "low=1"],
    "product": ["", "customer=bakery", "customer=a", "product=OFFICE+365+PLAN+E3", "channel=direct"],
}
# The program should stay below these as CSV. The time includes what the simulator takes for the pages.
FETCH_TITLES = ["format", "time", "output", "peak memory"]
FETCH_LIMITS = {"csv": {"time": 2, "peak memory": 100}}
LIMITS = {"peak memory": 250, "memory after": 120, "state file": 40, "scrapes meanwhile, p99": 20}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exporter", type=pathlib.Path)
    exporter = parser.parse_args().exporter
    failures, pages = [], []
    progress("fetch")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        # First, since the memory of a process counts from the one that starts it.
        fetched = list(measure_fetch(exporter, pathlib.Path(directory), stack))
    head(TITLES)
    for customers, has_prices in [*((size, False) for size in SIZES), (SIZES[-1], True)]:
        what = f"{customers:,} customers{' with prices' if has_prices else ''}"
        progress(what)
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
            cells, by, of_pages = measure(customers, exporter, pathlib.Path(directory), stack, has_prices)
            if has_prices:
                cells[0] += ", with prices"
            pages += [(by, of_pages)] if of_pages else []
            failures += row(TITLES, cells, LIMITS, what)
    print()
    head(PAGE_TITLES)
    for by, cells in pages:
        failures += row(PAGE_TITLES, cells, PAGE_LIMITS | {"peak memory": MEMORY_LIMITS[by]}, f"{cells[0]} rows")
    print()
    head(FETCH_TITLES)
    for cells in fetched:
        failures += row(FETCH_TITLES, cells, FETCH_LIMITS.get(cells[0], {}), f"fetch as {cells[0]}")
    if failures:
        sys.exit("\n".join(failures))


def head(titles):
    print("|", " | ".join(titles), "|")
    print("|", " | ".join("---" for _ in titles), "|", flush=True)


def row(titles, cells, limits, what):
    """Prints a row of a table, and returns what is above a limit."""
    print("|", " | ".join(cells), "|", flush=True)
    found = dict(zip(titles, cells, strict=True))
    above = [title for title, limit in limits.items() if float(found[title].split()[0]) > limit]
    return [f"bench: {title} of {what} is {found[title]}, more than {limits[title]}" for title in above]


def measure(customers, exporter, directory, stack, has_prices):
    """Returns the cells of a row of the table of polls, and of the table of pages: by product with prices."""
    simulated, port = free_port(), free_port()
    counts = {"count": customers, "products": PRODUCTS, "workloads": WORKLOADS}
    (directory / "scenario.json").write_text(json.dumps({"rows": "portfolio", "customers": counts}))
    config = {"accounts": [account(0, simulated)], "state_directory": str(directory / "state")}
    config["collections"] = {"customers": {"enabled": True}}
    if has_prices:
        price = {"per_month": 12.34, "currency": "EUR"}
        products = [f"OFFICE 365 PLAN E{n}" for n in range(1, PRODUCTS)]
        config["prices"] = [{"product": product, **price} for product in products]
    (directory / "config.yml").write_text(json.dumps(config))

    def start(*command):
        log = stack.enter_context(open(directory / "log", "ab"))
        process = subprocess.Popen([exporter, *command], stdout=log, stderr=log)
        stack.callback(stop, process)
        return process

    address = f"127.0.0.1:{simulated}"
    start("simulate", f"--simulator.listen-address={address}", f"--scenario={directory}/scenario.json")
    wait_for(lambda: get(simulated, "identity", "/simulator/scenario")[0] == 200, "simulator")
    serve = [f"--config.file={directory}/config.yml", f"--web.listen-address=127.0.0.1:{port}"]
    times = []

    def scrape():
        _, body, took = get(port, "identity")
        times.append(took * 1000)
        return body.decode()

    def is_published():
        return 'partner_license_customer_rows{account="contoso-0",state="published"}' in scrape()

    def file():
        return next((directory / "state").glob("customers-*.json"), None)

    process = start(*serve)
    wait_for(lambda: get(port, "identity")[0] == 200, "the exporter")
    # The poll and the writing of the file, without the time in which the simulator makes pages.
    times = []
    while not is_published():
        time.sleep(0.005)
    times = times[-1:]
    poll, rows = (value(scrape(), name) for name in ["scrape_duration_seconds", "rows"])
    processor = processor_time(process)
    while not file():
        scrape()
    for _ in range(20):
        scrape()
    peak = peak_memory(process)
    time.sleep(AFTERWARDS)
    memory = resident(process)
    size = file().stat().st_size / 1e6
    stop(process)

    began = time.monotonic()
    process = start(*serve)
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            body = get(port, "identity")[1]
            break
    restored = time.monotonic() - began
    assert b"partner_license_customer_qualified_licenses{" in body
    end = time.monotonic() + AFTERWARDS
    while time.monotonic() < end:
        scrape()
    peak = max(peak, peak_memory(process))
    memory = max(memory, resident(process))
    times.sort()
    cells = [
        f"{customers * WORKLOADS * PRODUCTS:,}",
        f"{rows:,.0f}",
        f"{poll:.2f} s",
        f"{processor:.2f} s",
        f"{size:.1f} MB",
        f"{restored:.2f} s",
        f"{peak:.0f} MB",
        f"{memory:.0f} MB",
        f"{times[len(times) * 99 // 100]:.1f} ms",
        f"{times[-1]:.1f} ms",
    ]
    by = "product" if has_prices else "workload"
    return cells, by, measure_pages(port, process, by) if customers == SIZES[-1] else None


def measure_pages(port, process, by):
    """Returns the cells of one row of the table of pages."""

    def ask(path):
        status, body, took = get(port, "identity", path)
        assert status == 200, (path, status)
        return body, took

    # Forgets what restoring the rows took.
    pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    slowest, which, number = 0, "", 0
    for filter in FILTERS[by]:
        for sort in SORTS[by]:
            # The first page, one in the middle and the last one.
            for page in [1, 500, 1_000_000]:
                path = f"/customers?by={by}&sort={sort}&page={page}&{filter}"
                took = sorted(ask(path)[1] for _ in range(REPETITIONS))[REPETITIONS // 2]
                number += 1
                if took > slowest:
                    slowest, which = took, f"`sort={sort}&page={page}&{filter}`"
    began = time.monotonic()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/customers.csv?by={by}") as answer:
        csv = answer.read()
    took = time.monotonic() - began
    return [
        f"{len(csv.splitlines()) - 1:,} by {by}",
        f"{number}",
        f"{slowest * 1000:.1f} ms",
        which,
        f"{took:.2f} s",
        f"{len(csv) / 1e6:.1f} MB",
        f"{peak_memory(process):.0f} MB",
    ]


def measure_fetch(exporter, directory, stack):
    """Yields the cells of a row of the table of fetch for each format: customers with 14 workloads."""
    simulated = free_port()
    (directory / "scenario.json").write_text(json.dumps({"rows": "portfolio", "customers": {"count": SIZES[-1]}}))
    config = {"accounts": [account(0, simulated)], "state_directory": str(directory / "state")}
    (directory / "config.yml").write_text(json.dumps(config))
    flags = [f"--simulator.listen-address=127.0.0.1:{simulated}", f"--scenario={directory}/scenario.json"]
    simulator = subprocess.Popen([exporter, "simulate", *flags], stdout=subprocess.DEVNULL)
    stack.callback(stop, simulator)
    wait_for(lambda: get(simulated, "identity", "/simulator/scenario")[0] == 200, "simulator")
    for format in ["csv", "table", "json"]:
        times, memory = [], 0
        for _ in range(REPETITIONS):
            with open(directory / "output", "wb") as output:
                began = time.monotonic()
                command = [exporter, "fetch", "customers", f"--format={format}", f"--config.file={directory}/config.yml"]
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
                times.append(time.monotonic() - began)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, process.returncode
            memory = max(memory, usage.ru_maxrss / 1024)
        size = (directory / "output").stat().st_size / 1e6
        yield [format, f"{sorted(times)[REPETITIONS // 2]:.2f} s", f"{size:.1f} MB", f"{memory:.0f} MB"]


def value(body, name):
    return float(re.search(rf'^partner_license_{name}{{.*collection="customers"}} (\S+)$', body, re.MULTILINE)[1])


def processor_time(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"^VmHWM:\s+(\d+)", status, re.MULTILINE)[1]) / 1024


if __name__ == "__main__":
    main()
