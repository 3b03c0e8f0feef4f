"""Writes a bill of materials (CycloneDX 1.5) for each artifact, beside it, as ARTIFACT.cdx.json.

    sbom.py TARGET EPOCH CERTIFICATES ARTIFACT…

Lists the crates that the program is built from, the C libraries in a static program, and in an image the certificates
of certification authorities. The serial number follows from the artifact, so that two builds give the same file.
"""

import datetime
import hashlib
import json
import os
import subprocess
import sys
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


def generic(name, version, licence, **more):
    """Returns something that no package registry distributes as a component."""
    purl = f"pkg:generic/{name}@{version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return {**found, "licenses": [{"expression": licence}], **more}


def first_line(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def toolchain():
    """Returns what compiler and linker add to a static program."""
    return [
        generic("glibc", os.confstr("CS_GNU_LIBC_VERSION").split()[1], "LGPL-2.1-or-later"),
        generic("libgcc", first_line("cc", "-dumpfullversion"), "GPL-3.0-or-later WITH GCC-exception-3.1"),
        generic("rust-std", first_line("rustc", "--version").split()[1], "Apache-2.0 OR MIT"),
    ]


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def main(target, epoch, certificates, *artifacts):
    product, *dependencies = crates.linked(target)
    linked = [component(package) for package in dependencies] + toolchain()
    edges = [{"ref": package["ref"], "dependsOn": package["dependencies"]} for package in dependencies]
    anchors = digest(certificates)
    anchors = generic("ca-certificates", anchors[:12], "MPL-2.0", hashes=[{"alg": "SHA-256", "content": anchors}])
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
        components = [] if name.endswith(".tgz") else linked + ([anchors] if name.endswith(".oci.tar") else [])
        others = [found["bom-ref"] for found in components if found["bom-ref"].startswith("pkg:generic/")]
        depends = product["dependencies"] + others
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
