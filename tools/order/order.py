"""Writes patterns of the functions that a serving exporter executes; scripts/order-functions starts it.

The exporter runs under callgrind as its users run it, beginning with the least that each of them does. The functions of
the first run come first, then those that the second one adds, and so on. Names are shortened to prefixes where that
puts few other functions in, and what changes with the compiler or with other code is left open.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

from bench import get, progress, wait_for
from exporter_site import PROTOBUF, ExporterSite, scrape

# What one line more is worth, in bytes of functions that are not executed.
LINE = 2000
# What follows the last number that is left open has at least so many characters, or it would be found anywhere.
SHORTEST = 8
# A run that executes fewer functions has gone wrong, or its names are not those of the program.
FEWEST = 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--exporter", type=pathlib.Path, help="a release build with symbols")
    parser.add_argument("--rivals", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path)
    arguments = parser.parse_args()
    sizes = sizes_of_functions(arguments.exporter)
    lines, before = [], set()
    for run, https in [(polls_and_scrapes, False), (polls_and_scrapes, True), (everything, True)]:
        progress(f"{run.__name__}, HTTPS to Partner Center: {https}")
        executed = {it for it in functions_of(run, https, arguments) if it in sizes}
        if len(executed) < FEWEST:
            sys.exit(f"order-functions: only {len(executed)} functions of the program were executed")
        found = patterns(sizes, executed - before, before)
        before |= executed
        progress(f"  {len(executed):,} functions, {len(found):,} new lines")
        lines += found
    arguments.output.write_text("".join(f"{line}\n" for line in lines))
    size = sum(size for name, size in sizes.items() if name in before)
    progress(f"{len(before):,} of {len(sizes):,} functions, {size / 1e6:.1f} of {sum(sizes.values()) / 1e6:.1f} MB")


# --- what is executed --------------------------------------------------------------------------------------------


def polls_and_scrapes(site, callgrind):
    """What each exporter does: polls with a sign-in, and scrapes by Prometheus and by a person with curl."""
    with site.exporter(below=callgrind) as (_, port):
        scrape(port, 10)
        get(port, "identity")


def everything(site, callgrind):
    """What many exporters do besides: more collections, TLS, HTTP/2, other formats, pages, a reload."""
    collections = {"deployment": {"enabled": True}, "customers": {"enabled": True}}
    with site.exporter(3, collections, tls=True, below=callgrind) as (process, port):
        scrape(port, 5, tls=True)
        scrape(port, 5, tls=True, accept=PROTOBUF)
        for coding in ["identity", "gzip", "zstd"]:
            get(port, coding, tls=True)
        for path in ["/", "/customers", "/customers.csv", "/-/healthy", "/-/ready"]:
            assert get(port, "identity", path, tls=True)[0] == 200, path
        log = site.directory / "h2load.log"
        command = [site.programs / "h2load", "-n9", "-c1", "-m1", f"--log-file={log}", "-H", "Accept-Encoding: gzip"]
        subprocess.run([*command, f"https://127.0.0.1:{port}/metrics"], check=True, capture_output=True)
        before = last_reload(port)
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: last_reload(port) != before, "the reload")


def last_reload(port):
    name = rb"partner_license_exporter_config_last_reload_success_timestamp_seconds"
    return re.search(rb"^" + name + rb" (\S+)$", get(port, "identity", tls=True)[1], re.MULTILINE)[1]


def functions_of(run, https, arguments):
    """Returns the names of the functions that the exporter executes."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        directory = pathlib.Path(directory)
        out = directory / "callgrind.out"
        callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        callgrind += ["--demangle=no", "--compress-strings=no", "--compress-pos=no"]
        run(ExporterSite(arguments.exporter, arguments.rivals, directory, stack, https), callgrind)
        found = re.findall(r"^fn=(.*)$", out.read_text(), re.MULTILINE)
        # A number follows the name of a recursive function.
        return {re.sub(r"'\d+$", "", name) for name in found}


def sizes_of_functions(program):
    symbols = subprocess.run(["nm", "--print-size", "--defined-only", program], check=True, capture_output=True, text=True)
    fields = [line.split() for line in symbols.stdout.splitlines()]
    found = {words[3]: int(words[1], 16) for words in fields if len(words) == 4 and words[2] in "tTwW"}
    if not any(name.startswith("_RNv") for name in found):
        sys.exit("order-functions: the program has no symbols, or not those of .cargo/config.toml")
    return found


# --- the patterns ------------------------------------------------------------------------------------------------


def patterns(sizes, wanted, free):
    """Returns patterns of the names that are wanted, and of few others besides those that are free."""
    functions = sorted((general(name), name in wanted, 0 if name in free else size) for name, size in sizes.items())
    return cheapest(functions)[1]


def cheapest(functions):
    """Returns the patterns with the lowest price for a sorted list of functions, after their price.

    A function is its name, whether it is wanted, and what it costs if a pattern means it although it is not.
    """
    if not any(wanted for _, wanted, _ in functions):
        return 0, []
    common = os.path.commonprefix([functions[0][0], functions[-1][0]])
    if common == functions[-1][0]:
        return LINE, [common + "*"]
    whole = LINE + sum(size for _, wanted, size in functions if not wanted), [common + "*"]
    groups = itertools.groupby(functions, key=lambda it: it[0][len(common) : len(common) + 1])
    parts = [cheapest(list(group)) if key else end(list(group)) for key, group in groups]
    split = sum(price for price, _ in parts), [line for _, lines in parts for line in lines]
    return min(whole, split) if len(common.split("*")[-1]) >= SHORTEST else split


def end(functions):
    """Returns the same for functions that all have the same name, when other names begin with it."""
    # A copy of a function has a number after its name.
    line = functions[0][0] + ("*" if functions[0][0].startswith("_R") else "")
    return (LINE, [line]) if any(wanted for _, wanted, _ in functions) else (0, [])


def general(name):
    """Returns a name with `*` for what changes with the compiler or with other code."""
    name = re.sub(r"^(aws_lc)_\d+_\d+_\d+_", r"\1_*_", name)
    if name.startswith("_R"):
        name = re.sub(r"(\.llvm)?\.\d+$", "", name)
        # https://doc.rust-lang.org/rustc/symbol-mangling/v0.html: hashes of crates, references to what came before in
        # the name, and numbers of implementations.
        name = re.sub(r"Cs[0-9A-Za-z]+_(?=\d)", "Cs*_", name)
        name = re.sub(r"B[0-9A-Za-z]*_", "B*_", name)
        name = re.sub(r"(?<=[MX])s[0-9A-Za-z]*_", "s*_", name)
    return name


if __name__ == "__main__":
    main()
