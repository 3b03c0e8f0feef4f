"""Tries out how the static program finds host names and trust anchors, with a DNS server and TLS on loopback.

    unshare --net --mount names.py PROGRAM DIRECTORY

Runs as root in a network of its own. Each case is a root directory below DIRECTORY with hardly more than the program in
it, where `fetch` polls the simulator behind TLS. The last cases have modules of the name service switch, which a
program that loads them does not survive.
"""

import fcntl
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading

DNS = ("127.0.0.53", 53)
HOSTS = ["login.partner.test", "api.partner.test"]
NAMES = [host.encode() for host in HOSTS]
# What the simulator accepts.
CLIENT_ID, SECRET, TOKEN = "00000000-0000-0000-0000-00000000c11e", "simulated-client-secret", "simulated-refresh-token"
queries = []


def raise_loopback():
    """Does what `ip link set lo up` does."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running


def serve_names():
    """Answers queries for an address of HOSTS with 127.0.0.1, and all others with NXDOMAIN or nothing."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(DNS)

    def run():
        while True:
            query, client = server.recvfrom(512)
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1 : at + 1 + query[at]])
                at += 1 + query[at]
            question, name = query[12 : at + 5], b".".join(labels)
            is_known = name in NAMES
            wants_ipv4 = query[at + 1 : at + 3] == b"\0\1"
            queries.append(name)
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_known and wants_ipv4 else b""
            code = b"\x81\x80" if is_known else b"\x81\x83"
            counts = struct.pack(">HHHH", 1, 1 if answer else 0, 0, 0)
            server.sendto(query[:2] + code + counts + question + answer, client)

    threading.Thread(target=run, daemon=True).start()


def serve_tls(directory, target):
    """Forwards what arrives at port 443, decrypted, to the simulator."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/server.pem")
    context.set_alpn_protocols(["http/1.1"])
    listener = socket.create_server(("127.0.0.1", 443))

    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def forward(client):
        try:
            with context.wrap_socket(client, server_side=True) as encrypted, socket.create_connection(target) as plain:
                back = threading.Thread(target=copy, args=(plain, encrypted), daemon=True)
                back.start()
                copy(encrypted, plain)
                back.join()
        except OSError:
            pass  # the case in which the client does not trust the certificate

    def run():
        while True:
            threading.Thread(target=forward, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()


def make_certificates(directory):
    """Writes ca.pem, and server.pem with a certificate for HOSTS and its key."""
    openssl = lambda *arguments: subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test", "-days", "30")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    with open(f"{directory}/extensions", "w") as file:
        file.write("subjectAltName=" + ",".join(f"DNS:{host}" for host in HOSTS))
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "extensions"]
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    with open(f"{directory}/server.pem", "w") as file:
        for name in ["server.crt", "server.key"]:
            file.write(open(f"{directory}/{name}").read())


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def make_module(root, directory):
    """Puts a module `trap` for the name service switch into a root, with the C library that it needs."""
    trap = "#include <unistd.h>\n__attribute__((constructor)) static void trap(void) { _exit(99); }\n"
    write(f"{directory}/trap.c", trap)
    library = f"{directory}/libnss_trap.so.2"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, f"{directory}/trap.c"], check=True)
    needed = subprocess.run(["ldd", library], check=True, capture_output=True, text=True).stdout
    found = {path for path in needed.replace("=>", " ").split() if path.startswith("/")}
    for place in {os.path.dirname(path) for path in found}:
        os.makedirs(root + place, exist_ok=True)
        for path in [library, *found]:
            shutil.copy(path, root + place)


def fetch(program, root, environment):
    """Runs `fetch` in a root, and returns exit code, output and errors."""
    os.makedirs(f"{root}/usr/bin")
    shutil.copy(program, f"{root}/usr/bin/program")
    command = [shutil.which("chroot"), root, "/usr/bin/program", "fetch", "--config.file=/config.yml", "--format=csv"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    return ended.returncode, ended.stdout, ended.stderr


def main(program, directory):
    raise_loopback()
    serve_names()
    make_certificates(directory)
    command = [program, "simulate", "--simulator.listen-address=127.0.0.1:0"]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in simulator.stdout if " at http://" in line)
        host, port = line.split(" at http://")[1].strip().strip("/").split(":")
        serve_tls(directory, (host, int(port)))
        run_cases(program, directory)
    finally:
        simulator.kill()


def run_cases(program, directory):
    authority = open(f"{directory}/ca.pem").read()
    resolver, hosts = f"nameserver {DNS[0]}\n", f"127.0.0.1 {' '.join(HOSTS)}\n"
    bundle, modules = "etc/ssl/certs/ca-certificates.crt", "hosts: trap [!UNAVAIL=return] files dns\n"
    trusting = {bundle: authority}
    with_dns, with_hosts = {"etc/resolv.conf": resolver}, {"etc/hosts": hosts, "etc/resolv.conf": resolver}
    silent = {"etc/resolv.conf": "nameserver 127.0.0.99\noptions timeout:1 attempts:1\n"}
    with_modules = {"etc/nsswitch.conf": modules}
    named = {"SSL_CERT_FILE": "/ca.pem"}
    # Name, files, environment, whether it works, whether the name server is asked.
    cases = [
        ("names from DNS", {**with_dns, **trusting}, {}, True, True),
        ("names from /etc/hosts", {**with_hosts, **trusting}, {}, True, False),
        ("no name server", {**silent, **trusting}, {}, False, False),
        ("SSL_CERT_FILE", {**with_dns, "ca.pem": authority}, named, True, True),
        ("no CA certificates", with_dns, {}, False, False),
        ("modules and DNS", {**with_dns, **trusting, **with_modules}, {}, True, True),
        ("modules and /etc/hosts", {**with_hosts, **trusting, **with_modules}, {}, True, False),
    ]
    for name, files, environment, works, asks in cases:
        root = f"{directory}/root"
        shutil.rmtree(root, ignore_errors=True)
        if any("nsswitch" in path for path in files):
            make_module(root, directory)
        for path, text in {**files, "config.yml": configuration()}.items():
            write(f"{root}/{path}", text)
        queries.clear()
        code, output, errors = fetch(program, root, environment)
        found = (code == 0 and output.count("\n") == 6, bool(queries))
        if found != (works, asks):
            wanted = f"works and asks the name server: {found}, not {(works, asks)}"
            sys.exit(f"names: {name}: {wanted}; exit code {code}\n{output}{errors}")
        print(f"names: {name}: as expected")


def configuration():
    return f"""state_directory: /state
accounts:
  - tenant_id: contoso.example
    client_id: {CLIENT_ID}
    client_secret: {SECRET}
    refresh_token: {TOKEN}
    cloud: custom
    login_base_url: https://{HOSTS[0]}
    api_base_url: https://{HOSTS[1]}
"""


main(*sys.argv[1:])
