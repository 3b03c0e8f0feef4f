"""Measures scrapes of the exporter beside other servers of the same rows; scripts/bench starts it.

Every server is asked by one client on one keep-alive connection over loopback. The servers take turns, round by round,
so that a busy machine slows all of them. The result is a document in Markdown, on stdout; progress goes to stderr.
"""

import argparse
import contextlib
import datetime
import getpass
import grp
import gzip
import json
import os
import pathlib
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

# The simulator's scenario has room for that many rows, so more of them are in several accounts.
ROWS_OF_ACCOUNT = 20_000
# A scrape that takes longer is timed one by one, since wrk reports only those that end within its time.
SLOW = 0.2  # seconds
ROUNDS_IF_SLOW = 2
SERVERS = ["nginx", "exporter", "node_exporter", "python"]
TITLES = {
    "nginx": "nginx, static file",
    "exporter": "this exporter",
    "node_exporter": "node_exporter, textfile",
    "python": "Python client",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--exporter", type=pathlib.Path)
    parser.add_argument("--rivals", type=pathlib.Path)
    parser.add_argument("--serve", nargs=2, metavar=("FILE", "PORT"), help="be the Python client")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve)
        return
    sizes = [5, 1_000, 10_000] if arguments.quick else [5, 1_000, 10_000, 100_000]
    rounds = 2 if arguments.quick else 5
    loads, sections, memory = [], [], []
    for size in sizes:
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
            site = Site(size, pathlib.Path(directory), arguments, stack)
            for coding in ["identity", "gzip"]:
                sections.append((size, coding, site.lengths[coding], measure(site, coding, rounds, loads)))
            memory.append((size, {name: resident(process) for name, process in site.processes.items()}))
    print(report(sections, memory, rounds, loads, arguments))


# --- servers ---------------------------------------------------------------------------------------------------


