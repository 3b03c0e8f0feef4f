"""Runs containers of an unpacked image by runc: with a read-only root and no capabilities, as the image's user.

    container.py BUNDLE VERSION

Needs root and umoci's bundle. The network is loopback alone.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

NAME = "partner-license-exporter"
PROGRAM = f"/usr/bin/{NAME}"
CONFIGURATION = """accounts:
  - tenant_id: contoso.example
    client_id: 00000000-0000-0000-0000-000000000001
    client_secret: secret
"""


@contextlib.contextmanager
def container(bundle, *arguments):
    """Starts the image's program with these arguments, and kills it at the end."""
    with open(f"{bundle}/config.json") as file:
        config = json.load(file)
    directory = tempfile.mkdtemp(dir="/run")
    with open(f"{directory}/config.yml", "w") as file:
        file.write(CONFIGURATION)
    os.chmod(directory, 0o755)
    assert config["process"]["user"]["uid"] == 65532, config["process"]["user"]
    assert config["process"]["args"][0] == PROGRAM, config["process"]["args"]
    config["process"].update(terminal=False, args=[PROGRAM, *arguments], noNewPrivileges=True)
    config["process"]["capabilities"] = {kind: [] for kind in ["bounding", "effective", "permitted"]}
    config["root"] = {"path": os.path.abspath(f"{bundle}/rootfs"), "readonly": True}
    config["mounts"] += [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]},
        {"destination": f"/etc/{NAME}", "type": "bind", "source": directory, "options": ["bind", "ro"]},
    ]
    with open(f"{directory}/config.json", "w") as file:
        json.dump(config, file)
    id_ = os.path.basename(directory)
    process = subprocess.Popen(
        ["runc", "run", "--bundle", directory, id_],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, id_
    finally:
        process.kill()
        subprocess.run(["runc", "delete", "--force", id_], capture_output=True)
        shutil.rmtree(directory)


def run(bundle, *arguments):
    """Runs a container to its end, and returns exit code and output."""
    with container(bundle, *arguments) as (process, _):
        output, _ = process.communicate(timeout=60)
        return process.returncode, output


def expect(what, condition, found):
    if not condition:
        sys.exit(f"image: {what}: {found}")
    print(f"image: {what}")


def eventually(what, is_so):
    """Waits until something is so."""
    deadline = time.monotonic() + 30
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"image: not within 30 s: {what}")
        time.sleep(0.1)
    print(f"image: {what}")


def main(bundle, version):
    code, output = run(bundle, "--version")
    expect("--version", code == 0 and f"version {version} " in output, (code, output))
    # It reads the CA certificates of the image.
    code, output = run(bundle, "check", f"--config.file=/etc/{NAME}/config.yml")
    expect("check", code == 0 and "valid, 1 account" in output, (code, output))
    with container(bundle, "demo", "--documented", "--web.listen-address=127.0.0.1:10365") as (process, id_):
        healthy = ["runc", "exec", id_, PROGRAM, "healthcheck"]
        succeeds = lambda: subprocess.run(healthy, capture_output=True).returncode == 0
        eventually("the health check of a running exporter succeeds", succeeds)
        refused = subprocess.run([*healthy, "--web.listen-address=:1"], capture_output=True, text=True)
        expect("the health check fails where nothing listens", refused.returncode == 1, refused)
        pid = json.loads(subprocess.run(["runc", "state", id_], check=True, capture_output=True).stdout)["pid"]
        code = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:10365/metrics').read().decode())"
        scrape = ["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c", code]
        row = "\npartner_license_usage_percent{"
        rows = lambda: subprocess.run(scrape, capture_output=True, text=True).stdout.count(row) == 5
        eventually("the demo serves five rows", rows)
        init = subprocess.run(["runc", "ps", id_], check=True, capture_output=True, text=True).stdout
        expect("the program is the only process", init.count("\n") == 2, init)
        begin = time.monotonic()
        subprocess.run(["runc", "kill", id_, "TERM"], check=True)
        code = process.wait(timeout=30)
        took = time.monotonic() - begin
        expect(f"SIGTERM ends it as process 1 after {took:.1f} s", code == 0 and took < 5, (code, took))


main(*sys.argv[1:])
