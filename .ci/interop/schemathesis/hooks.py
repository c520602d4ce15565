"""Lets some requests for keys by their IDs succeed: blue draws the keys at KME south, for red, who asks at north.

The folder of `kme demo` is in the environment, QKMS_DEMO. How often each operation succeeded is written to the file that
QKMS_SUCCESSES names.
"""

import atexit
import collections
import json
import os
import pathlib

import requests
import schemathesis

folder = pathlib.Path(os.environ["QKMS_DEMO"])
demo = json.loads((folder / "demo.json").read_text())
blue = demo["saes"]["blue"]
asked = 0
successes = collections.Counter()


@atexit.register
def tell_successes():
    pathlib.Path(os.environ["QKMS_SUCCESSES"]).write_text(json.dumps(successes))


@schemathesis.hook
def after_call(context, case, response):
    if response.status_code == 200:
        successes[f"{case.operation.method.upper()} {case.operation.path.rsplit('/', 1)[-1]}"] += 1


@schemathesis.hook
def before_call(context, case, kwargs):
    global asked
    if not case.operation.path.endswith("/dec_keys") or case.meta is None or case.meta.generation.mode.is_negative:
        return
    asked += 1
    if asked % 3 == 0:
        return
    answer = requests.get(
        f"{demo['kmes'][blue['kme']]['url']}/api/v1/keys/red/enc_keys",
        cert=(folder / blue["cert"], folder / blue["key"]),
        verify=folder / demo["ca"],
        timeout=20,
    )
    if answer.status_code == 503:
        return
    answer.raise_for_status()
    [key] = answer.json()["keys"]
    case.path_parameters["master_SAE_ID"] = "blue"
    if case.operation.method.upper() == "GET":
        case.query["key_ID"] = key["key_ID"]
    else:
        case.body = {**case.body, "key_IDs": [{"key_ID": key["key_ID"]}]}
