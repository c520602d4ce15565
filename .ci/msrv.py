"""Checks that no dependency asks for a newer Rust than the workspace declares.

Usage: cargo metadata --locked --format-version 1 | msrv.py
"""

import json
import sys


def version(text):
    """1.90 as (1, 90, 0), to be compared."""
    parts = [int(part) for part in text.split("-")[0].split(".")]
    return tuple(parts + [0] * (3 - len(parts)))


metadata = json.load(sys.stdin)
members = set(metadata["workspace_members"])
packages = metadata["packages"]
own = {package["name"]: package["rust_version"] for package in packages if package["id"] in members}

undeclared = [name for name, declared in own.items() if declared is None]
if undeclared:
    sys.exit(f"no rust-version: {', '.join(sorted(undeclared))}")
declared = min(own.values(), key=version)

others = [package for package in packages if package["id"] not in members and package["rust_version"]]
too_new = [package for package in others if version(package["rust_version"]) > version(declared)]
for package in too_new:
    print(f"{package['name']} {package['version']} needs Rust {package['rust_version']}", file=sys.stderr)
if too_new:
    sys.exit(f"the workspace declares {declared}: raise its rust-version, or take older versions of these")

newest = max(others, key=lambda package: version(package["rust_version"]))
silent = len(packages) - len(members) - len(others)
print(
    f"the workspace declares Rust {declared}; {len(others)} dependencies need no newer one "
    f"(the newest: {newest['name']} {newest['version']}, {newest['rust_version']}); {silent} declare none"
)
