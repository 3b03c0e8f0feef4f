"""Writes a bill of materials (CycloneDX 1.5) for each artifact, beside it, as ARTIFACT.cdx.json.

    sbom.py TARGET EPOCH CERTIFICATES ARTIFACT…

Lists the crates that the program is built from, the C libraries in a static program, and in an image the certificates
of certification authorities. What a package of dpkg has brought has its version, as security advisories name it. The
serial number follows from the artifact, so that two builds give the same file.
"""

import datetime
import gzip
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import urllib.parse
import uuid

import crates


def component(package):
    """Returns a crate as a component."""
    reference = package["ref"]
    found = {"type": "library", "bom-ref": reference, "name": package["name"], "version": package["version"]}
    # Another crate in the registry may have the name of one of this repository.
    if package["source"]:
        found["purl"] = reference
    found["licenses"] = [{"expression": crates.licence(package)}]
    if package["repository"]:
        found["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return found


def part(name, version, licence, kind="generic", qualifiers="", **more):
    """Returns something that is no crate as a component."""
    purl = f"pkg:{kind}/{name}@{urllib.parse.quote(version, safe=':~')}{qualifiers}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return {**found, "licenses": [{"expression": licence}], **more}


def first_line(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def library(file, name, version, licence):
    """Returns a library of the compiler: as the source package of dpkg that has its file, else with this version."""
    path = os.path.realpath(first_line("cc", f"-print-file-name={file}"))
    try:
        package = first_line("dpkg-query", "--search", path).split(": ")[0]
        source = first_line("dpkg-query", "--show", "--showformat=${source:Package} ${source:Version}", package)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return part(name, version, licence)
    system = platform.freedesktop_os_release()
    distribution = f"?distro={system['ID']}-{system['VERSION_ID']}"
    return part(*source.split(), licence, kind=f"deb/{system['ID']}", qualifiers=distribution)


def toolchain():
    """Returns what compiler and linker add to a static program."""
    of_libc, of_cc = os.confstr("CS_GNU_LIBC_VERSION").split()[1], first_line("cc", "-dumpfullversion")
    return [
        library("libc.a", "glibc", of_libc, "LGPL-2.1-or-later"),
        library("libgcc_eh.a", "libgcc", of_cc, "GPL-3.0-or-later WITH GCC-exception-3.1"),
        part("rust-std", first_line("rustc", "--version").split()[1], "Apache-2.0 OR MIT"),
    ]


def anchors(certificates):
    """Returns the certificates: as Debian's package if scripts/fetch-tools has unpacked it beside them."""
    hashes = [{"alg": "SHA-256", "content": digest(certificates)}]
    changelog = os.path.join(os.path.dirname(certificates), "root/usr/share/doc/ca-certificates/changelog.gz")
    if not os.path.exists(changelog):
        return part("ca-certificates", hashes[0]["content"][:12], "MPL-2.0", hashes=hashes)
    with gzip.open(changelog, "rt", encoding="utf-8") as file:
        version = re.match(r"ca-certificates \((.+?)\)", file.readline())[1]
    return part("ca-certificates", version, "MPL-2.0", kind="deb/debian", hashes=hashes)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def main(target, epoch, certificates, *artifacts):
    product, *dependencies = crates.linked(target)
    added = toolchain()
    linked = [component(package) for package in dependencies] + added
    edges = [{"ref": package["ref"], "dependsOn": package["dependencies"]} for package in dependencies]
    trusted = anchors(certificates)
    created = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    for artifact in artifacts:
        name, content = os.path.basename(artifact), digest(artifact)
        subject = {
            "type": "container" if name.endswith(".oci.tar") else "application",
            "bom-ref": name,
            "name": name,
            "version": product["version"],
            "licenses": [{"expression": crates.licence(product)}],
            "hashes": [{"alg": "SHA-256", "content": content}],
        }
        # The chart contains no program, and names the image.
        more = [trusted] if name.endswith(".oci.tar") else []
        components = [] if name.endswith(".tgz") else linked + more
        depends = product["dependencies"] + [found["bom-ref"] for found in added + more]
        document = {
            "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}",
            "version": 1,
            "metadata": {"timestamp": created, "component": subject},
            "components": components,
            "dependencies": [{"ref": name, "dependsOn": depends}, *edges] if components else [],
        }
        with open(f"{artifact}.cdx.json", "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")


main(*sys.argv[1:])
