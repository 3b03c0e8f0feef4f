"""Measures the resident memory of an exporter that was scraped a hundred times; scripts/bench --memory starts it.

Each account has five rows, and Prometheus' requests are sent. Without TLS the limits are the aims; with it they are what
the program takes, and a little more. The result is a table in Markdown, on stdout; progress goes to stderr.
"""

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile

from bench import progress, resident, table_row
from exporter_site import ExporterSite, scrape

# Whether Partner Center is asked over HTTPS, and the exporter.
COLUMNS = {"resident memory": (False, False), "with HTTPS to Partner Center": (True, False), "and scraped over HTTPS": (True, True)}
# The most megabytes in each column, by the number of accounts.
LIMITS = {1: [10, 12, 13], 50: [14, 16, 17]}
SCRAPES = 100
ROUNDS = 3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exporter", type=pathlib.Path)
    parser.add_argument("--rivals", type=pathlib.Path)
    arguments = parser.parse_args()
    failures = []
    print(table_row(["accounts", *COLUMNS]))
    print(table_row(["---"] * (1 + len(COLUMNS))))
    for accounts, limits in LIMITS.items():
        found = []
        for (title, (https, tls)), limit in zip(COLUMNS.items(), limits, strict=True):
            progress(f"accounts: {accounts}, {title}")
            found.append(statistics.median(measure(arguments, accounts, https, tls) for _ in range(ROUNDS)))
            if found[-1] >= limit:
                failures.append(f"bench: {accounts} accounts, {title}: {found[-1]:.1f} MB, the limit is {limit}; run scripts/order-functions")
        print(table_row([str(accounts), *(f"{it:.1f} MB" for it in found)]), flush=True)
    if failures:
        sys.exit("\n".join(failures))


def measure(arguments, accounts, https, tls):
    """Returns the resident memory in MB."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        site = ExporterSite(arguments.exporter, arguments.rivals, pathlib.Path(directory), stack, https)
        with site.exporter(accounts, tls=tls) as (process, port):
            scrape(port, SCRAPES, tls)
            return resident(process)


if __name__ == "__main__":
    main()
