"""Measures scrapes of the exporter beside other servers of the same rows; scripts/bench starts it.

Every server is asked by one client on one keep-alive connection over loopback. The servers take turns, round by round,
so that a busy machine slows all of them. Scrapes with zstd and over HTTP/2 are measured on nginx and the exporter alone,
because the others have neither. The result is a document in Markdown, on stdout; progress goes to stderr.
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
import ssl
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
# The files of nginx, which knows gzip_static, and nothing like it for zstd.
FILES = {"identity": "/metrics", "gzip": "/metrics.gz", "zstd": "/metrics.zst"}
HTTP2 = "HTTP/2 over TLS"
WEB_CONFIG = json.dumps({"tls_server_config": {"cert_file": "certificate.pem", "key_file": "key.pem"}})
# The coding, the protocol and the servers of each measurement.
SCRAPES = [(coding, "HTTP/1.1", SERVERS if coding != "zstd" else SERVERS[:2]) for coding in ["identity", "gzip", "zstd"]]
SCRAPES += [(coding, HTTP2, SERVERS[:2]) for coding, _, _ in SCRAPES]
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
    sizes = [5, 10_000] if arguments.quick else [5, 1_000, 10_000, 100_000]
    rounds = 2 if arguments.quick else 5
    loads, sections, memory = [], [], []
    for size in sizes:
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
            site = Site(size, pathlib.Path(directory), arguments, stack)
            for coding, protocol, servers in SCRAPES:
                found = measure(site, coding, protocol, servers, rounds, loads)
                sections.append((size, coding, protocol, site.lengths[coding], found))
            memory.append((size, {name: resident(process) for name, process in site.processes.items()}))
    print(report(sections, memory, rounds, loads, arguments))


# --- servers ---------------------------------------------------------------------------------------------------


class Site:
    """The servers of a number of rows."""

    def __init__(self, size, directory, arguments, stack):
        progress(f"{size:,} rows: starting the servers")
        self.directory, self.stack = directory, stack
        self.programs = arguments.rivals / "bin"
        self.ports = {name: free_port() for name in SERVERS}
        self.tls_ports = {name: free_port() for name in SERVERS[:2]}
        self.processes = {}
        write_certificate(self.programs, directory)
        (directory / "web.yml").write_text(WEB_CONFIG)
        self.start_exporters(size, arguments.exporter)
        bodies = {coding: get(self.ports["exporter"], coding)[1] for coding in ["identity", "gzip", "zstd"]}
        # The exporter's own series change with each scrape, and other programs have the same names.
        assert len(gzip.decompress(bodies["gzip"])) > len(bodies["identity"]) * 0.99
        self.lengths = {coding: len(body) for coding, body in bodies.items()}
        rows = bodies["identity"].split(b"# HELP partner_license_exporter_build_info")[0]
        self.start_nginx(bodies)
        (directory / "textfiles").mkdir()
        (directory / "textfiles/rows.prom").write_bytes(rows)
        self.start(
            "node_exporter",
            self.programs / "node_exporter",
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

    def start_exporters(self, size, exporter):
        """Starts one exporter without TLS and one with it."""
        accounts = max(1, size // ROWS_OF_ACCOUNT)
        scenario = {}
        if size > 5:
            scenario["rows"] = [row(n) for n in range(size // accounts)]
        (self.directory / "scenario.json").write_text(json.dumps(scenario))
        port = free_port()
        simulator = self.start(
            "simulator",
            exporter,
            "simulate",
            f"--simulator.listen-address=127.0.0.1:{port}",
            f"--scenario={self.directory}/scenario.json",
        )
        wait_for(lambda: get(port, "identity", "/simulator/scenario")[0] == 200, "simulator")
        config = {"poll_interval": "6h", "accounts": [account(n, port) for n in range(accounts)]}
        for name, port, *flags in [
            ("exporter", self.ports["exporter"]),
            ("exporter with TLS", self.tls_ports["exporter"], f"--web.config.file={self.directory}/web.yml"),
        ]:
            state = self.directory / f"state of {name}"
            state.mkdir()
            file = self.directory / f"{name}.yml"
            file.write_text(json.dumps({**config, "state_directory": str(state)}))
            listen = f"--web.listen-address=127.0.0.1:{port}"
            self.start(name, exporter, f"--config.file={file}", listen, *flags)

            def rows():
                body = get(port, "identity", tls=bool(flags))[1].decode()
                found = re.findall(r"^partner_license_rows(?:{.*})? (\d+)$", body, re.MULTILINE)
                return sum(map(int, found)) == size

            wait_for(rows, f"{size:,} rows")
        stop(simulator)
        del self.processes["simulator"]

    def start_nginx(self, bodies):
        root = self.directory / "nginx"
        root.mkdir()
        for coding, body in bodies.items():
            (root / FILES[coding].strip("/")).write_bytes(body)
        # The settings are those of Debian, apart from the log and the single worker, which has the one connection.
        write_nginx_configuration(
            root,
            f"""sendfile on; tcp_nopush on; default_type text/plain; keepalive_requests 1000000000;
              server {{
                listen 127.0.0.1:{self.ports["nginx"]}; listen 127.0.0.1:{self.tls_ports["nginx"]} ssl http2;
                ssl_certificate {self.directory}/certificate.pem; ssl_certificate_key {self.directory}/key.pem;
                root {root}; gzip_static on;
                location = {FILES["zstd"]} {{ add_header Content-Encoding zstd; }}
              }}""",
        )
        self.start("nginx", self.programs / "nginx", "-p", root, "-c", root / "nginx.conf", "-e", "stderr")


def write_certificate(programs, directory):
    """Writes certificate.pem and key.pem, for a server on loopback."""
    command = [programs / "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-addext", "basicConstraints=critical,CA:false", "-keyout", directory / "key.pem"]
    subprocess.run([*command, "-out", directory / "certificate.pem"], check=True, capture_output=True)


def write_nginx_configuration(root, http):
    """Writes nginx.conf with these directives about HTTP, for one worker that writes below `root` only."""
    kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    (root / "nginx.conf").write_text(
        f"""user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};
        daemon off; worker_processes 1; pid {root}/pid; error_log stderr;
        events {{ worker_connections 1024; }}
        http {{
          {" ".join(f"{kind}_temp_path {root}/{kind};" for kind in kinds)} access_log off;
          {http}
        }}"""
    )


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
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
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


UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNVERIFIED.check_hostname, UNVERIFIED.verify_mode = False, ssl.CERT_NONE


def headers(coding):
    return ["Accept: text/plain;version=0.0.4"] + ([f"Accept-Encoding: {coding}"] if coding != "identity" else [])


def path_of(name, coding):
    return FILES["zstd"] if (name, coding) == ("nginx", "zstd") else "/metrics"


def get(port, coding, path="/metrics", tls=False):
    """Returns the status, the body and the seconds of one scrape on a new connection."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers(coding)]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        if tls:
            connection = UNVERIFIED.wrap_socket(connection)
        began = time.perf_counter()
        connection.sendall("".join(line + "\r\n" for line in [*lines, ""]).encode())
        chunks = []
        while chunk := connection.recv(1 << 20):
            chunks.append(chunk)
        took = time.perf_counter() - began
    head, _, body = b"".join(chunks).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body, took


