"""Draws keys as red at KME north and fetches them as blue at KME south, with etsi-qkd-014-client of PyPI.

Usage: client.py FOLDER, with the folder of `kme demo`. Prints fingerprints, never keys.
"""

import base64
import hashlib
import json
import pathlib
import sys
import urllib.parse

from etsi_qkd_014_client.client import QKD014Client

KEYS_NOT_FOUND = "one or more keys specified are not found on KME"


def main(folder):
    demo = json.loads((folder / "demo.json").read_text())

    def client(about, kme):
        return QKD014Client(
            urllib.parse.urlsplit(demo["kmes"][kme]["url"]).netloc,
            str(folder / about["cert"]),
            str(folder / about["key"]),
            str(folder / demo["ca"]),
        )

    red, blue, green, grey = (
        client(demo["saes"][sae], demo["saes"][sae]["kme"]) for sae in ("red", "blue", "green", "grey")
    )

    status = answered(200, red.get_status("blue"))
    expect("master and slave in Status", (status.master_sae_id, status.slave_sae_id), ("red", "blue"))
    expect("KMEs in Status", (status.source_kme_id, status.target_kme_id), ("north", "south"))
    print(f"status    red (north) to blue (south): {status.stored_key_count} keys of {status.key_size} bits ready")

    # Without arguments this client asks by GET, with them by POST.
    for asked in ({}, {"number": 3, "size": 128}):
        drawn = fingerprints(answered(200, red.get_key("blue", **asked)))
        fetched = fingerprints(answered(200, blue.get_key_with_key_IDs("red", [id for id, *_ in drawn])))
        show("blue", drawn, fetched)
        expect("the keys of blue", fetched, drawn)
        expect("number and size", [bits for _, bits, _ in drawn], [asked.get("size", status.key_size)] * asked.get("number", 1))
        error = answered(400, blue.get_key_with_key_IDs("red", [id for id, *_ in drawn]))
        expect("a second time", error.message, KEYS_NOT_FOUND)
    print(f"a second time is refused: {error.message}")

    drawn = fingerprints(answered(200, red.get_key("blue", additional_slave_sae_ids=["green"])))
    for sae, endpoint in (("blue", blue), ("green", green)):
        fetched = fingerprints(answered(200, endpoint.get_key_with_key_IDs("red", [id for id, *_ in drawn])))
        show(sae, drawn, fetched)
        expect("the key of several slaves", fetched, drawn)

    drawn = fingerprints(answered(200, red.get_key("blue")))
    error = answered(401, grey.get_key_with_key_IDs("red", [id for id, *_ in drawn]))
    print(f"a key of blue is refused to grey: {error.message}")

    error = answered(400, red.get_key("blue", extension_mandatory=[{"nobody_route_type": "direct"}]))
    expect("an unknown mandatory extension", error.message, "not all extension_mandatory parameters are supported")
    print(f"an unknown mandatory extension is refused: {error.message}")
    fingerprints(answered(200, red.get_key("blue", extension_optional=[{"nobody_max_age": 30}])))
    print("an unknown optional extension is no obstacle")

    error = answered(401, client(demo["refused"]["unenrolled"], "north").get_status("blue"))
    print(f"an unknown SAE is refused: {error.message}")


def answered(expected, answer):
    status, data = answer
    if status != expected:
        sys.exit(f"status {status}, not {expected}: {getattr(data, 'message', '')}")
    return data


def fingerprints(container):
    """Of each key its ID, its size in bits, and the first 8 hex digits of its SHA-256."""
    keys = [(key.key_id, base64.b64decode(key.key, validate=True)) for key in container.keys]
    return [(id, len(key) * 8, hashlib.sha256(key).hexdigest()[:8]) for id, key in keys]


def show(slave, drawn, fetched):
    for (id, bits, at_master), (_, _, at_slave) in zip(drawn, fetched):
        print(f"{id}  {bits} bits  red {at_master}  {slave} {at_slave}")


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}, not {expected!r}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: client.py FOLDER")
    main(pathlib.Path(sys.argv[1]))
