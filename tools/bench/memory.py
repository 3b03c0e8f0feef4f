"""Measures the resident memory of an exporter that was scraped a hundred times; scripts/bench --memory starts it.

Each account has five rows. The result is a table in Markdown, on stdout; progress goes to stderr.
"""

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile

from bench import get, progress, resident, table_row
from exporter_site import Site

# The most megabytes that an exporter without TLS should have, by its number of accounts.
LIMITS = {1: 10, 50: 14}
SCRAPES = 100
ROUNDS = 3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exporter", type=pathlib.Path)
    parser.add_argument("--rivals", type=pathlib.Path)
    arguments = parser.parse_args()
    failures = []
    print(table_row(["accounts", "resident memory", "with HTTPS to Partner Center", "and scraped over HTTPS"]))
    print(table_row(["---"] * 4))
    for accounts, limit in LIMITS.items():
        found = []
        for https, tls in [(False, False), (True, False), (True, True)]:
            progress(f"{accounts} accounts, HTTPS to Partner Center: {https}, to the exporter: {tls}")
            found.append(statistics.median(measure(arguments, accounts, https, tls) for _ in range(ROUNDS)))
        print(table_row([str(accounts), *(f"{it:.1f} MB" for it in found)]), flush=True)
        if found[0] > limit:
            failures.append(f"bench: {accounts} accounts take {found[0]:.1f} MB of {limit}; see scripts/order-functions")
    sys.exit("\n".join(failures))


def measure(arguments, accounts, https, tls):
    """Returns the resident memory in MB."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        site = Site(arguments.exporter, arguments.rivals, pathlib.Path(directory), stack, https)
        with site.exporter(accounts, tls=tls) as (process, port):
            for number in range(SCRAPES):
                get(port, ["identity", "gzip", "zstd"][number % 3], tls=tls)
            return resident(process)


if __name__ == "__main__":
    main()