def measure(site, coding, protocol, servers, rounds, loads):
    """Returns the medians of p50 and p99 of each server, in milliseconds."""
    ports = site.tls_ports if protocol == HTTP2 else site.ports
    found = {name: [] for name in servers}
    get(ports["exporter"], coding, tls=protocol == HTTP2)  # prepares the body
    slow = {name: protocol != HTTP2 and get(ports[name], coding, path_of(name, coding))[2] > SLOW for name in servers}
    for number in range(rounds):
        progress(f"  {coding}, {protocol}, round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}")
        for name in servers:
            if slow[name] and number >= ROUNDS_IF_SLOW:
                continue
            loads.append(os.getloadavg()[0])
            if slow[name]:
                times = one_by_one(ports[name], coding)
            elif protocol == HTTP2:
                times = by_h2load(site, ports[name], coding, path_of(name, coding))
            else:
                times = by_wrk(site, ports[name], coding, path_of(name, coding))
            found[name].append(times)
    return {name: tuple(map(statistics.median, zip(*pairs))) for name, pairs in found.items()}


def one_by_one(port, coding):
    took = get(port, coding)[2] * 1000
    return took, took


def by_h2load(site, port, coding, path):
    options = [word for header in headers(coding) for word in ("-H", header)]
    log = site.directory / "h2load.log"
    log.unlink(missing_ok=True)  # h2load appends to it
    command = [site.programs / "h2load", "-t1", "-c1", "-m1", "-D1", f"--log-file={log}", *options]
    subprocess.run([*command, f"https://127.0.0.1:{port}{path}"], check=True, capture_output=True)
    requests = [line.split("\t") for line in log.read_text().splitlines()]
    if not requests or any(status != "200" for _, status, _ in requests):
        sys.exit(f"bench: a request over HTTP/2 to port {port} failed")
    times = sorted(int(microseconds) / 1000 for _, _, microseconds in requests)
    return statistics.median(times), times[len(times) * 99 // 100]


def by_wrk(site, port, coding, path):
    options = [word for header in headers(coding) for word in ("-H", header)]
    command = [site.programs / "wrk", "-t1", "-c1", "-d1s", "--timeout", "60s", "--latency", *options]
    command.append(f"http://127.0.0.1:{port}{path}")
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
    for size, coding, protocol, length, found in sections:
        ratios = [found["exporter"][n] / found["nginx"][n] for n in (0, 1)]
        times = [milliseconds(found[name][0]) if name in found else "" for name in SERVERS]
        over = f", {HTTP2}" if protocol == HTTP2 else ""
        title = f"{size:,} rows, {coding}{over} ({length / 1000:,.0f} kB)"
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
