"""Writes the image that the Dockerfile describes, without Docker: the same files and the same settings.

    image.py DOCKERFILE ROOT OUTPUT NAME=VALUE…

ROOT has the files. What the last stage of the Dockerfile says besides COPY becomes the configuration; the names are its
arguments. OUTPUT is an archive of an OCI layout, with the one file more that `docker load` reads.
"""

import datetime
import gzip
import hashlib
import io
import json
import os
import re
import sys
import tarfile

# The user of the image, who owns the state directory alone.
USER = 65532
STATE = "var/lib/partner-license-exporter"


def settings(dockerfile, arguments):
    """Returns the configuration that the last stage of a Dockerfile gives to containers."""
    text = open(dockerfile, encoding="utf-8").read().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    last = max(n for n, line in enumerate(lines) if line.startswith("FROM "))
    config = {}
    for line in lines[last + 1 :]:
        instruction, rest = line.split(None, 1)
        rest = re.sub(r"\$\{?(\w+)\}?", lambda match: arguments[match[1]], rest)
        match instruction:
            case "ARG" | "COPY":
                pass
            case "USER":
                config["User"] = rest
            case "ENV":
                config.setdefault("Env", []).append(rest)
            case "EXPOSE":
                config.setdefault("ExposedPorts", {})[f"{rest}/tcp"] = {}
            case "VOLUME":
                config["Volumes"] = {path: {} for path in json.loads(rest)}
            case "ENTRYPOINT":
                config["Entrypoint"] = json.loads(rest)
            case "LABEL":
                config.setdefault("Labels", {}).update(re.findall(r'(\S+)="([^"]*)"', rest))
            case "HEALTHCHECK":
                options, command = rest.split("CMD", 1)
                seconds = {name: int(value) * 10**9 for name, value in re.findall(r"--(\w+)=(\d+)s", options)}
                config["Healthcheck"] = {"Test": ["CMD", *json.loads(command)]}
                config["Healthcheck"].update({name.capitalize(): value for name, value in seconds.items()})
            case _:
                sys.exit(f"image: {dockerfile}: this script does not know {instruction}")
    return config


def layer(root, epoch):
    """Returns the files of a directory as a tar archive whose bytes depend on names, modes and contents only."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for directory, directories, files in sorted(os.walk(root)):
            for name in sorted([*directories, *files]):
                add(archive, os.path.relpath(os.path.join(directory, name), root), root, epoch)
    return output.getvalue()


def add(archive, name, root, epoch):
    path = os.path.join(root, name)
    entry = archive.gettarinfo(path, arcname=name)
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = epoch, 0, 0, "", ""
    if name == STATE:
        entry.uid, entry.gid = USER, USER
    with open(path, "rb") if entry.isfile() else io.BytesIO() as file:
        archive.addfile(entry, file)


def main(dockerfile, root, output, *definitions):
    arguments = dict(definition.split("=", 1) for definition in definitions)
    epoch = int(arguments["SOURCE_DATE_EPOCH"])
    config = settings(dockerfile, arguments)
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    blobs = {}

    def blob(content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(content, kind):
        return blob(json.dumps(content, separators=(",", ":")).encode(), f"application/vnd.oci.image.{kind}.v1+json")

    files = layer(root, epoch)
    compressed = blob(gzip.compress(files, 9, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    description = document(
        {
            "created": created,
            "architecture": arguments["ARCHITECTURE"],
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(files).hexdigest()}"]},
            "history": [{"created": created, "created_by": "scripts/package"}],
        },
        "config",
    )
    versions = {"schemaVersion": 2}
    media_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = document({**versions, "mediaType": media_type, "config": description, "layers": [compressed]}, "manifest")
    name = f"{config['Labels']['org.opencontainers.image.title']}:{config['Labels']['org.opencontainers.image.version']}"
    manifest["annotations"] = {
        "io.containerd.image.name": f"docker.io/library/{name}",
        "org.opencontainers.image.ref.name": name.split(":")[1],
    }
    path = {digest: f"blobs/sha256/{digest}" for digest in blobs}
    of = lambda descriptor: path[descriptor["digest"].removeprefix("sha256:")]
    members = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({**versions, "manifests": [manifest]}).encode(),
        "manifest.json": json.dumps([{"Config": of(description), "RepoTags": [name], "Layers": [of(compressed)]}]).encode(),
        **{path[digest]: content for digest, content in sorted(blobs.items())},
    }
    with tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members.items():
            entry = tarfile.TarInfo(member)
            entry.size, entry.mtime, entry.mode = len(content), epoch, 0o644
            archive.addfile(entry, io.BytesIO(content))


main(*sys.argv[1:])
