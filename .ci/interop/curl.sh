#!/usr/bin/env bash
# Every form of every method of ETSI GS QKD 014 with curl, good and bad, at a running `kme demo`.
# Usage: curl.sh FOLDER, with the folder of `kme demo`. Prints fingerprints, never keys.
set -euo pipefail

folder=$(cd "${1:?usage: curl.sh FOLDER}" && pwd)

# A value in the JSON text of standard input: json saes red cert
json() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for step in sys.argv[1:]:
    value = value[int(step)] if isinstance(value, list) else value[step]
print(value if isinstance(value, str) else json.dumps(value))' "$@"
}
demo() { json "$@" <"$folder/demo.json"; }

north=$(demo kmes north url)/api/v1/keys
south=$(demo kmes south url)/api/v1/keys
ca=$folder/$(demo ca)
status='' body='' checks=0

# Asks; leaves the HTTP status in `status` and the body in `body`.   ask SAE URL [option of curl]...
ask() {
    local sae=$1 group=saes url=$2 answer
    shift 2
    case $sae in unenrolled | expired) group=refused ;; esac
    answer=$(curl --silent --show-error --max-time 20 --cacert "$ca" --cert "$folder/$(demo $group "$sae" cert)" \
        --key "$folder/$(demo $group "$sae" key)" --write-out '\n%{http_code} %{content_type}' "$@" "$url")
    body=${answer%$'\n'*}
    status=${answer##*$'\n'}
}

post() { ask "$1" "$2" --header 'Content-Type: application/json' --data "$3"; }

fail() {
    echo "NOT AS IT SHOULD BE: $*" >&2
    exit 1
}

# The last answer has this status, a body of JSON, and, if given, this message.   expect STATUS [MESSAGE]
expect() {
    [ "$status" = "$1 application/json" ] || fail "$what: status and type are $status, not $1 application/json"
    if [ $# -gt 1 ]; then
        local message
        message=$(json message <<<"$body")
        [ "$message" = "$2" ] || fail "$what: the message is '$message', not '$2'"
    fi
    checks=$((checks + 1))
    case $1 in 200) echo "ok    $1  $what" ;; *) echo "ok    $1  $what: $(json message <<<"$body")" ;; esac
}

# The IDs of the keys in the last answer, one a line; the same with size and fingerprint, in the order of IDs.
ids() { python3 -c 'import json, sys; [print(key["key_ID"]) for key in json.load(sys.stdin)["keys"]]' <<<"$body"; }
fingerprints() {
    python3 -c '
import base64, hashlib, json, sys
for key in sorted(json.load(sys.stdin)["keys"], key=lambda key: key["key_ID"].lower()):
    octets = base64.b64decode(key["key"], validate=True)
    print("          ", key["key_ID"], f"{len(octets) * 8:5} bits", hashlib.sha256(octets).hexdigest()[:8])' <<<"$body"
}
id_list() { python3 -c 'import json, sys; print(json.dumps({"key_IDs": [{"key_ID": id} for id in sys.argv[1:]]}))' "$@"; }

# The last answer has so many keys of so many bits.   keys NUMBER BITS
keys() {
    local shown
    shown=$(fingerprints)
    [ "$(wc -l <<<"$shown")" = "$1" ] || fail "$what: $(wc -l <<<"$shown") keys, not $1"
    [ "$(grep -c " $2 bits" <<<"$shown")" = "$1" ] || fail "$what: keys are not of $2 bits"
    echo "$shown"
}

# The last answer has the same keys as before.   same FINGERPRINTS
same() {
    [ "$(fingerprints)" = "$1" ] || fail "$what: the keys differ"
    echo "           the same keys"
}

# No HTTP answer comes at all: TLS fails, for a reason that has these words.   no_tls WHAT WORDS [option of curl]...
no_tls() {
    local what=$1 words=$2 said
    shift 2
    if said=$(curl --silent --show-error --output /dev/null --max-time 20 "$@" "$north/blue/status" 2>&1); then
        fail "$what: there is an answer"
    fi
    grep -qi "$words" <<<"$said" || fail "$what: '$said' has not the words '$words'"
    checks=$((checks + 1))
    echo "ok    TLS  $what: ${said%%$'\n'*}"
}

not_found='one or more keys specified are not found on KME'

what='GET status'
ask red "$north/blue/status"
expect 200
size=$(json key_size <<<"$body")
most=$(json max_key_per_request <<<"$body")
for member in source_KME_ID=north target_KME_ID=south master_SAE_ID=red slave_SAE_ID=blue; do
    [ "$(json "${member%=*}" <<<"$body")" = "${member#*=}" ] || fail "$what: ${member%=*} is not ${member#*=}"
done

what='GET enc_keys, without parameters'
ask red "$north/blue/enc_keys"
expect 200
drawn=$(keys 1 "$size") && echo "$drawn"
one=$(ids)

what='GET dec_keys'
ask blue "$south/red/dec_keys?key_ID=$one"
expect 200
same "$drawn"

what='GET dec_keys, a second time'
ask blue "$south/red/dec_keys?key_ID=$one"
expect 400 "$not_found"