class Site:
    """The servers of a number of rows."""

    def __init__(self, size, directory, arguments, stack):
        progress(f"{size:,} rows: starting the servers")
        self.directory, self.stack = directory, stack
        self.wrk = arguments.rivals / "bin/wrk"
        self.ports = {name: free_port() for name in SERVERS}
        self.processes = {}
        self.start_exporter(size, arguments.exporter)
        body, compressed = (get(self.ports["exporter"], coding)[1] for coding in ["identity", "gzip"])
        # The exporter's own series change with each scrape, and other programs have the same names.
        assert len(gzip.decompress(compressed)) > len(body) * 0.99
        self.lengths = {"identity": len(body), "gzip": len(compressed)}
        rows = body.split(b"# HELP partner_license_exporter_build_info")[0]
        self.start_nginx(body, compressed, arguments.rivals)
        (directory / "textfiles").mkdir()
        (directory / "textfiles/rows.prom").write_bytes(rows)
        self.start(
            "node_exporter",
            arguments.rivals / "bin/node_exporter",
            f"--web.listen-address=127.0.0.1:{self.ports['node_exporter']}",
            "--web.disable-exporter-metrics",
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={directory}/textfiles",
        )
        rows_file = directory / "textfiles/rows.prom"
        self.start("python", sys.executable, __file__, "--serve", rows_file, self.ports["python"])
        for name in ["nginx", "node_exporter", "python"]:
            wait_for(lambda name=name: b"partner_license_usage_percent" in get(self.ports[name], "identity")[1], name)

    def start(self, name, *command):
        log = self.stack.enter_context(open(self.directory / f"{name}.log", "wb"))
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        self.stack.callback(stop, process)
        self.processes[name] = process
        return process

    def start_exporter(self, size, exporter):
        accounts = max(1, size // ROWS_OF_ACCOUNT)
        scenario = {}
        if size > 5:
            scenario["rows"] = [row(n) for n in range(size // accounts)]
        (self.directory / "scenario.json").write_text(json.dumps(scenario))
        port = free_port()
        config = {
            "poll_interval": "6h",
            "state_directory": str(self.directory / "state"),
            "accounts": [account(n, port) for n in range(accounts)],
        }
        (self.directory / "state").mkdir()
        (self.directory / "config.yml").write_text(json.dumps(config))
        simulator = self.start(
            "simulator",
            exporter,
            "simulate",
            f"--simulator.listen-address=127.0.0.1:{port}",
            f"--scenario={self.directory}/scenario.json",
        )
        wait_for(lambda: get(port, "identity", "/simulator/scenario")[0] == 200, "simulator")
        listen = f"--web.listen-address=127.0.0.1:{self.ports['exporter']}"
        self.start("exporter", exporter, f"--config.file={self.directory}/config.yml", listen)

        def rows():
            body = get(self.ports["exporter"], "identity")[1].decode()
            found = re.findall(r"^partner_license_rows(?:{.*})? (\d+)$", body, re.MULTILINE)
            return sum(map(int, found)) == size

        wait_for(rows, f"{size:,} rows")
        stop(simulator)
        del self.processes["simulator"]

    def start_nginx(self, body, compressed, rivals):
        root = self.directory / "nginx"
        root.mkdir()
        (root / "metrics").write_bytes(body)
        (root / "metrics.gz").write_bytes(compressed)
        temporary = " ".join(
            f"{kind}_temp_path {root}/{kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        # The settings are those of Debian, apart from the log and the single worker, which has the one connection.
        (root / "nginx.conf").write_text(
            f"""user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};
            daemon off; worker_processes 1; pid {root}/pid; error_log stderr;
            events {{ worker_connections 64; }}
            http {{
              {temporary} access_log off; sendfile on; tcp_nopush on; default_type text/plain;
              keepalive_requests 1000000000;
              server {{ listen 127.0.0.1:{self.ports["nginx"]}; root {root}; gzip_static on; }}
            }}"""
        )
        self.start("nginx", rivals / "bin/nginx", "-p", root, "-c", root / "nginx.conf", "-e", "stderr")


def row(number):
    return {
        "service": f"service-{number // 100}",
        "workload": f"Workload {number % 100}",
        "channel": "reseller",
        "percent": number * 7919 % 10_000 / 100,
        "processed": "2026-11-21T00:00:00Z",
    }


def account(number, port):
    return {
        "name": f"contoso-{number}",
        "tenant_id": f"00000000-0000-0000-0000-{number:012}",
        "client_id": "00000000-0000-0000-0000-00000000c11e",
        "client_secret": "simulated-client-secret",
        "refresh_token": "simulated-refresh-token",
        "cloud": "custom",
        "api_base_url": f"http://127.0.0.1:{port}",
        "login_base_url": f"http://127.0.0.1:{port}",
    }


def serve(file, port):
    """Serves the families of a file with the Python client, which encodes them for each scrape."""
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.parser import text_string_to_metric_families

    class Rows:
        families = list(text_string_to_metric_families(pathlib.Path(file).read_text()))

        def collect(self):
            return self.families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Rows())
    start_http_server(int(port), "127.0.0.1", registry)
    threading.Event().wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def stop(process):
    process.terminate()
    process.wait()


def wait_for(condition, what):
    for _ in range(1200):
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.1)
    sys.exit(f"bench: waited two minutes for {what}")


def resident(process):
    """The resident memory in MB, with that of all children."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    total = 0
    for pid in [process.pid, *children]:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        total += int(re.search(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[1])
    return total / 1024


# --- clients ---------------------------------------------------------------------------------------------------


def headers(coding):
    return ["Accept: text/plain;version=0.0.4"] + (["Accept-Encoding: gzip"] if coding == "gzip" else [])


def get(port, coding, path="/metrics"):
    """Returns the status, the body and the seconds of one scrape on a new connection."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers(coding)]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        began = time.perf_counter()
        connection.sendall("".join(line + "\r\n" for line in [*lines, ""]).encode())
        chunks = []
        while chunk := connection.recv(1 << 20):
            chunks.append(chunk)
        took = time.perf_counter() - began
    head, _, body = b"".join(chunks).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body, took


def measure(site, coding, rounds, loads):
    """Returns the medians of p50 and p99 of each server, in milliseconds."""
    found = {name: [] for name in SERVERS}
    get(site.ports["exporter"], coding)  # prepares the body
    slow = {name: get(port, coding)[2] > SLOW for name, port in site.ports.items()}
    for number in range(rounds):
        progress(f"  {coding}, round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}")
        for name, port in site.ports.items():
            if slow[name] and number >= ROUNDS_IF_SLOW:
                continue
            loads.append(os.getloadavg()[0])
            found[name].append(one_by_one(port, coding) if slow[name] else by_wrk(site.wrk, port, coding))
    return {name: tuple(map(statistics.median, zip(*pairs))) for name, pairs in found.items()}


def one_by_one(port, coding):
    took = get(port, coding)[2] * 1000
    return took, took


def by_wrk(wrk, port, coding):
    options = [word for header in headers(coding) for word in ("-H", header)]
    command = [wrk, "-t1", "-c1", "-d1s", "--timeout", "60s", "--latency", *options, f"http://127.0.0.1:{port}/metrics"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"bench: {output}")
    units = {"us": 0.001, "ms": 1, "s": 1000}
    found = {percent: float(time) * units[unit] for percent, time, unit in re.findall(r"(\d+)% +([\d.]+)(us|ms|s)", output)}
    return found["50"], found["99"]


# --- the document ----------------------------------------------------------------------------------------------


def report(sections, memory, rounds, loads, arguments):
    lines = [
        f"{datetime.date.today()}, {processor()} with {os.cpu_count()} cores, Linux {platform.release()}. "
        f"Load of the machine: {min(loads):.1f} to {max(loads):.1f}, median {statistics.median(loads):.1f}. "
        f"Medians of {rounds} rounds. {(arguments.rivals / '.complete').read_text().strip()}, "
        f"Python {platform.python_version()}.",
        "",
        table_row(["scrape, p50", *TITLES.values(), "ratio to nginx", "ratio of p99"]),
        table_row(["---"] * (len(SERVERS) + 3)),
    ]
    for size, coding, length, found in sections:
        ratios = [found["exporter"][n] / found["nginx"][n] for n in (0, 1)]
        times = [milliseconds(found[name][0]) for name in SERVERS]
        title = f"{size:,} rows, {coding} ({length / 1000:,.0f} kB)"
        lines.append(table_row([title, *times, *(f"{ratio:.2f}" for ratio in ratios)]))
    lines += ["", table_row(["resident memory after the scrapes", *TITLES.values()])]
    lines.append(table_row(["---"] * (len(SERVERS) + 1)))
    for size, found in memory:
        lines.append(table_row([f"{size:,} rows", *(f"{found[name]:.1f} MB" for name in SERVERS)]))
    return "\n".join(lines)


def table_row(cells):
    return f"| {' | '.join(cells)} |"


def milliseconds(value):
    return f"{value:,.{3 if value < 1 else 2 if value < 10 else 0}f} ms"


def processor():
    found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def progress(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
