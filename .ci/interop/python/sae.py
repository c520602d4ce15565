"""An SAE for `qkdspec run sae --exec`, on etsi-qkd-014-client of PyPI: does what QKDSPEC_SCENARIO says.

Thin on purpose: what the library lets through is not caught here.
"""

import base64
import hashlib
import hmac
import os
import sys
import time
import urllib.parse

from etsi_qkd_014_client.client import QKD014Client

E = os.environ


def main():
    client = QKD014Client(urllib.parse.urlsplit(E["QKDSPEC_KME"]).netloc, E["QKDSPEC_CERT"], E["QKDSPEC_KEY"], E["QKDSPEC_CA"])
    peer = E["QKDSPEC_PEER"]
    number, size = (int(E[name]) if name in E else None for name in ("QKDSPEC_NUMBER", "QKDSPEC_SIZE"))

    def get_key():
        arguments = {name: value for name, value in (("number", number), ("size", size)) if value is not None}
        show(answered(client.get_key(peer, **arguments)))

    match E["QKDSPEC_SCENARIO"]:
        case "get-key":
            get_key()
        case "get-key-with-ids":
            show(answered(client.get_key_with_key_IDs(peer, E["QKDSPEC_KEY_IDS"].split())))
        case "status":
            answered(client.get_status(peer))
        case "get-key-optional":
            show(answered(client.get_key(peer, extension_optional=[{"hx_trace": True}])))
        case "two-sessions":
            get_key()
            get_key()
        case "keep-trying":
            for attempt in range(10):
                try:
                    return get_key()
                except Exception as error:
                    print(f"attempt {attempt}: {error}", file=sys.stderr)
                    time.sleep(1)
            sys.exit(1)
        case _:
            sys.exit(89)


def answered(answer):
    status, data = answer
    if status != 200:
        sys.exit(f"status {status}: {getattr(data, 'message', '')}")
    return data


def show(container):
    for key in container.keys:
        octets = base64.b64decode(key.key)
        print(key.key_id, hmac.new(E["QKDSPEC_FP_SALT"].encode(), octets, hashlib.sha256).hexdigest())


if __name__ == "__main__":
    main()
