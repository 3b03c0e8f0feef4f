"""The simulator, perhaps behind a proxy with TLS, and an exporter that polls it and is scraped as by Prometheus."""

import contextlib
import http.client
import json
import re
import subprocess

from bench import UNVERIFIED, WEB_CONFIG, account, free_port, get, stop, wait_for, write_certificate, write_nginx_configuration

# What Prometheus 3 sends.
TEXT = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5"
TEXT += ",text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
# The same where it scrapes native histograms.
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," + TEXT


def scrape(port, times, tls=False, accept=TEXT):
    """Scrapes as Prometheus does, on a connection that is kept."""
    if tls:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=UNVERIFIED)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port)
    with contextlib.closing(connection):
        for _ in range(times):
            connection.request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": "gzip"})
            response = connection.getresponse()
            assert (response.status, response.headers["Content-Encoding"]) == (200, "gzip"), response.status
            response.read()


class ExporterSite:
    def __init__(self, program, rivals, directory, stack, https=False):
        self.program, self.programs = program, rivals / "bin"
        self.directory, self.stack = directory, stack
        self.simulated = self.polled = free_port()
        self.scheme = "https" if https else "http"
        write_certificate(self.programs, directory)
        (directory / "web.yml").write_text(WEB_CONFIG)
        self.start(program, "simulate", f"--simulator.listen-address=127.0.0.1:{self.simulated}")
        wait_for(lambda: get(self.simulated, "identity", "/simulator/scenario")[0] == 200, "the simulator")
        if https:
            self.start_proxy()

    def start(self, *command):
        log = self.stack.enter_context(open(self.directory / "log", "ab"))
        process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)
        self.stack.callback(stop, process)
        return process

    def start_proxy(self):
        root = self.directory / "nginx"
        root.mkdir()
        self.polled = free_port()
        write_nginx_configuration(
            root,
            f"""server {{
                listen 127.0.0.1:{self.polled} ssl http2;
                ssl_certificate {self.directory}/certificate.pem; ssl_certificate_key {self.directory}/key.pem;
                location / {{ proxy_pass http://127.0.0.1:{self.simulated}; proxy_set_header Host $http_host; }}
              }}""",
        )
        self.start(self.programs / "nginx", "-p", root, "-c", root / "nginx.conf", "-e", "stderr")

    @contextlib.contextmanager
    def exporter(self, accounts=1, collections=None, tls=False, below=()):
        """Runs the exporter until it has rows of every collection, and then until the caller is done.

        `tls` is whether it is scraped over HTTPS, and `below` is a command that runs it.
        """
        config = {"state_directory": str(self.directory / "state"), "collections": collections or {}}
        config["accounts"] = [account(number, self.simulated) for number in range(accounts)]
        address = f"{self.scheme}://127.0.0.1:{self.polled}"
        for it in config["accounts"]:
            it |= {"api_base_url": address, "login_base_url": address}
            if self.scheme == "https":
                it["ca_file"] = str(self.directory / "certificate.pem")
        (self.directory / "state").mkdir()
        (self.directory / "config.yml").write_text(json.dumps(config))
        port = free_port()
        flags = [f"--config.file={self.directory}/config.yml", f"--web.listen-address=127.0.0.1:{port}"]
        flags += [f"--web.config.file={self.directory}/web.yml"] if tls else []
        process = self.start(*below, self.program, *flags)

        def complete():
            body = get(port, "identity", tls=tls)[1]
            found = re.findall(rb"^partner_license_rows\{.*\} [1-9]", body, re.MULTILINE)
            return len(found) == accounts * (1 + len(config["collections"]))

        wait_for(complete, "rows")
        yield process, port
        stop(process)
        assert process.returncode == 0, (self.directory / "log").read_text()