what='GET enc_keys, with number and size'
ask red "$north/blue/enc_keys?number=3&size=128"
expect 200
drawn=$(keys 3 128) && echo "$drawn"
mapfile -t several < <(ids)

what='POST dec_keys, in another order'
post blue "$south/red/dec_keys" "$(id_list "${several[2]}" "${several[0]}" "${several[1]}")"
expect 200
same "$drawn"

what='POST dec_keys, a second time'
post blue "$south/red/dec_keys" "$(id_list "${several[@]}")"
expect 400 "$not_found"

what='POST enc_keys, with an empty object'
post red "$north/blue/enc_keys" '{}'
expect 200
drawn=$(keys 1 "$size") && echo "$drawn"
one=$(ids)

what='POST dec_keys of one known and one unknown key'
post blue "$south/red/dec_keys" "$(id_list "$one" 00000000-0000-4000-8000-000000000000)"
expect 400 "$not_found"

what='POST dec_keys of the known one, which is still there'
post blue "$south/red/dec_keys" "$(id_list "$one")"
expect 200
same "$drawn"

what='POST enc_keys, with number and size'
post red "$north/blue/enc_keys" '{"number":2,"size":512}'
expect 200
drawn=$(keys 2 512) && echo "$drawn"
mapfile -t several < <(ids)

what='POST dec_keys of the two'
post blue "$south/red/dec_keys" "$(id_list "${several[@]}")"
expect 200
same "$drawn"

what='POST enc_keys, for blue and green'
post red "$north/blue/enc_keys" '{"additional_slave_SAE_IDs":["green"]}'
expect 200
drawn=$(keys 1 "$size") && echo "$drawn"
one=$(ids)
for slave in blue green; do
    what="POST dec_keys by $slave"
    post $slave "$south/red/dec_keys" "$(id_list "$one")"
    expect 200
    same "$drawn"
    what="POST dec_keys by $slave, a second time"
    post $slave "$south/red/dec_keys" "$(id_list "$one")"
    expect 400 "$not_found"
done

what='GET enc_keys by green for grey, both at south'
ask green "$south/grey/enc_keys"
expect 200
drawn=$(keys 1 "$size") && echo "$drawn"
one=$(ids)

what='GET dec_keys by grey'
ask grey "$south/green/dec_keys?key_ID=$one"
expect 200
same "$drawn"

what='GET enc_keys'
ask red "$north/blue/enc_keys"
expect 200
drawn=$(keys 1 "$size") && echo "$drawn"
one=$(ids)

what='GET dec_keys of it by grey, who has no part in it'
ask grey "$south/red/dec_keys?key_ID=$one"
expect 401

what='GET dec_keys of it in the name of another master'
ask blue "$south/green/dec_keys?key_ID=$one"
expect 400 "$not_found"

what='GET dec_keys of it by blue, to whom it is still there'
ask blue "$south/red/dec_keys?key_ID=$one"
expect 200
same "$drawn"

what='GET status by an SAE of another KME'
ask red "$south/blue/status"
expect 401

what='GET status by an SAE that nobody knows'
ask unenrolled "$north/blue/status"
expect 401

what='GET status of a slave that nobody knows'
ask red "$north/nobody/status"
expect 400

what='GET enc_keys, of 129 bits'
ask red "$north/blue/enc_keys?size=129"
expect 400 'size shall be a multiple of 8'

what='GET enc_keys, more than max_key_per_request'
ask red "$north/blue/enc_keys?number=$((most + 1))"
expect 400

what='POST enc_keys, with a mandatory extension that nobody has'
post red "$north/blue/enc_keys" '{"extension_mandatory":[{"nobody_route_type":"direct"}]}'
expect 400 'not all extension_mandatory parameters are supported'

what='POST enc_keys, with an optional extension that nobody has'
post red "$north/blue/enc_keys" '{"extension_optional":[{"nobody_max_age":30000}]}'
expect 200

what='POST enc_keys, of half an object'
post red "$north/blue/enc_keys" '{"number":'
expect 400

what='DELETE enc_keys'
ask red "$north/blue/enc_keys" --request DELETE
expect 405

what='GET another path'
ask red "$north/blue/all_keys"
expect 404

red=(--cert "$folder/$(demo saes red cert)" --key "$folder/$(demo saes red key)")
expired=(--cert "$folder/$(demo refused expired cert)" --key "$folder/$(demo refused expired key)")
no_tls 'without a certificate' 'alert certificate required' --cacert "$ca"
no_tls 'with an expired certificate' 'alert certificate expired' --cacert "$ca" "${expired[@]}"
# At the lower security level OpenSSL offers TLS 1.1 at all. With TLS 1.2 the same goes well.
old_ciphers=(--ciphers 'DEFAULT@SECLEVEL=0')
no_tls 'with TLS 1.1' 'alert' --cacert "$ca" "${red[@]}" --tls-max 1.1 "${old_ciphers[@]}"
what='GET status, with TLS 1.2'
ask red "$north/blue/status" --tls-max 1.2 "${old_ciphers[@]}"
expect 200
no_tls 'by who trusts other authorities' 'unable to get local issuer' "${red[@]}"

echo "curl: $checks answers as they should be"
