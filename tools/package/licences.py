"""Prints the licence texts of everything that the static program contains, for the packages and the image.

    licences.py TARGET
"""

import html
import os
import re
import subprocess
import sys

import crates

# What a static program contains besides crates, with the files in which Debian and Rust keep the texts.
SYSTEM = [
    ("The GNU C Library", "/usr/share/doc/libc6-dev/copyright"),
    ("The run-time library of GCC", "/usr/share/doc/libgcc-{gcc}-dev/copyright"),
]

# Where Debian keeps the texts that these files name by their path only.
COMMON = "/usr/share/common-licenses"

RELINK = """\
The program is linked statically with the GNU C Library, which is under the GNU Lesser General Public License. Its own
sources, with the script that links it (scripts/package), are published: with them the program can be linked with
another version of that library.
"""


def texts(package):
    """Returns the licence files of a crate, by name."""
    directory = crates.directory(package)
    is_licence = re.compile(r"(?i)(un)?licen[cs]e|copying|notice|copyright").match
    files = [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if is_licence(name)]
    # Some crates have a directory of them.
    files = [
        path
        for file in files
        for path in (sorted(os.path.join(file, name) for name in os.listdir(file)) if os.path.isdir(file) else [file])
    ]
    return {os.path.relpath(path, directory): read(path) for path in files}


def read(path):
    with open(path, encoding="utf-8") as file:
        return "\n".join(line.rstrip() for line in file.read().strip("\n").splitlines()) + "\n"


def main(target):
    line = "=" * 118
    blocks = {}
    apache = read(os.path.join(os.path.dirname(__file__), "../../LICENSE"))
    product, *_ = packages = crates.linked(target)
    for package in packages:
        if package["source"] is None:
            continue
        found = texts(package)
        if not found and "Apache-2.0" in package["license"]:
            found = {"LICENSE": apache}
        if not found:
            sys.exit(f"licences: {package['name']} {package['version']} has no licence file")
        for text in found.values():
            blocks.setdefault(text, []).append(f"{package['name']} {package['version']} ({crates.licence(package)})")
    print(f"What {product['name']} contains besides its own code, and the licences of it.\n")
    print(RELINK)
    for text, users in blocks.items():
        print(f"{line}\n{os.linesep.join(users)}\n{line}\n\n{text}")
    gcc = subprocess.run(["cc", "-dumpversion"], check=True, capture_output=True, text=True).stdout.split(".")[0].strip()
    system = {name: read(path.format(gcc=gcc)) for name, path in SYSTEM}
    for name, text in {**system, **common(system.values())}.items():
        print(f"{line}\n{name}\n{line}\n\n{text}")
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    library = read(os.path.join(sysroot, "share/doc/rust/COPYRIGHT-library.html"))
    print(f"{line}\nThe standard library of Rust\n{line}\n\n{plain(library)}")


def common(texts):
    """Returns the licences that these texts name by their path on Debian, by that path: an image has no such file."""
    named = {name for text in texts for name in re.findall(rf"{COMMON}/([\w.+-]*\w)", text)}
    if not named:
        sys.exit(f"licences: no text names one in {COMMON}: has Debian moved them?")
    return {f"{COMMON}/{name}": read(f"{COMMON}/{name}") for name in sorted(named)}


def plain(page):
    """Returns the text of a page."""
    text = re.sub(r"(?s)<(style|script|title).*?</\1>", "", page)
    text = html.unescape(re.sub(r"<[^>]+>", "", text))
    return re.sub(r"\n\s*\n\s*\n+", "\n\n", text).strip() + "\n"


main(*sys.argv[1:])
