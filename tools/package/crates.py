"""Lists the crates that the program is built from, as Cargo resolves them for one target."""

import json
import os
import subprocess


def linked(target):
    """Returns the packages whose code is in the program or wrote code of it, sorted, the product itself first."""
    output = subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", target],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    metadata = json.loads(output)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, open_ids = set(), [root]
    while open_ids:
        id_ = open_ids.pop()
        if id_ not in found:
            found.add(id_)
            # Kind None: neither of tests nor of build scripts.
            for dependency in nodes[id_]["deps"]:
                if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                    open_ids.append(dependency["pkg"])
    rest = sorted(found - {root}, key=lambda id_: (packages[id_]["name"], packages[id_]["version"]))
    names = {id_: reference(packages[id_]) for id_ in found}
    result = []
    for id_ in [root, *rest]:
        dependencies = sorted(names[other["pkg"]] for other in nodes[id_]["deps"] if other["pkg"] in found)
        result.append({**packages[id_], "ref": names[id_], "dependencies": dependencies})
    return result


def reference(package):
    """Returns what bills of materials call a package. Those of this repository are in no registry, so have no purl."""
    name = f"{package['name']}@{package['version']}"
    return f"pkg:cargo/{name}" if package["source"] else name


def directory(package):
    """Returns the directory of a package's sources."""
    return os.path.dirname(package["manifest_path"])


def licence(package):
    """Returns the licence expression of a package, in today's notation of SPDX."""
    return package["license"].replace(" / ", "/").replace("/", " OR ")
